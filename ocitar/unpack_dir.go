package ocitar

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

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

// late is what a directory gets once nothing more happens in it.
type late struct {
	mtime    time.Time
	dev, ino uint64 // which directory it was: another one in its place gets nothing
	mode     int32  // -1: as it is
	flags    uint32 // FreeBSD file flags
	lock     bool   // whether to set them
	lists    map[string]acl
}

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
	if err := x.touch(d); err != nil {
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
	if x.late[d.path] != nil {
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
	x.late[d.path] = l
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
	x.late[path] = l
	return "", nil
}

func (l *late) identify(d *os.File) error {
	var st unix.Stat_t
	err := unix.Fstat(int(d.Fd()), &st)
	l.dev, l.ino = uint64(st.Dev), st.Ino
	return err
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
	hidden := false // whether our own whiteout stood there
	made := false
	err := x.replace(d, n.base, true, func() error {
		err := unix.Mkdirat(d.fd(), n.base, 0o700)
		if err == unix.EEXIST && x.u.Whiteouts != Remove && isWhiteout(d.fd(), n.base) {
			hidden = true
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
		err = x.setOpaque(int(f.Fd()))
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
	x.late[path] = l
	return nil
}

// finishDirs gives directories their modes and times, the deepest first, so that
// none is closed to us before those in it are done; then file flags, the last of all.
func (x *unpack) finishDirs() error {
	x.forget()
	x.closeStale()
	paths := make([]string, 0, len(x.late))
	for p := range x.late {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(b, a) })
	for _, p := range paths {
		if err := x.withLate(p, func(fd int, l *late) error { return x.finishDir(fd, p, l) }); err != nil {
			return &Error{Entry: p, Offset: x.r.s.pos, Err: err}
		}
	}
	if err := x.finishFiles(); err != nil {
		return err
	}
	for _, p := range paths {
		if l := x.late[p]; l.lock {
			err := x.withLate(p, func(fd int, l *late) error { return x.lock(fd, p, l.flags) })
			if err != nil {
				return &Error{Entry: p, Offset: x.r.s.pos, Err: err}
			}
		}
	}
	return nil
}

func (x *unpack) finishDir(fd int, path string, l *late) error {
	if l.mode >= 0 {
		if err := unix.Fchmod(fd, uint32(l.mode)); err != nil {
			return err
		}
	}
	if len(l.lists) > 0 {
		err := x.resolve(l.lists)
		if err == nil {
			err = x.setACLs(fd, false, path, l.lists)
		}
		if err := x.tolerate(path, "access control list", err); err != nil {
			return err
		}
	}
	err := setTime(fd, false, l.mtime)
	if l.mode < 0 && errors.Is(err, fs.ErrPermission) { // not ours: it keeps the new time
		return nil
	}
	return err
}

// withLate opens the directory path, if it still is the one it was, and has f at it.
func (x *unpack) withLate(path string, f func(int, *late) error) error {
	l := x.late[path]
	parent, base, err := x.root.Parent(path + "/.")
	if err != nil {
		return gone(err)
	}
	defer parent.Close()
	d, err := openDirAt(int(parent.Fd()), base)
	if err != nil {
		if l.mode < 0 && errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return gone(err)
	}
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return err
	}
	if uint64(st.Dev) != l.dev || st.Ino != l.ino {
		return nil
	}
	return f(int(d.Fd()), l)
}

// gone takes the errors of a name whose file was replaced since.
func gone(err error) error {
	err = cause(err)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EMLINK {
		return nil
	}
	return err
}
