package ocitar

import (
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// Convert packs what another archive has, in its order, as entries that this package
// writes: whatever format, compression and owners it came with. What is no file is noted
// and left out. Files stay sparse, whiteouts whiteouts.
func (p *Packer) Convert(ctx context.Context, w io.Writer, layer io.Reader, limits Limits) (sum Summary, err error) {
	s, err := openStream(ctx, layer, limits)
	if err != nil {
		return Summary{}, err
	}
	defer s.close()
	out, err := newSink(w, p.Compression, p.Level)
	if err != nil {
		return Summary{}, err
	}
	pk := &pack{p: p, out: out}
	r := reader{s: s}
	for {
		var e *Entry
		if e, err = r.next(); err != nil {
			break
		}
		if err = pk.convert(&r, e); err != nil {
			err = &Error{Entry: e.Name, Offset: e.Offset, Err: noEOF(err)}
			break
		}
	}
	if err == io.EOF {
		err = out.zeros(2 * recordSize)
	}
	if cerr := out.close(&pk.sum); cerr != nil {
		err = cerr
	}
	return pk.sum, err
}

func (pk *pack) convert(r *reader, e *Entry) error {
	n, err := cleanName(e.Name, r.s.limits.depth())
	if err != nil {
		return err
	}
	read := *e
	e.Name = "."
	if n.base != "" {
		e.Name = strings.TrimPrefix(n.dir+"/"+n.base, "/")
	} else if e.Type != Dir {
		return ErrName
	}
	if e.Type.Letter() == '?' {
		pk.sum.note(e.Name, "skipped: entries of type %q are not known", byte(e.Type))
		return nil
	}
	pk.sum.count(e)
	if e.Type == Dir {
		e.Name += "/"
	}
	if e.Type == Link {
		to, err := cleanName(e.Linkname, r.s.limits.depth())
		if err != nil {
			return fmt.Errorf("hard link to %.200q: %w", e.Linkname, err)
		}
		e.Linkname = strings.TrimPrefix(to.dir+"/"+to.base, "/")
	}
	if err := pk.reown(e); err != nil {
		return err
	}
	if err := pk.header(e); err != nil {
		return err
	}
	if e.Type != Regular {
		return nil
	}
	err = r.content(&read, func(b []byte, _ int64) error { return pk.out.write(b) })
	if err != nil {
		return err
	}
	return pk.out.zeros(int(-e.Stored & (recordSize - 1)))
}

// reown does with an entry's owners, attributes and time what packing files does.
func (pk *pack) reown(e *Entry) error {
	e.Uname, e.Gname = "", ""
	e.ModTime = pk.time(e.ModTime)
	packable(e.Xattrs)
	if err := pk.owners(e); err != nil {
		return err
	}
	if len(pk.p.UIDs) == 0 && len(pk.p.GIDs) == 0 {
		return nil
	}
	lists := map[string]acl{}
	for list, text := range e.ACLs {
		a, err := parseACL(list, text)
		if err != nil {
			return fmt.Errorf("access control list %.40s: %w", list, err)
		}
		for _, ace := range a {
			if ace.name != "" {
				return fmt.Errorf("access control list %.40s: %.80q has no number to map: %w", list, ace.name, unix.EINVAL)
			}
		}
		lists[list] = a
	}
	return pk.lists(e, lists)
}

// count adds an entry to the sums.
func (s *Summary) count(e *Entry) {
	s.Entries++
	switch {
	case strings.Contains("/"+e.Name, "/"+whiteoutPrefix):
		s.Whiteouts++
	case e.Type == Regular:
		s.Files++
		s.Bytes += e.Size
	case e.Type == Dir:
		s.Dirs++
	case e.Type == Link:
		s.Links++
	case e.Type == Symlink:
		s.Symlinks++
	default:
		s.Specials++
	}
}
