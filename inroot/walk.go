package inroot

import (
	"strings"

	"golang.org/x/sys/unix"
)

// An action does something to base in the directory dir. Where base is a
// symlink that the action wants followed, it does nothing and returns the target.
type action func(dir int, base string) (link string, err error)

// A walk goes from the root to a name's last component. It holds one descriptor:
// that of the directory reached. ".." is not asked of the kernel, because an
// attacker may have moved the directory out of the root meanwhile: the walk
// drops the last component and goes again from the root.
type walk struct {
	root    int
	missing Missing

	dir   int      // the directory reached; the walk's own unless it is root
	done  []string // its components below root, no symlink among them
	todo  []string // what is left, last component first
	base  string   // what was acted upon
	links int
	steps int
}

func (w *walk) run(name string, act action) error {
	if name == "" {
		return unix.ENOENT
	}
	w.dir = w.root
	if err := w.push(name); err != nil {
		return err
	}
	for len(w.todo) > 0 {
		comp := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		var err error
		switch {
		case comp == "" || comp == ".":
		case comp == "..":
			w.up()
		case len(w.todo) == 0:
			link, err := act(w.dir, comp)
			if err != nil || link == "" {
				w.base = comp
				return err
			}
			if err := w.follow(link); err != nil {
				return err
			}
		default:
			err = w.down(comp)
		}
		if err != nil {
			return err
		}
	}
	_, err := act(w.dir, ".")
	return err
}

// push puts the components of name before those that are left.
func (w *walk) push(name string) error {
	if len(name) > MaxName {
		return unix.ENAMETOOLONG
	}
	comps := strings.Split(name, "/")
	for i := len(comps) - 1; i >= 0; i-- {
		w.todo = append(w.todo, comps[i])
	}
	return nil
}

// down enters comp, or follows it where it is a symlink.
func (w *walk) down(comp string) error {
	if w.steps++; w.steps > maxSteps {
		return unix.ELOOP
	}
	fd, err := openat(w.dir, comp, openDir, 0)
	if err == unix.ENOENT && w.missing != nil {
		link, merr := w.missing(w.dir, comp, w.path(comp))
		if merr != nil {
			return merr
		}
		if link != "" {
			return w.follow(link)
		}
		fd, err = openat(w.dir, comp, openDir, 0)
	}
	if err == nil {
		w.enter(fd, comp)
		return nil
	}
	if link, lerr := linkTarget(w.dir, comp, err); lerr == nil {
		return w.follow(link)
	}
	return err
}

func (w *walk) enter(fd int, comp string) {
	w.close()
	w.dir = fd
	w.done = append(w.done, comp)
}

// up drops the last component and starts over with the others.
func (w *walk) up() {
	if n := len(w.done); n > 0 {
		for i := n - 2; i >= 0; i-- {
			w.todo = append(w.todo, w.done[i])
		}
		w.restart()
	}
}

func (w *walk) follow(link string) error {
	if w.links++; w.links > MaxLinks {
		return unix.ELOOP
	}
	if link[0] == '/' {
		w.restart()
	}
	return w.push(link)
}

func (w *walk) restart() {
	w.close()
	w.dir, w.done = w.root, w.done[:0]
}

// close gives up the directory reached, unless it is the root, which is borrowed.
func (w *walk) close() {
	if w.dir != w.root && w.dir > 0 {
		_ = unix.Close(w.dir) // a directory opened for look-ups has nothing to flush
	}
	w.dir = w.root
}

// path is the canonical path of base in the directory reached.
func (w *walk) path(base string) string {
	var b strings.Builder
	for _, c := range w.done {
		b.WriteByte('/')
		b.WriteString(c)
	}
	if base != "" || b.Len() == 0 {
		b.WriteByte('/')
		b.WriteString(base)
	}
	return b.String()
}

// linkTarget reads base if it is the symlink that made an open fail with err.
// The kernels differ in what they say when O_NOFOLLOW meets a link: ELOOP
// (Linux), EMLINK (FreeBSD, sys/kern/vfs_vnops.c), ENOTDIR (with O_DIRECTORY).
func linkTarget(dir int, base string, err error) (string, error) {
	if err != unix.ELOOP && err != unix.EMLINK && err != unix.ENOTDIR {
		return "", err
	}
	link, lerr := readlinkat(dir, base)
	if lerr == unix.EINVAL { // not a link: the first error holds
		return "", err
	}
	return link, lerr
}

func readlinkat(dir int, base string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, base, buf)
		switch {
		case err == unix.EINTR:
			size /= 4
		case err != nil:
			return "", err
		case n == 0: // no kernel makes them, a file server may
			return "", unix.ENOENT
		case n < size:
			return string(buf[:n]), nil
		case size > MaxName:
			return "", unix.ENAMETOOLONG
		}
	}
}

func openat(dir int, name string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, perm)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
