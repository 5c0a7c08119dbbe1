package ocitar

import (
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// Tree is all of the directory root, itself (".") included.
func Tree(root string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		r, err := inroot.Open(root)
		if err != nil {
			yield(Change{}, err)
			return
		}
		defer r.Close()
		if yield(Change{Path: "."}, nil) {
			w := walker{visit: func(n *node) (bool, bool) {
				return n.isDir(), yield(Change{Path: n.path}, nil)
			}}
			w.root(r, yield)
		}
	}
}

// TreeAt is the file name of an open root, and all that is in it if it is a
// directory. The name is a path: no link is followed on the way to it. enter says
// which directories to look into; nil is all.
func TreeAt(root *inroot.Root, name string, enter func(path string) bool) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		name = strings.TrimPrefix(path.Clean("/"+name), "/")
		st, err := root.Lstat("/" + name)
		if err != nil {
			yield(Change{}, err)
			return
		}
		top := path.Clean(name)
		if !yield(Change{Path: top}, nil) || typeOf(uint32(st.Mode)) != Dir || enter != nil && !enter(top) {
			return
		}
		f, _, err := root.OpenDir("/"+name, nil)
		if err != nil {
			yield(Change{}, err)
			return
		}
		defer f.Close()
		d, err := openDirAt(int(f.Fd()), ".")
		if err != nil {
			yield(Change{}, fmt.Errorf("%s: %w", name, err))
			return
		}
		defer d.Close()
		w := walker{visit: func(n *node) (bool, bool) {
			return n.isDir() && (enter == nil || enter(n.path)), yield(Change{Path: n.path}, nil)
		}}
		if _, err := w.dir(int(d.Fd()), name, 0); err != nil {
			yield(Change{}, err)
		}
	}
}

// Upper is what the upper directory of an overlayfs mount says has changed: whiteout
// devices are Gone, opaque directories Opaque. The root itself is not in it: overlayfs
// makes one always.
func Upper(root string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		r, err := inroot.Open(root)
		if err != nil {
			yield(Change{}, err)
			return
		}
		defer r.Close()
		w := walker{visit: func(n *node) (bool, bool) {
			c := Change{Path: n.path}
			if whiteoutStat(&n.st) {
				c.Kind = Gone
			} else if n.isDir() {
				f := &lowFile{root: r, path: n.path}
				opaque, err := f.opaque()
				if err != nil {
					return false, yield(c, fmt.Errorf("%s: %w", n.path, err))
				}
				if opaque {
					c.Kind = Opaque
				}
			}
			return n.isDir(), yield(c, nil)
		}}
		w.root(r, yield)
	}
}

// A node is a file met on a walk.
type node struct {
	path string
	base string
	dir  int // the directory it is in
	st   unix.Stat_t
}

func (n *node) isDir() bool { return typeOf(uint32(n.st.Mode)) == Dir }

// A walker visits all files of a tree, sorted, without following links. visit says
// whether to enter a directory, and whether to go on.
type walker struct {
	visit func(*node) (enter, more bool)
}

func (w *walker) root(r *inroot.Root, yield func(Change, error) bool) {
	d, err := openDirAt(int(r.File().Fd()), ".")
	if err != nil {
		yield(Change{}, fmt.Errorf("%s: %w", r.Name(), err))
		return
	}
	defer d.Close()
	if _, err := w.dir(int(d.Fd()), "", 0); err != nil {
		yield(Change{}, err)
	}
}

// dir visits what is in the directory fd. That something vanishes meanwhile is no error.
func (w *walker) dir(fd int, name string, depth int) (more bool, err error) {
	if depth > maxRemoveDepth {
		return false, fmt.Errorf("%.200s: %w", name, unix.ENAMETOOLONG)
	}
	names, err := sortedNames(fd)
	if err != nil {
		return false, fmt.Errorf("%.200s: %w", name, err)
	}
	for _, base := range names {
		n := &node{path: path.Join(name, base), base: base, dir: fd}
		err := unix.Fstatat(fd, base, &n.st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%.200s: %w", n.path, err)
		}
		enter, more := w.visit(n)
		if !more {
			return false, nil
		}
		if !enter {
			continue
		}
		if more, err := w.enter(n, depth); !more {
			return false, err
		}
	}
	return true, nil
}

func (w *walker) enter(n *node, depth int) (more bool, err error) {
	d, err := openDirAt(n.dir, n.base)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%.200s: %w", n.path, err)
	}
	defer d.Close()
	return w.dir(int(d.Fd()), n.path, depth+1)
}

func sortedNames(fd int) ([]string, error) {
	var names []string
	err := eachName(fd, func(n string) error {
		names = append(names, n)
		return nil
	})
	slices.Sort(names)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
