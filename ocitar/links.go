package ocitar

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// lateLink is a hard link whose target was not there yet.
type lateLink struct {
	e         *Entry
	n, target entryName
	made      bool
}

func (l *lateLink) error(err error) error {
	return &Error{Entry: l.e.Name, Offset: l.e.Offset, Err: err}
}

func (l *lateLink) missing(err error) error {
	return l.error(fmt.Errorf("hard link to %.200q: %w", l.e.Linkname, err))
}

// link makes base another name of the file e.Linkname. Links on the way to that are
// followed inside the root; if it is a link itself, it gets another name.
func (x *unpack) link(d *dir, base string, e *Entry) error {
	n, err := x.clean(e.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %.200q: %w", e.Linkname, err)
	}
	if n.base == "" {
		return fmt.Errorf("hard link to the root: %w", ErrName)
	}
	err = x.linkTo(d, base, n)
	if errors.Is(err, fs.ErrNotExist) {
		var up bool
		if up, err = x.copyUp(n, e); up {
			err = x.linkTo(d, base, n)
		} else if err == nil {
			err = fs.ErrNotExist
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		own, cerr := x.clean(e.Name)
		if cerr != nil {
			return cerr
		}
		x.links = append(x.links, &lateLink{e: e, n: own, target: n})
		return nil
	}
	if err != nil {
		return fmt.Errorf("hard link to %.200q: %w", e.Linkname, err)
	}
	return nil
}

func (x *unpack) linkTo(d *dir, base string, n entryName) error {
	from := x.dirs[n.dir]
	if from == nil {
		f, path, err := x.root.OpenDir(n.dir, nil)
		if err != nil {
			if errors.Is(err, unix.ENOTDIR) { // its directory may be to come as well
				return unix.ENOENT
			}
			return cause(err)
		}
		defer f.Close()
		from = &dir{file: f, path: path}
	}
	var target, there unix.Stat_t
	if err := unix.Fstatat(from.fd(), n.base, &target, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if typeOf(uint32(target.Mode)) == Dir {
		return fmt.Errorf("a directory: %w", unix.EPERM)
	}
	err := unix.Fstatat(d.fd(), base, &there, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && there.Ino == target.Ino && there.Dev == target.Dev {
		return nil // to itself, or made before: removing it first would lose the file
	}
	return x.replace(d, base, false, func() error {
		err := unix.Linkat(from.fd(), n.base, d.fd(), base, 0)
		if err == unix.EPERM && clearFlags(from.fd(), n.base) { // a lower layer's, immutable
			err = unix.Linkat(from.fd(), n.base, d.fd(), base, 0)
		}
		return err
	})
}

// maxLinkRounds bounds how often all late links are tried.
const maxLinkRounds = 8

// lateLinks makes the links whose target came after them. A round makes those that wait
// for each other by the names they have; another is for links that name one through a
// symlink, while that gets anywhere.
func (x *unpack) lateLinks() error {
	for round := 1; len(x.links) > 0; round++ {
		before := len(x.links)
		if err := x.linkRound(); err != nil {
			return err
		}
		x.links = slices.DeleteFunc(x.links, func(l *lateLink) bool { return l.made })
		switch {
		case len(x.links) == before:
			return x.links[0].missing(fs.ErrNotExist)
		case len(x.links) > 0 && round == maxLinkRounds:
			return x.links[0].missing(fmt.Errorf("link upon link through symlinks: %w", ErrLimit))
		}
	}
	return nil
}

// linkRound tries each late link, and once more when what it waits for, by its name, was
// made after it: a chain of links takes one round, in any order.
func (x *unpack) linkRound() error {
	waiting := map[entryName][]*lateLink{} // by target
	for _, l := range x.links {
		ready := []*lateLink{l}
		for i := 0; i < len(ready); i++ {
			r := ready[i]
			if err := x.lateLink(r); err != nil {
				return r.error(err)
			}
			switch {
			case r.made:
				ready = append(ready, waiting[r.n]...)
				delete(waiting, r.n)
			case r == l:
				waiting[l.target] = append(waiting[l.target], l)
			}
		}
	}
	return nil
}

func (x *unpack) lateLink(l *lateLink) error {
	if err := x.r.s.stopped(); err != nil {
		return err
	}
	x.closeStale()
	d, err := x.parent(l.n.dir, l.e)
	if err != nil {
		return err
	}
	err = x.linkTo(d, l.n.base, l.target)
	l.made = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
