package ocitar

import (
	"context"
	"io"
	"iter"
)

// List reads a layer's entries. It says nothing of a name's safety: an entry that
// Unpack would refuse is listed, one that is malformed ends the list with an *Error.
// An Entry is the consumer's to keep. Limits are the defaults.
func List(ctx context.Context, layer io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, err := openStream(ctx, layer, Limits{})
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
