package ocitar

import (
	"errors"

	"golang.org/x/sys/unix"
)

// regular packs a file's content: as much of it as was said. A file that shrinks
// meanwhile is filled up with zeros and noted, as tar(1) does.
func (pk *pack) regular(fd int, e *Entry, st *unix.Stat_t) error {
	pk.sum.Files++
	e.Size, e.Stored = st.Size, st.Size
	pk.sum.Bytes += e.Size
	if !pk.p.NoSparse && int64(st.Blocks)*512 < st.Size {
		if err := e.findHoles(fd); err != nil {
			return err
		}
	}
	if err := pk.header(e); err != nil {
		return err
	}
	spans := e.Spans
	if !e.sparse {
		spans = []Span{{0, e.Size}}
	}
	var written int64
	for _, s := range spans {
		if err := pk.copySpan(fd, e, s); err != nil {
			return err
		}
		written += s.N
	}
	return pk.out.zeros(int(-written & (recordSize - 1)))
}

func (pk *pack) copySpan(fd int, e *Entry, s Span) error {
	for s.N > 0 {
		b, err := pk.out.space(s.N)
		if err != nil {
			return err
		}
		n, err := unix.Pread(fd, b, s.Off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			pk.sum.note(e.Name, "became shorter while being packed: %d bytes are zeros", s.N)
			clear(b)
			n = len(b)
		}
		pk.out.advance(n)
		s.Off, s.N = s.Off+int64(n), s.N-int64(n)
	}
	return nil
}

// findHoles asks the file system where data is (lseek(2), SEEK_DATA).
func (e *Entry) findHoles(fd int) error {
	var spans []Span
	var stored int64
	for off := int64(0); off < e.Size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			break
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) { // a file system that cannot say
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		// GNU tar pads each span to whole records, others do not: all but the last are.
		data, hole = min(data, e.Size)&^(recordSize-1), min((hole+recordSize-1)&^(recordSize-1), e.Size)
		spans = append(spans, Span{data, hole - data})
		stored, off = stored+hole-data, hole
		if len(spans) > maxSpans {
			return nil
		}
	}
	if stored == e.Size {
		return nil
	}
	e.sparse, e.Spans, e.Stored = true, spans, stored
	return nil
}
