package cli

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/ocitar/confine"
)

func (p *program) create(args []string) error {
	var pk ocitar.Packer
	var gone, exclude []string
	var zfsDiff bool
	var from, as string
	var limits ocitar.Limits
	p.flags.StringVar(&p.dir, "C", ".", "the `directory` to pack")
	p.flags.Func("remove", "write a whiteout for `path`, many times", appendTo(&gone))
	p.flags.Func("exclude", "leave out `path` and what is in it, many times; with * ? [ in it, all names it matches", appendTo(&exclude))
	p.flags.BoolVar(&zfsDiff, "zfs-diff", false, "pack what has changed from one ZFS snapshot to another, or to now")
	p.flags.StringVar(&from, "from", "", "pack what is in another `layer`")
	p.flags.StringVar(&as, "as", "", "the `name` of the one path in the archive; . is the top of it")
	p.flags.BoolVar(&pk.Plain, "plain", false, "an archive that is no layer: no name means a whiteout")
	p.packFlags(&pk)
	p.limitFlags(&limits)
	p.confineFlag()
	if err := p.parse(args, 0, -1); err != nil {
		return err
	}
	n := p.flags.NArg()
	switch {
	case zfsDiff && (n != 2 || len(gone) > 0),
		as != "" && (n != 1 || zfsDiff || len(gone) > 0),
		pk.Plain && (zfsDiff || len(gone) > 0 || from != ""), // what has gone only a layer can tell
		from != "" && (n > 0 || zfsDiff || len(gone)+len(exclude) > 0):
		return errUsage
	}
	for _, pattern := range exclude {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("exclude %q: %w", pattern, err)
		}
	}
	switch {
	case as != "":
		return p.packAs(&pk, p.flags.Arg(0), as, exclude)
	case from != "":
		return p.convert(&pk, from, limits)
	case zfsDiff:
		now, changes, err := zfsChanges(p.ctx, p.flags.Arg(0), p.flags.Arg(1))
		if err != nil {
			return err
		}
		return p.pack(&pk, now, selection{nil, exclude}.of(changes, false))
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

// packAs packs one path under another name. Nothing beside it is looked at.
func (p *program) packAs(pk *ocitar.Packer, name, as string, exclude []string) error {
	root, err := inroot.Open(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	top := strings.TrimPrefix(path.Clean("/"+name), "/") // empty: root itself
	pk.Name = func(name string) string { return path.Join(as, strings.TrimPrefix(name, top)) }
	return p.pack(pk, p.dir, selection{nil, exclude}.of(ocitar.TreeAt(root, top, nil), false))
}

func (p *program) diff(args []string) error {
	var pk ocitar.Packer
	var exclude []string
	p.flags.Func("exclude", "leave out `path` and what is in it, many times", appendTo(&exclude))
	p.packFlags(&pk)
	if err := p.parse(args, 2, 2); err != nil {
		return err
	}
	old, now := p.flags.Arg(0), p.flags.Arg(1)
	return p.pack(&pk, now, selection{nil, exclude}.of(ocitar.Compare(old, now), false))
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
			if err == nil && (s.excluded(c.Path) || len(s.paths) > 0 && !within(c.Path, s.paths, found)) {
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

// excluded says whether name, or a directory it is in, is one of the paths to leave out,
// or matched by one: as a path, or, where the pattern has no slash, by its last component.
func (s selection) excluded(name string) bool {
	if within(name, s.exclude, nil) {
		return true
	}
	for _, pattern := range s.exclude {
		if !strings.ContainsAny(pattern, "*?[") {
			continue
		}
		for at := name; at != "." && at != "/"; at = path.Dir(at) {
			against := at
			if !strings.Contains(pattern, "/") {
				against = path.Base(at)
			}
			if ok, err := path.Match(pattern, against); ok && err == nil {
				return true
			}
		}
	}
	return false
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
	report, done, err := p.output()
	if err != nil {
		return err
	}
	out, stop := p.progressTo(p.out)
	sum, err := pk.Pack(p.ctx, out, root, p.others(root, changes))
	stop()
	return p.finish(report, sum, done(err))
}

// others leaves out the file that is being written, and the one that it replaces.
func (p *program) others(root string, changes iter.Seq2[ocitar.Change, error]) iter.Seq2[ocitar.Change, error] {
	if p.made == nil {
		return changes
	}
	return func(yield func(ocitar.Change, error) bool) {
		for c, err := range changes {
			if err == nil && c.Kind == ocitar.Put && p.made.Is(filepath.Join(root, c.Path)) {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// convert packs what is in another layer: a process of its own reads it.
func (p *program) convert(pk *ocitar.Packer, from string, limits ocitar.Limits) (err error) {
	if pk.Epoch, err = epoch(); err != nil {
		return err
	}
	in, inDone, err := p.input(from)
	if err != nil {
		return err
	}
	report, done, err := p.output()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inDone()) }()
	if !p.inside && !p.unconfine {
		var out *os.File
		if p.made != nil {
			out = p.made.File
		}
		return done(p.confined(in, out))
	}
	if p.inside {
		if err := confine.Empty(); err != nil {
			return fmt.Errorf("confine: %w", err)
		}
	}
	sum, err := pk.Convert(p.ctx, p.out, in, limits)
	return p.finish(report, sum, done(err))
}
