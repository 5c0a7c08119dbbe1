package ocitar

import (
	"context"
	"io"
	"iter"
)

// List reads a layer's entries. It says nothing of a name's safety: an entry that
// Unpack would refuse is listed, one that is malformed ends the list with an *Error.
// An Entry is the consumer's to keep: together they are an index of the layer, by which
// Content finds what is in a file.
func List(ctx context.Context, layer io.Reader, limits Limits) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, err := openStream(ctx, layer, limits)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer s.close()
		if err := scan(s, func(e *Entry) bool { return yield(*e, nil) }); err != nil {
			yield(Entry{}, err)
		}
	}
}

// Content is what is in a regular file, holes as zeros, read out of the plain layer that
// the entry is of: only the bytes that are asked for.
func (e *Entry) Content(plain io.ReaderAt) *io.SectionReader {
	if e.Stored == e.Size && len(e.Spans) == 0 {
		return io.NewSectionReader(plain, e.Data, e.Size)
	}
	return io.NewSectionReader(&sparseContent{plain, e.Data, e.Spans}, 0, e.Size)
}

type sparseContent struct {
	plain io.ReaderAt
	data  int64
	spans []Span
}

func (c *sparseContent) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	stored := c.data
	for _, s := range c.spans {
		from, to := max(off, s.Off), min(off+int64(len(b)), s.Off+s.N)
		if from < to {
			if n, err := c.plain.ReadAt(b[from-off:to-off], stored+from-s.Off); int64(n) < to-from {
				return int(from-off) + n, noEOF(err)
			}
		}
		stored += s.N
	}
	return len(b), nil
}

// Verify reads a whole layer, as Unpack would, and tells its digests and sizes. Of
// what it holds only Entries and Bytes are counted.
func Verify(ctx context.Context, layer io.Reader, limits Limits) (sum Summary, err error) {
	s, err := openStream(ctx, layer, limits)
	if err != nil {
		return sum, err
	}
	defer s.close()
	err = scan(s, func(e *Entry) bool {
		sum.Entries++
		sum.Bytes += e.Size
		return true
	})
	if err == nil {
		err = s.finish(&sum)
	}
	return sum, err
}

func scan(s *stream, f func(*Entry) bool) error {
	r := reader{s: s}
	for {
		e, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !f(e) {
			return nil
		}
	}
}
