package ocitar

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A place is where a directory is, or was. It knows its own name and the place which that
// is in: paths would cost a layer of deep trees many times their names.
type place struct {
	up          *place // nil for the root
	base        string
	depth       int
	child, next *place // the latest in this one; the one before this in up
	late        *late  // nil: nothing is to come
	bare        bool   // of all that lower layers had in it
}

// late is what a directory gets once nothing more happens in it.
type late struct {
	mtime    time.Time
	dev, ino uint64 // which directory it was: another one in its place gets nothing
	mode     int32  // -1: as it is
	flags    uint32 // FreeBSD file flags
	lock     bool   // whether to set them
	lists    map[string]acl
}

func (l *late) identify(d *os.File) error {
	var st unix.Stat_t
	err := unix.Fstat(int(d.Fd()), &st)
	l.dev, l.ino = uint64(st.Dev), st.Ino
	return err
}

// place is the place of the directory path, in which there are no links.
func (x *unpack) place(path string) *place {
	h := x.hash(path, "")
	p := x.places[h]
	if p != nil {
		return p
	}
	p = new(place)
	if path != "" {
		end := strings.LastIndexByte(path, '/')
		up := x.place(path[:end])
		*p = place{up: up, base: strings.Clone(path[end+1:]), depth: up.depth + 1, next: up.child}
		up.child = p
	}
	x.places[h] = p
	return p
}

// path is what place was asked for.
func (p *place) path() string {
	var bases []string
	for ; p.up != nil; p = p.up {
		bases = append(bases, p.base)
	}
	var b strings.Builder
	for _, base := range slices.Backward(bases) {
		b.WriteString("/" + base)
	}
	return b.String()
}

// A trail has directories open that lead to places, so that not each place is looked up
// from the root: the last maxDirs on the way to one, as a way may be longer than a process
// may have descriptors.
type trail struct {
	root int
	open [maxDirs]struct {
		p  *place
		fd int
	}
}

// to opens the directory at p for look-ups. The descriptor is the trail's, until the next call.
func (t *trail) to(p *place) (int, error) {
	if p.up == nil {
		return t.root, nil
	}
	slot := &t.open[p.depth%maxDirs]
	if slot.p == p {
		return slot.fd, nil
	}
	up, err := t.to(p.up)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Openat(up, p.base, oPath|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if slot.p != nil {
		unix.Close(slot.fd)
	}
	slot.p, slot.fd = p, fd
	return fd, nil
}

func (t *trail) close() {
	for _, slot := range t.open {
		if slot.p != nil {
			unix.Close(slot.fd) // opened for look-ups: nothing to flush
		}
	}
}

// finish gives directories their modes and times, each after those in it, so that none
// is closed to us too early; then file flags, the last of all.
func (x *unpack) finish() error {
	x.forget()
	x.closeStale()
	t := &trail{root: int(x.root.File().Fd())}
	defer t.close()
	if err := x.finishDirs(t, x.place("")); err != nil {
		return err
	}
	if err := x.finishFiles(t); err != nil {
		return err
	}
	for _, p := range x.locks {
		if err := x.withLate(t, p, x.lockDir); err != nil {
			return err
		}
	}
	return nil
}

// finishDirs is for the directory at p and those in it. One that is gone took them along.
func (x *unpack) finishDirs(t *trail, p *place) error {
	if _, err := t.to(p); err != nil {
		return x.lateError(p, gone(err))
	}
	for c := p.child; c != nil; c = c.next {
		if err := x.finishDirs(t, c); err != nil {
			return err
		}
	}
	return x.withLate(t, p, x.finishDir)
}

func (x *unpack) finishDir(fd int, p *place) error {
	l := p.late
	if l.lock {
		x.locks = append(x.locks, p)
	}
	if l.mode >= 0 {
		if err := unix.Fchmod(fd, uint32(l.mode)); err != nil {
			return err
		}
	}
	if len(l.lists) > 0 {
		path := p.path()
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

func (x *unpack) lockDir(fd int, p *place) error { return x.lock(fd, p.path(), p.late.flags) }

// withLate opens the directory at p, if it still is the one it was, and has f at it.
func (x *unpack) withLate(t *trail, p *place, f func(fd int, p *place) error) error {
	l := p.late
	if l == nil {
		return nil
	}
	if err := x.r.s.stopped(); err != nil {
		return x.lateError(p, err)
	}
	way, err := t.to(p)
	if err != nil {
		return x.lateError(p, gone(err))
	}
	d, err := openDirAt(way, ".")
	if err != nil {
		if l.mode < 0 && errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return x.lateError(p, gone(err))
	}
	defer d.Close()
	var is late
	if err := is.identify(d); err != nil {
		return x.lateError(p, err)
	}
	if is.dev != l.dev || is.ino != l.ino {
		return nil
	}
	return x.lateError(p, f(int(d.Fd()), p))
}

// lateError is err with the name of the directory it is of.
func (x *unpack) lateError(p *place, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Entry: p.path(), Offset: x.r.s.pos, Err: err}
}

// gone takes the errors of a name whose file was replaced since.
func gone(err error) error {
	err = cause(err)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EMLINK {
		return nil
	}
	return err
}
