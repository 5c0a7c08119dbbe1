package ocitar

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// dir is an open directory and its path in the root ("" for the root itself).
type dir struct {
	file *os.File
	path string
}

func (d *dir) fd() int { return int(d.file.Fd()) }

// maxDirs bounds the open directories. Archives are in an order that makes even
// few of them hit nearly always.
const maxDirs = 64

// parent opens the directory that an entry is in, by its name in the archive,
// through the root's own links. Missing ones are made.
func (x *unpack) parent(name string, e *Entry) (*dir, error) {
	if d := x.dirs[name]; d != nil {
		return d, nil
	}
	open := func() (*os.File, string, error) {
		return x.root.OpenDir(name, func(fd int, base, path string) (string, error) {
			return x.implied(fd, base, path, e)
		})
	}
	f, path, err := open()
	if errors.Is(err, unix.ENOTDIR) && x.u.Whiteouts != Remove && x.unhide(name, e) {
		f, path, err = open()
	}
	if err != nil {
		return nil, cause(err)
	}
	d := &dir{f, strings.TrimSuffix(path, "/")}
	if len(path) > inroot.MaxName { // link upon link leads there: names alone are shorter
		err = unix.ENAMETOOLONG
	} else {
		err = x.touch(d)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	x.keep(name, d)
	x.ownAll(d.path)
	return d, nil
}

// ownAll marks path and the directories above it as this layer's: it has something in
// them, which what it hides must not take along.
func (x *unpack) ownAll(path string) {
	for path != "" {
		h := x.hash("", path[1:])
		if _, own := x.own[h]; own {
			return
		}
		x.own[h] = struct{}{}
		path = path[:strings.LastIndexByte(path, '/')]
	}
}

// cause is err without the name, which the Error has.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (x *unpack) keep(name string, d *dir) {
	if len(x.dirs) >= maxDirs {
		x.forget()
	}
	if old := x.dirs[name]; old != nil {
		x.stale = append(x.stale, old)
	}
	x.dirs[name] = d
}

// forget gives up all directories: at the end, and when a directory or a link that
// may be on the way to one of them goes. The current entry may still be using one:
// closeStale closes them before the next.
func (x *unpack) forget() {
	for _, d := range x.dirs {
		x.stale = append(x.stale, d)
	}
	clear(x.dirs)
}

func (x *unpack) closeStale() {
	for _, d := range x.stale {
		d.file.Close() // opened for look-ups: nothing to flush
	}
	x.stale = x.stale[:0]
}

// touch remembers the times of a directory that is about to change without having
// had an entry: it keeps them. Who is not root opens it up until the end.
func (x *unpack) touch(d *dir) error {
	p := x.place(d.path)
	if p.late != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd(), &st); err != nil {
		return err
	}
	l := &late{mtime: modTime(&st), dev: uint64(st.Dev), ino: st.Ino, mode: -1}
	if err := x.lift(d, &st, l); err != nil {
		return err
	}
	p.late = l
	euid := os.Geteuid()
	if euid == 0 || int(st.Uid) != euid || st.Mode&0o700 == 0o700 {
		return nil
	}
	l.mode = int32(st.Mode & 0o7777) // read-only, but ours
	return setMode(d.fd(), true, uint32(st.Mode&0o7777|0o700))
}

// implied makes a directory that the layer uses without an entry: a copy of the
// lower layers' where they have it, else one with the first user's time, so that the
// same layer always makes the same tree.
func (x *unpack) implied(fd int, base, path string, e *Entry) (link string, err error) {
	low, err := x.lower(path)
	if err != nil {
		return "", err
	}
	if low != nil && low.link != "" {
		return low.link, nil
	}
	if err := x.r.count(); err != nil {
		return "", err
	}
	if err := unix.Mkdirat(fd, base, 0o700); err != nil {
		return "", err
	}
	d, err := openDirAt(fd, base)
	if err != nil {
		return "", err
	}
	defer d.Close()
	l := &late{mtime: e.ModTime, mode: 0o755}
	if low != nil {
		l.mtime, l.mode = modTime(&low.st), int32(low.st.Mode&0o7777)
		if l.lists, err = x.copyAttributes(int(d.Fd()), low); err != nil {
			return "", err
		}
	}
	if err := l.identify(d); err != nil {
		return "", err
	}
	x.place(path).late = l
	return "", nil
}

// openDirAt opens a directory for more than look-ups.
func openDirAt(fd int, base string) (*os.File, error) {
	n, err := unix.Openat(fd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(n), base), nil
}

// dir makes a directory or takes the one that is there. It is ours to enter until
// the end, when it gets its mode and time.
func (x *unpack) dir(d *dir, n entryName, e *Entry) error {
	hidden := false // whether what this layer had there hides what is below
	made := false
	err := x.replace(d, n.base, true, func() error {
		err := unix.Mkdirat(d.fd(), n.base, 0o700)
		if err == unix.EEXIST && x.u.Whiteouts != Remove && !isDirectory(d.fd(), n.base) {
			hidden = true // our own whiteout or file
		}
		made = err == nil
		return err
	})
	if err != nil {
		return err
	}
	f, err := openDirAt(d.fd(), n.base)
	if err == unix.EACCES { // a lower layer's, not ours to read: not being root
		if err = unix.Fchmodat(d.fd(), n.base, 0o700, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			f, err = openDirAt(d.fd(), n.base)
		}
	}
	if err != nil {
		return err
	}
	path := d.path + "/" + n.base
	err = x.dirAttributes(f, path, e, made)
	if err == nil && hidden {
		err = x.setOpaque(&dir{f, path})
	}
	if err != nil {
		f.Close()
		return err
	}
	name := n.base
	if n.dir != "" {
		name = n.dir + "/" + n.base
	}
	x.keep(name, &dir{f, path})
	return nil
}

func (x *unpack) rootEntry(e *Entry) error {
	if e.Type != Dir {
		return ErrName
	}
	x.sum.Dirs++
	f, err := openDirAt(int(x.root.File().Fd()), ".")
	if err != nil {
		return err
	}
	defer f.Close()
	return x.dirAttributes(f, "", e, false)
}

// dirAttributes gives a directory its owner and attributes, and remembers the rest.
// made says that it is new.
func (x *unpack) dirAttributes(f *os.File, path string, e *Entry, made bool) error {
	fd := int(f.Fd())
	l := &late{mtime: e.ModTime, mode: int32(e.Mode)}
	if e.Flags != "" {
		var err error
		if l.flags, l.lock, err = x.fileFlags(e); err != nil {
			return err
		}
	}
	if err := l.identify(f); err != nil {
		return err
	}
	if !made {
		unlock(fd) // a lower layer's; what this one says of flags comes last
		if err := x.strip(fd, e.Name, e.Xattrs); err != nil {
			return err
		}
	}
	if err := x.owner(fd, false, e); err != nil {
		return err
	}
	if !x.chown {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return err
		}
	}
	if err := x.extended(fd, false, e); err != nil {
		return err
	}
	lists, named, err := x.parsedACLs(e)
	if err != nil {
		return err
	}
	l.lists = named // with names or not: all come at the end
	for list, a := range lists {
		if l.lists == nil {
			l.lists = lists
			break
		}
		l.lists[list] = a
	}
	x.place(path).late = l
	return nil
}
