package ocitar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // aufs's own files, opaqueMarker apart
)

// whiteout takes an entry with a name, or in a directory, that starts with ".wh.".
func (x *unpack) whiteout(e *Entry, n entryName) error {
	aufs := strings.Contains("/"+n.dir+"/", "/"+aufsPrefix)
	if !aufs && strings.Contains("/"+n.dir, "/"+whiteoutPrefix) {
		return fmt.Errorf("inside a whiteout: %w", ErrName)
	}
	if aufs || n.base != opaqueMarker && strings.HasPrefix(n.base, aufsPrefix) {
		x.sum.note(e.Name, "skipped: a file of aufs's own")
		return nil
	}
	x.sum.Whiteouts++
	name := strings.TrimPrefix(n.base, whiteoutPrefix)
	if n.base != opaqueMarker && (name == "" || name == "." || name == "..") {
		return fmt.Errorf("whiteout of %q: %w", name, ErrName)
	}
	if x.u.Whiteouts != Remove {
		return x.overlayWhiteout(n, name, e)
	}
	f, path, err := x.root.OpenDir(n.dir, nil)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil // nothing is there that could be hidden
	}
	if err != nil {
		return cause(err)
	}
	defer f.Close()
	d := &dir{f, strings.TrimSuffix(path, "/")}
	if err := x.touch(d); err != nil {
		return err
	}
	if n.base == opaqueMarker {
		return x.bare(d, x.hide)
	}
	return x.hide(d, name)
}

// hide removes base of the lower layers, and leaves what this layer has of it.
func (x *unpack) hide(d *dir, base string) error {
	if _, own := x.own[x.hash(d.path, base)]; !own {
		return x.remove(d, base)
	}
	return x.bareBelow(d, base, x.hide)
}

// unlist removes base where it is a whiteout, and those below it: what they hide is
// hidden, and overlayfs lists them in a directory that it does not merge.
func (x *unpack) unlist(d *dir, base string) error {
	if isWhiteout(d.fd(), base) {
		return x.remove(d, base)
	}
	return x.bareBelow(d, base, x.unlist)
}

// bare has each, hide or unlist, take from a directory what hides or is hidden. Once is
// for good, also where another directory takes its place: what comes to be at its path
// is this layer's. A layer may say it as often as it has entries, and looking is as much
// work as there are.
func (x *unpack) bare(d *dir, each func(d *dir, base string) error) error {
	p := x.place(d.path)
	if p.bare {
		return nil
	}
	if err := x.touch(d); err != nil {
		return err
	}
	err := eachName(d.fd(), func(name string) error { return each(d, name) })
	p.bare = err == nil
	return err
}

// bareBelow is bare of a directory in d. A file is this layer's own.
func (x *unpack) bareBelow(d *dir, base string, each func(d *dir, base string) error) error {
	sub, err := openDirAt(d.fd(), base)
	if err != nil {
		return gone(err)
	}
	defer sub.Close()
	return x.bare(&dir{sub, d.path + "/" + base}, each)
}

// eachName lists a directory, through a descriptor of its own, in batches, so that
// one with millions of names costs little.
func eachName(fd int, f func(name string) error) error {
	d, err := openDirAt(fd, ".")
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, n := range names {
			if err := f(n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return cause(err)
		}
	}
}

// overlayWhiteout is whiteout for overlayfs.
func (x *unpack) overlayWhiteout(n entryName, name string, e *Entry) error {
	d, err := x.parent(n.dir, e)
	if err != nil {
		return err
	}
	if n.base == opaqueMarker {
		return x.setOpaque(d)
	}
	if _, own := x.own[x.hash(d.path, name)]; own {
		f, err := openDirAt(d.fd(), name)
		if err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EMLINK {
			return nil // a file: it hides what is below by itself
		}
		if err != nil {
			return err
		}
		defer f.Close()
		return x.setOpaque(&dir{f, d.path + "/" + name})
	}
	for p := x.place(d.path); p != nil; p = p.up {
		if p.bare {
			return nil // nothing is there that could be hidden
		}
	}
	return x.replace(d, name, false, func() error {
		return mknodat(d.fd(), name, unix.S_IFCHR, 0, 0)
	})
}

// setOpaque hides all that lower layers have in a directory.
func (x *unpack) setOpaque(d *dir) error {
	name := "trusted.overlay.opaque"
	if x.u.Whiteouts == OverlayUser {
		name = "user.overlay.opaque"
	}
	f, err := openDirAt(d.fd(), ".") // d may be opened for look-ups only
	if err != nil {
		return err
	}
	defer f.Close()
	if err := setXattr(int(f.Fd()), false, name, "y"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return x.bare(d, x.unlist)
}

func isDirectory(fd int, base string) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && typeOf(uint32(st.Mode)) == Dir
}

func isWhiteout(fd int, base string) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && whiteoutStat(&st)
}

func whiteoutStat(st *unix.Stat_t) bool { return typeOf(uint32(st.Mode)) == Char && st.Rdev == 0 }

// unhide makes directories of this layer's whiteouts that stand on the way to name:
// "d" was hidden and then made anew, without an entry. It reports whether it did.
func (x *unpack) unhide(name string, e *Entry) bool {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		p, base, err := x.root.Parent(name[:i])
		if err != nil {
			return false
		}
		defer p.Close()
		if isWhiteout(int(p.Fd()), base) {
			n, err := x.clean(name[:i])
			if err != nil {
				return false
			}
			d, err := x.parent(n.dir, e)
			return err == nil && x.dir(d, n, &Entry{Mode: 0o755, ModTime: e.ModTime}) == nil
		}
	}
	return false
}

// replace has create make base in d. What is there already goes first: unless both
// are directories.
func (x *unpack) replace(d *dir, base string, isDir bool, create func() error) error {
	err := x.unlocked(d, create)
	for try := 0; err == unix.EEXIST && try < 8; try++ { // an attacker may be as fast
		var st unix.Stat_t
		serr := unix.Fstatat(d.fd(), base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if serr == nil && isDir && typeOf(uint32(st.Mode)) == Dir {
			return nil
		}
		if serr == nil && x.u.Merge && (isDir || typeOf(uint32(st.Mode)) == Dir) {
			return fmt.Errorf("a %s is there, not replaced: %w", typeOf(uint32(st.Mode)), fs.ErrExist)
		}
		if serr == nil {
			serr = x.remove(d, base)
		}
		if serr != nil && serr != unix.ENOENT {
			return serr
		}
		err = create()
	}
	return err
}

// remove removes base of d, with all that is in it. That it is not there is no error.
func (x *unpack) remove(d *dir, base string) error {
	err := x.unlocked(d, func() error { return removeAll(d.fd(), base, 0, x.forget) })
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// removeAll removes base without following links: the directory is emptied through
// its own descriptor. before is called when something goes that a name may lead through.
func removeAll(fd int, base string, depth int, before func()) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if t := typeOf(uint32(st.Mode)); t == Dir || t == Symlink {
		before()
	}
	if typeOf(uint32(st.Mode)) != Dir {
		return unlink(fd, base, 0)
	}
	if err := unlink(fd, base, unix.AT_REMOVEDIR); err != unix.ENOTEMPTY && err != unix.EEXIST {
		return err
	}
	if depth > maxRemoveDepth {
		return unix.ENAMETOOLONG
	}
	sub, err := openDirAt(fd, base)
	if err == unix.EACCES {
		if err = unix.Fchmodat(fd, base, 0o700, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			sub, err = openDirAt(fd, base)
		}
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := emptyDir(sub, depth, before); err != nil {
		return err
	}
	return unlink(fd, base, unix.AT_REMOVEDIR)
}

// maxRemoveDepth bounds the descriptors that removeAll holds.
const maxRemoveDepth = 1000

func emptyDir(d *os.File, depth int, before func()) error {
	// Removing while listing may skip names on some file systems: until none is left.
	for range 8 {
		n := 0
		err := eachName(int(d.Fd()), func(name string) error {
			n++
			err := removeAll(int(d.Fd()), name, depth+1, before)
			if err == unix.ENOENT {
				err = nil
			}
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// unlink is unlinkat(2), after taking away the file flags that forbid it.
func unlink(fd int, base string, flag int) error {
	err := unix.Unlinkat(fd, base, flag)
	if err == unix.EPERM && clearFlags(fd, base) {
		err = unix.Unlinkat(fd, base, flag)
	}
	return err
}
