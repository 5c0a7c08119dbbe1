package ocitar

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// Compare is what was made of the tree old to get the tree new: the changes that turn
// a root that holds old into new. Files are the same if all that a layer carries is:
// type, mode, owner, time, links, attributes, flags and content, which is read unless
// both are one inode unchanged (as in a clone or snapshot). Where one of several names
// of a file has changed, all are in it, so that they are one file again.
//
// A directory's time is not a change: unpacking what is in it makes it. A directory of
// new on which something is mounted is not looked into.
func Compare(old, new string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { compare(old, new, nil, yield) }
}

func compare(old, new string, s *scope, yield func(Change, error) bool) {
	a, err := inroot.Open(old)
	if err != nil {
		yield(Change{}, err)
		return
	}
	defer a.Close()
	b, err := inroot.Open(new)
	if err != nil {
		yield(Change{}, err)
		return
	}
	defer b.Close()
	c := comparer{yield: yield, links: map[inode]*linked{}, scope: s}
	if err := c.roots(a, b); err != nil && !errors.Is(err, errStopped) {
		yield(Change{}, err)
	}
}

// linked are the names of a file that has more than one.
type linked struct {
	names   []string
	nlink   uint64
	changed bool
}

type comparer struct {
	yield func(Change, error) bool
	links map[inode]*linked
	scope *scope // nil: everything
	whole int    // how many directories, compared whole, this one is in
	dev   uint64 // of the file system that new is on
}

func (c *comparer) emit(p string, k ChangeKind) error {
	if !c.yield(Change{p, k}, nil) {
		return errStopped
	}
	return nil
}

func (c *comparer) roots(old, new *inroot.Root) error {
	a, err := openDirAt(int(old.File().Fd()), ".")
	if err != nil {
		return fmt.Errorf("%s: %w", old.Name(), err)
	}
	defer a.Close()
	b, err := openDirAt(int(new.File().Fd()), ".")
	if err != nil {
		return fmt.Errorf("%s: %w", new.Name(), err)
	}
	defer b.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(b.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", new.Name(), err)
	}
	c.dev = uint64(st.Dev)
	same, err := sameFile(int(a.Fd()), int(b.Fd()), ".")
	if err == nil && !same {
		err = c.emit(".", Put)
	}
	if err == nil {
		err = c.dirs(int(a.Fd()), int(b.Fd()), "", 0)
	}
	if err == nil {
		err = c.missingNames(new)
	}
	if err != nil {
		return err
	}
	return c.allNames()
}

// allNames emits the unchanged names of files that have changed ones: their content
// is not in the layer otherwise, or would be twice.
func (c *comparer) allNames() error {
	for _, l := range c.links {
		if !l.changed {
			continue
		}
		for _, n := range l.names {
			if err := c.emit(n, Put); err != nil {
				return err
			}
		}
	}
	return nil
}

// dirs compares two directories, of which old may be none (-1).
func (c *comparer) dirs(old, new int, name string, depth int) error {
	if depth > maxRemoveDepth {
		return fmt.Errorf("%.200s: %w", name, unix.ENAMETOOLONG)
	}
	var was []string
	var err error
	if old >= 0 {
		if was, err = c.names(old, name); err != nil {
			return fmt.Errorf("%.200s: %w", name, err)
		}
	}
	is, err := c.names(new, name)
	if err != nil {
		return fmt.Errorf("%.200s: %w", name, err)
	}
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0] < is[0]:
			err = c.emit(under(name, was[0]), Gone)
			was = was[1:]
		case len(was) == 0 || is[0] < was[0]:
			err = c.file(-1, new, name, is[0], depth)
			is = is[1:]
		default:
			err = c.file(old, new, name, is[0], depth)
			was, is = was[1:], is[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func under(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// file compares base in two directories, or takes it for new where old is -1.
func (c *comparer) file(old, new int, dir, base string, depth int) error {
	name := under(dir, base)
	var a, b unix.Stat_t
	if err := unix.Fstatat(new, base, &b, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%.200s: %w", name, err)
	}
	if old >= 0 {
		if err := unix.Fstatat(old, base, &a, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("%.200s: %w", name, err)
		}
	}
	wasDir := old >= 0 && typeOf(uint32(a.Mode)) == Dir
	isDir := typeOf(uint32(b.Mode)) == Dir
	if isDir && uint64(b.Dev) != c.dev { // of files on overlayfs it is their layer's
		if wasDir {
			return nil
		}
		return c.emit(name, Put)
	}
	same := false
	if old >= 0 {
		var err error
		if same, err = sameFile(old, new, base); err != nil {
			return fmt.Errorf("%.200s: %w", name, err)
		}
	}
	c.remember(&b, name, isDir, !same)
	if !same {
		if err := c.emit(name, Put); err != nil {
			return err
		}
	}
	if !isDir || wasDir && c.whole == 0 && c.scope != nil && !c.scope.leads(name) {
		return nil
	}
	if !wasDir || c.scope != nil && c.scope.deep[name] {
		c.whole++
		defer func() { c.whole-- }()
	}
	return c.enter(old, new, base, name, wasDir, depth)
}

// remember keeps the names of files with several of them.
func (c *comparer) remember(st *unix.Stat_t, name string, isDir, changed bool) {
	if isDir || st.Nlink < 2 {
		return
	}
	id := inode{uint64(st.Dev), st.Ino}
	l := c.links[id]
	if l == nil {
		l = &linked{nlink: uint64(st.Nlink)}
		c.links[id] = l
	}
	l.names = append(l.names, name)
	l.changed = l.changed || changed
}

func (c *comparer) enter(old, new int, base, name string, wasDir bool, depth int) error {
	b, err := openDirAt(new, base)
	if err != nil {
		return fmt.Errorf("%.200s: %w", name, err)
	}
	defer b.Close()
	if !wasDir {
		return c.dirs(-1, int(b.Fd()), name, depth+1)
	}
	a, err := openDirAt(old, base)
	if err != nil {
		return fmt.Errorf("%.200s: %w", name, err)
	}
	defer a.Close()
	return c.dirs(int(a.Fd()), int(b.Fd()), name, depth+1)
}

// sameFile says whether base is the same in two directories as far as a layer tells.
func sameFile(old, new int, base string) (bool, error) {
	a, err := openSame(old, base)
	if err != nil {
		return false, err
	}
	defer unix.Close(a.fd)
	b, err := openSame(new, base)
	if err != nil {
		return false, err
	}
	defer unix.Close(b.fd)
	x, y := &a.st, &b.st
	t := typeOf(uint32(x.Mode))
	switch {
	case x.Mode != y.Mode, x.Uid != y.Uid, x.Gid != y.Gid, formatFlags(statFlags(x)) != formatFlags(statFlags(y)):
		return false, nil
	case t == Dir:
		return sameXattrs(a, b, false)
	case x.Ino == y.Ino && x.Ctim == y.Ctim && x.Size == y.Size && x.Mtim == y.Mtim && x.Nlink == y.Nlink:
		return true, nil // one inode, or its clone, unchanged: ctime cannot be set back
	case x.Size != y.Size, x.Mtim != y.Mtim, x.Nlink != y.Nlink:
		return false, nil
	case (t == Char || t == Block) && x.Rdev != y.Rdev:
		return false, nil
	}
	if same, err := sameXattrs(a, b, t != Regular); err != nil || !same {
		return false, err
	}
	switch t {
	case Symlink:
		p, err := readLink(a.fd, x.Size)
		if err != nil {
			return false, err
		}
		q, err := readLink(b.fd, y.Size)
		return p == q, err
	case Regular:
		return sameContent(a.fd, b.fd)
	}
	return true, nil
}

type opened struct {
	fd int
	st unix.Stat_t
}

func openSame(dir int, base string) (opened, error) {
	var o opened
	if err := unix.Fstatat(dir, base, &o.st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return o, err
	}
	flags := unix.O_RDONLY | unix.O_NONBLOCK
	if t := typeOf(uint32(o.st.Mode)); t != Regular && t != Dir {
		flags = oPath
	}
	fd, err := unix.Openat(dir, base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return o, err
	}
	o.fd = fd
	if err := unix.Fstat(fd, &o.st); err != nil {
		return o, errors.Join(err, unix.Close(fd))
	}
	return o, nil
}

func sameXattrs(a, b opened, opath bool) (bool, error) {
	x, xl, err := a.attributes(opath)
	if err != nil {
		return false, err
	}
	y, yl, err := b.attributes(opath)
	return maps.Equal(x, y) && maps.EqualFunc(xl, yl, slices.Equal[acl]), err
}

// attributes are what of a file's extended attributes is packed, and its access control lists.
func (o opened) attributes(opath bool) (map[string]string, map[string]acl, error) {
	attrs, err := readXattrs(o.fd, opath)
	if err != nil {
		return nil, nil, err
	}
	packable(attrs)
	lists, err := readACLs(o.fd, &o.st, attrs)
	return attrs, lists, err
}

func sameContent(a, b int) (bool, error) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; {
		n, err := pread(a, p, off)
		if err != nil {
			return false, err
		}
		m, err := pread(b, q, off)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if n < len(p) {
			return true, nil
		}
		off += int64(n)
	}
}

// pread fills b unless the file ends.
func pread(fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
