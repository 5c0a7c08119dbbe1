package ocitar

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

const recordSize = 512

// A reader takes a tar stream apart. archive/tar would not do: it hides offsets,
// copies all content once more, fills holes with zeros, and lets a key be twice.
type reader struct {
	s    *stream
	left int64 // bytes of the current entry's data not read yet
	pad  int64 // and of the padding after it
	head [recordSize]byte
	ext  [recordSize]byte
	n    int64 // entries so far, and directories that they imply
}

// record reads one 512-byte record in the midst of an entry.
func (r *reader) record(b []byte) error { return noEOF(r.s.full(b)) }

// next returns the next entry, or io.EOF after the last: at the two zero records
// that end an archive, or where the stream ends once all content of an entry is there,
// which many writers left it at.
func (r *reader) next() (*Entry, error) {
	if err := r.s.skip(r.left); err != nil {
		return nil, &Error{Offset: r.s.pos, Err: noEOF(err)}
	}
	// Some leave out the padding, too, as umoci 0.4 does (insert): nothing is missing
	// of the content, and archive/tar, which nearly all others read with, takes it.
	switch err := r.s.skip(r.pad); {
	case err == io.ErrUnexpectedEOF:
		return nil, io.EOF
	case err != nil:
		return nil, &Error{Offset: r.s.pos, Err: err}
	}
	r.left, r.pad = 0, 0
	e := &Entry{Offset: r.s.pos}
	err := r.s.full(r.head[:])
	if err == io.EOF {
		return nil, io.EOF
	}
	if err == nil && r.head == [recordSize]byte{} {
		return nil, r.end(e.Offset)
	}
	if err == nil {
		err = r.entry(e)
	}
	if err == nil {
		err = r.check(e)
	}
	if err != nil {
		return nil, &Error{Entry: e.Name, Offset: e.Offset, Err: noEOF(err)}
	}
	return e, nil
}

// end sees that nothing but zeros follows the zero record at off.
func (r *reader) end(off int64) error {
	for {
		b, err := r.s.next(blockSize)
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return &Error{Offset: off, Err: err}
		}
		if i := bytes.IndexFunc(b, func(c rune) bool { return c != 0 }); i >= 0 {
			return &Error{Offset: r.s.pos - int64(len(b)-i), Err: fmt.Errorf("data after the end of the archive: %w", ErrFormat)}
		}
	}
}

// entry reads the headers of e, of which the first is in r.head.
func (r *reader) entry(e *Entry) error {
	var ext pax
	var longName, longLink string
	for {
		size, flag, err := r.header(e)
		if err != nil {
			return err
		}
		switch flag {
		case 'x', 'X': // X is Solaris's
			var b []byte
			if b, err = r.special(size); err == nil {
				if ext.values != nil {
					return fmt.Errorf("two pax headers for one entry: %w", ErrFormat)
				}
				ext, err = parsePax(b)
			}
		case 'g': // applies to no field we keep; as in all engines, only checked
			var b []byte
			if b, err = r.special(size); err == nil {
				_, err = parsePax(b)
			}
		case 'L', 'K':
			var b []byte
			b, err = r.special(size)
			if flag == 'L' {
				longName = cstring(b)
			} else {
				longLink = cstring(b)
			}
		default:
			if longName != "" {
				e.Name = longName
			}
			if longLink != "" {
				e.Linkname = longLink
			}
			return r.merge(e, flag, size, &ext)
		}
		if err != nil {
			return err
		}
		if err := r.record(r.head[:]); err != nil {
			return err
		}
		if r.head == [recordSize]byte{} {
			return fmt.Errorf("archive ends after an extended header: %w", ErrFormat)
		}
	}
}

// merge completes e: what the extended headers say, where the data is.
func (r *reader) merge(e *Entry, flag byte, size int64, ext *pax) error {
	if err := ext.apply(e, &size); err != nil {
		return err
	}
	e.Type = Type(flag)
	switch flag {
	case 0, '7': // v7's regular file; contiguous
		e.Type = Regular
	case 'S':
		e.Type = Regular
	case 'D': // GNU incremental: a directory and the list of its names
		e.Type = Dir
	case '1', '2', '3', '4', '5', '6':
		// These have no data, whatever size says: old writers put the target's
		// size (and no data) on links, and disk quotas on directories.
		size = 0
	}
	if e.Type == Regular && flag != 'S' && strings.HasSuffix(e.Name, "/") {
		e.Type = Dir // v7 has no other way to say so
	}
	r.left = size
	r.pad = -size & (recordSize - 1)
	e.Size = size
	if flag == 'S' {
		if err := r.gnuSparse(r.head[:], e); err != nil {
			return err
		}
	} else if e.Type == Regular && ext.values != nil {
		if err := r.paxSparse(ext, e, &r.left); err != nil {
			return err
		}
	}
	e.Data, e.Stored = r.s.pos, r.left
	if e.Type != Regular {
		e.Size, e.Stored = 0, 0
	}
	if e.sparse {
		return e.checkSpans()
	}
	return nil
}

// special reads the data of an extended header.
func (r *reader) special(size int64) ([]byte, error) {
	if size > maxPax {
		return nil, fmt.Errorf("extended header of %d bytes: %w", size, ErrLimit)
	}
	b := make([]byte, (size+recordSize-1)&^(recordSize-1))
	if len(b) == 0 {
		return nil, nil
	}
	if err := r.record(b); err != nil {
		return nil, err
	}
	return b[:size], nil
}

// header parses r.head into e and returns the size field and the typeflag.
func (r *reader) header(e *Entry) (size int64, flag byte, err error) {
	h := r.head[:]
	if err := checksum(h); err != nil {
		return 0, 0, err
	}
	flag = h[156]
	e.Name, e.Linkname = cstring(h[:100]), cstring(h[157:257])
	ustar := string(h[257:263]) == "ustar\x00"
	gnu := string(h[257:265]) == "ustar  \x00"
	switch {
	case ustar && string(h[508:512]) == "tar\x00": // star: times after a shorter prefix
		e.Name = join(cstring(h[345:476]), e.Name)
	case ustar:
		e.Name = join(cstring(h[345:500]), e.Name)
	}
	var mode, mtime, major, minor int64
	fields := []struct {
		to *int64
		b  []byte
	}{{&mode, h[100:108]}, {&e.UID, h[108:116]}, {&e.GID, h[116:124]}, {&size, h[124:136]}, {&mtime, h[136:148]}}
	if ustar || gnu {
		e.Uname, e.Gname = cstring(h[265:297]), cstring(h[297:329])
		if flag == '3' || flag == '4' { // others leave anything there
			fields = append(fields, struct {
				to *int64
				b  []byte
			}{&major, h[329:337]}, struct {
				to *int64
				b  []byte
			}{&minor, h[337:345]})
		}
	}
	for _, f := range fields {
		if *f.to, err = number(f.b); err != nil {
			return 0, 0, err
		}
	}
	if size < 0 {
		return 0, 0, fmt.Errorf("size %d: %w", size, ErrFormat)
	}
	e.Mode, e.ModTime = uint32(mode)&0o7777, time.Unix(mtime, 0).UTC()
	e.Major, e.Minor = uint32(major), uint32(minor)
	return size, flag, nil
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "/" + name
}

// checksum is the sum of the header's bytes with blanks for itself; some old
// writers summed signed bytes.
func checksum(h []byte) error {
	want, err := number(h[148:156])
	if err != nil {
		return fmt.Errorf("not a tar header: %w", ErrFormat)
	}
	var unsigned, signed int64
	for i, c := range h {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	if want != unsigned && want != signed {
		return fmt.Errorf("not a tar header (checksum): %w", ErrFormat)
	}
	return nil
}

// count counts an entry, or a directory that one implies.
func (r *reader) count() error {
	if r.n++; r.n > r.s.limits.entries() {
		return fmt.Errorf("more than %d entries: %w", r.s.limits.entries(), ErrLimit)
	}
	return nil
}

// check refuses what no file system or honest archiver has.
func (r *reader) check(e *Entry) error {
	if err := r.count(); err != nil {
		return err
	}
	switch {
	case strings.IndexByte(e.Name, 0) >= 0 || strings.IndexByte(e.Linkname, 0) >= 0:
		return fmt.Errorf("NUL in a name: %w", ErrName)
	case e.UID < 0 || e.UID > 1<<32-2 || e.GID < 0 || e.GID > 1<<32-2:
		return fmt.Errorf("owner %d:%d: %w", e.UID, e.GID, ErrFormat)
	case e.Size > r.s.limits.bytes():
		return fmt.Errorf("file of %d bytes: %w", e.Size, ErrLimit)
	}
	return nil
}
