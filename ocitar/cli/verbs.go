package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/ocitar/confine"
)

func (p *program) extract(args []string) error {
	var c confine.Child
	var overlay bool
	f := p.flags
	f.StringVar(&p.dir, "C", ".", "the `directory` to unpack into")
	f.BoolVar(&overlay, "overlay", false, "keep whiteouts in overlayfs's form")
	f.BoolVar(&c.Plain, "plain", false, "an archive that is no layer: no name means a whiteout")
	f.BoolVar(&c.Merge, "merge", false, "refuse an entry that would put a directory in the place of another file, or the other way round")
	f.BoolVar(&c.NoOwner, "no-owner", false, "leave files to who unpacks them")
	f.Func("devices", "make, skip or refuse", devices(&c.Devices))
	f.Func("uidmap", "map owners: `INSIDE:OUTSIDE:SIZE`, many times", idMaps(&c.UIDs))
	f.Func("gidmap", "the same for groups", idMaps(&c.GIDs))
	p.limitFlags(&c.Limits)
	p.confineFlag()
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	if overlay && c.Plain {
		return errUsage
	}
	if overlay {
		c.Whiteouts = ocitar.Overlay
	}
	in, done, err := p.input(p.file)
	if err != nil {
		return err
	}
	unpack := c.Direct
	if !p.unconfine {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		c.Path, c.Argv = exe, []string{"ocitar"}
		unpack = c.Unpack
	}
	in, stop := p.progressOf(in)
	sum, err := unpack(p.ctx, p.dir, in)
	stop()
	if errors.Is(err, os.ErrPermission) && !p.unconfine && os.Geteuid() != 0 {
		err = fmt.Errorf("%w (where the system does not let a user confine a process, --unconfined unpacks in this one)", err)
	}
	return p.finish(p.stdout, sum, errors.Join(err, done()))
}

func (p *program) list(args []string) error {
	var limits ocitar.Limits
	var numeric bool
	p.flags.BoolVar(&numeric, "numeric-owner", false, "owners as ids, also where the layer has their names")
	p.limitFlags(&limits)
	p.confineFlag()
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	return p.read(func(in io.Reader) error {
		enc := json.NewEncoder(p.stdout)
		for e, err := range ocitar.List(p.ctx, in, limits) {
			if err == nil && p.json {
				err = enc.Encode(listed(e))
			} else if err == nil {
				err = line(p.stdout, &e, numeric)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// read has f at the layer, in a process of its own.
func (p *program) read(f func(io.Reader) error) error {
	in, done, err := p.input(p.file)
	if err != nil {
		return err
	}
	if p.inside {
		if err = confine.Empty(); err != nil {
			return fmt.Errorf("confine: %w", err)
		}
	}
	if p.inside || p.unconfine {
		return errors.Join(f(in), done())
	}
	return errors.Join(p.confined(in, nil), done())
}

// listedEntry is an entry as JSON, which has no bytes but as base64: what a text cannot
// have is in fields of its own.
type listedEntry struct {
	ocitar.Entry
	Xattrs      map[string][]byte `json:"xattrs,omitempty"`
	RawName     []byte            `json:"rawName,omitempty"`
	RawLinkname []byte            `json:"rawLinkname,omitempty"`
}

func listed(e ocitar.Entry) listedEntry {
	l := listedEntry{Entry: e}
	for name, v := range e.Xattrs {
		if l.Xattrs == nil {
			l.Xattrs = map[string][]byte{}
		}
		l.Xattrs[name] = []byte(v)
	}
	if !utf8.ValidString(e.Name) {
		l.RawName = []byte(e.Name)
	}
	if !utf8.ValidString(e.Linkname) {
		l.RawLinkname = []byte(e.Linkname)
	}
	return l
}

// line prints an entry as ls -l would; names quoted, as they may have anything in them.
func line(w io.Writer, e *ocitar.Entry, numeric bool) error {
	to := ""
	if e.Linkname != "" {
		to = fmt.Sprintf(" -> %q", e.Linkname)
	}
	owner := fmt.Sprintf("%d:%d", e.UID, e.GID)
	if !numeric && e.Uname != "" && e.Gname != "" {
		owner = fmt.Sprintf("%q:%q", e.Uname, e.Gname)
	}
	_, err := fmt.Fprintf(w, "%c %04o %s %d %s %q%s\n", e.Type.Letter(), e.Mode, owner, e.Size,
		e.ModTime.Format("2006-01-02T15:04:05Z"), e.Name, to)
	return err
}

func (p *program) verify(args []string) error {
	var limits ocitar.Limits
	var digest, diffID string
	p.flags.StringVar(&digest, "digest", "", "what the layer, as it is stored, must have")
	p.flags.StringVar(&diffID, "diff-id", "", "what the plain layer must have")
	p.limitFlags(&limits)
	p.confineFlag()
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	return p.read(func(in io.Reader) error {
		sum, err := ocitar.Verify(p.ctx, in, limits)
		if err != nil {
			return err
		}
		if digest != "" && digest != sum.Digest {
			return fmt.Errorf("digest is %s, not %s: %w", sum.Digest, digest, ocitar.ErrData)
		}
		if diffID != "" && diffID != sum.DiffID {
			return fmt.Errorf("diff id is %s, not %s: %w", sum.DiffID, diffID, ocitar.ErrData)
		}
		return p.summary(p.stdout, sum)
	})
}
