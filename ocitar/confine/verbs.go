package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"strings"

	"github.com/joyboyid/xc/ocitar"
)

func (p *program) packFlags(pk *ocitar.Packer) {
	p.flags.Var(compression{&pk.Compression}, "compression", "none, gzip or zstd")
	p.flags.IntVar(&pk.Level, "level", 0, "of compression; 0 is the compressor's default")
	p.flags.BoolVar(&pk.NoSparse, "no-sparse", false, "pack holes as zeros")
	p.flags.Func("uidmap", "map owners back: `INSIDE:OUTSIDE:SIZE`, many times", idMaps(&pk.UIDs))
	p.flags.Func("gidmap", "the same for groups", idMaps(&pk.GIDs))
}

func (p *program) create(args []string) error {
	var pk ocitar.Packer
	var gone, exclude []string
	p.flags.StringVar(&p.dir, "C", ".", "the `directory` to pack")
	p.flags.Func("remove", "write a whiteout for `path`, many times", appendTo(&gone))
	p.flags.Func("exclude", "leave out `path` and what is in it, many times", appendTo(&exclude))
	p.packFlags(&pk)
	if err := p.parse(args, 0, -1); err != nil {
		return err
	}
	changes := selection{p.flags.Args(), exclude}.of(ocitar.Tree(p.dir), len(gone) > 0)
	return p.pack(&pk, p.dir, func(yield func(ocitar.Change, error) bool) {
		for _, name := range gone {
			if !yield(ocitar.Change{Path: name, Kind: ocitar.Gone}, nil) {
				return
			}
		}
		changes(yield)
	})
}

func (p *program) diff(args []string) error {
	var pk ocitar.Packer
	p.packFlags(&pk)
	if err := p.parse(args, 2, 2); err != nil {
		return err
	}
	old, now := p.flags.Arg(0), p.flags.Arg(1)
	return p.pack(&pk, now, ocitar.Compare(old, now))
}

func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

// selection is what of a tree is to be packed: the paths named and what is in them.
type selection struct{ paths, exclude []string }

// of filters a tree. Without paths it is all of it; or nothing, where there is something
// else to pack.
func (s selection) of(tree iter.Seq2[ocitar.Change, error], other bool) iter.Seq2[ocitar.Change, error] {
	return func(yield func(ocitar.Change, error) bool) {
		if len(s.paths) == 0 && other {
			return
		}
		found := make([]bool, len(s.paths))
		for c, err := range tree {
			if err == nil && (within(c.Path, s.exclude, nil) || len(s.paths) > 0 && !within(c.Path, s.paths, found)) {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
		for i, ok := range found {
			if !ok && !yield(ocitar.Change{}, fmt.Errorf("%s: %w", s.paths[i], os.ErrNotExist)) {
				return
			}
		}
	}
}

func within(name string, dirs []string, found []bool) bool {
	in := false
	for i, d := range dirs {
		d = path.Clean(d)
		if d == "." || name == d || strings.HasPrefix(name, d+"/") {
			in = true
			if found != nil {
				found[i] = true
			}
		}
	}
	return in
}

func (p *program) pack(pk *ocitar.Packer, root string, changes iter.Seq2[ocitar.Change, error]) (err error) {
	if pk.Epoch, err = epoch(); err != nil {
		return err
	}
	out, report := p.stdout, p.stderr
	if p.file != "-" {
		f, ferr := os.Create(p.file)
		if ferr != nil {
			return ferr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out, report = f, p.stdout
	}
	sum, err := pk.Pack(p.ctx, out, root, changes)
	if err != nil {
		return err
	}
	return p.summary(report, sum)
}

func (p *program) extract(args []string) error {
	var c Child
	var confine, overlay bool
	f := p.flags
	f.StringVar(&p.dir, "C", ".", "the `directory` to unpack into")
	f.BoolVar(&confine, "confine", false, "unpack in a process that can reach nothing else")
	f.BoolVar(&overlay, "overlay", false, "keep whiteouts in overlayfs's form")
	f.BoolVar(&c.NoOwner, "no-owner", false, "leave files to who unpacks them")
	f.Func("devices", "make, skip or refuse", c.setDevices)
	f.Func("uidmap", "map owners: `INSIDE:OUTSIDE:SIZE`, many times", idMaps(&c.UIDs))
	f.Func("gidmap", "the same for groups", idMaps(&c.GIDs))
	f.Int64Var(&c.Limits.Bytes, "limit-bytes", 0, "of the plain layer; 0 is the default, -1 none")
	f.Int64Var(&c.Limits.Entries, "limit-entries", 0, "entries of the layer")
	f.Int64Var(&c.Limits.Ratio, "limit-ratio", 0, "plain bytes per compressed byte")
	f.Int64Var(&c.Limits.Window, "limit-window", 0, "bytes of a zstd window")
	f.IntVar(&c.Limits.Depth, "limit-depth", 0, "components of a name")
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	if overlay {
		c.Whiteouts = ocitar.Overlay
	}
	in, done, err := p.input()
	if err != nil {
		return err
	}
	unpack := c.direct
	if confine {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		c.Path, c.Argv = exe, []string{"ocitar"} // by which a program of one file knows
		unpack = c.Unpack
	}
	sum, err := unpack(p.ctx, p.dir, in)
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	return p.summary(p.stdout, sum)
}

func (c *Child) setDevices(s string) error {
	policies := map[string]ocitar.Devices{"make": ocitar.MakeDevices, "skip": ocitar.SkipDevices, "refuse": ocitar.RefuseDevices}
	d, ok := policies[s]
	if !ok {
		return fmt.Errorf("%q is none of make, skip and refuse", s)
	}
	c.Devices = d
	return nil
}

func (p *program) list(args []string) error {
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	in, done, err := p.input()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(p.stdout)
	for e, err := range ocitar.List(p.ctx, in) {
		if err == nil && p.json {
			err = enc.Encode(e)
		} else if err == nil {
			err = line(p.stdout, &e)
		}
		if err != nil {
			return errors.Join(err, done())
		}
	}
	return done()
}

// line prints an entry as ls -l would; names quoted, as they may have anything in them.
func line(w io.Writer, e *ocitar.Entry) error {
	to := ""
	if e.Linkname != "" {
		to = fmt.Sprintf(" -> %q", e.Linkname)
	}
	_, err := fmt.Fprintf(w, "%c %04o %d:%d %d %s %q%s\n", e.Type.Letter(), e.Mode, e.UID, e.GID, e.Size,
		e.ModTime.Format("2006-01-02T15:04:05Z"), e.Name, to)
	return err
}

func (p *program) verify(args []string) error {
	if err := p.parse(args, 0, 0); err != nil {
		return err
	}
	in, done, err := p.input()
	if err != nil {
		return err
	}
	sum, err := ocitar.Verify(p.ctx, in, ocitar.Limits{})
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	return p.summary(p.stdout, sum)
}
