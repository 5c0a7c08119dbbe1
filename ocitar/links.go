package ocitar

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// lateLink is a hard link whose target was not there yet.
type lateLink struct {
	e *Entry
	n entryName
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
		x.links = append(x.links, lateLink{e, own})
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

// lateLinks makes the links whose target came after them: again and again, as they
// may be links to links, while that gets anywhere.
func (x *unpack) lateLinks() error {
	for len(x.links) > 0 {
		var left []lateLink
		for _, l := range x.links {
			x.closeStale()
			done, err := x.lateLink(l)
			if err != nil {
				return &Error{Entry: l.e.Name, Offset: l.e.Offset, Err: err}
			}
			if !done {
				left = append(left, l)
			}
		}
		if len(left) == len(x.links) {
			l := left[0]
			return &Error{Entry: l.e.Name, Offset: l.e.Offset, Err: fmt.Errorf("hard link to %.200q: %w", l.e.Linkname, fs.ErrNotExist)}
		}
		x.links = left
	}
	return nil
}

func (x *unpack) lateLink(l lateLink) (done bool, err error) {
	n, err := x.clean(l.e.Linkname)
	if err != nil {
		return false, err
	}
	d, err := x.parent(l.n.dir, l.e)
	if err != nil {
		return false, err
	}
	err = x.linkTo(d, l.n.base, n)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
