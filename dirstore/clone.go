package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// cloner copies a tree with all that belongs to it: hard links, holes, owners,
// modes, times, extended attributes, flags. Sockets are left out: without the
// process that made it a socket is nothing. Every name is used relative to an
// open directory and never followed.
type cloner struct {
	dst     *os.File // the new tree's root
	src     string   // name of the old tree
	reflink bool
	links   map[inode]string // files with several names: the first, from the root
	late    []lateFlags
}

type inode struct{ dev, ino uint64 }

// lateFlags are flags to set once everything is in place: a file that is
// immutable can get no more names, such a directory no more files.
type lateFlags struct {
	name  string // from the root
	flags uint32
}

// cloneTree copies what is in the directory src, and src's own attributes, to
// the empty directory dst.
func cloneTree(ctx context.Context, dst, src string, reflink bool) error {
	from, err := os.Open(src)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Open(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	c := &cloner{dst: to, src: src, reflink: reflink, links: map[inode]string{}}
	if err := c.dir(ctx, to, from, "."); err != nil {
		return fmt.Errorf("copy %s: %w", src, err)
	}
	for _, l := range c.late { // children come before their directory
		if err := setFlags(to, l.name, l.flags); err != nil {
			return fmt.Errorf("copy %s: set flags of %s: %w", src, l.name, err)
		}
	}
	return nil
}

// copyAttributes gives the directory dst what the directory src has.
func copyAttributes(dst, src string) error {
	from, err := os.Open(src)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Open(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	if err := attributes(to, from, &st); err != nil {
		return fmt.Errorf("copy attributes of %s: %w", src, err)
	}
	return nil
}

// dir copies a directory; name is its name from the root. Two descriptors are
// open for each level, which leaves the limit to RLIMIT_NOFILE and not to the
// length of names.
func (c *cloner) dir(ctx context.Context, to, from *os.File, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	for {
		names, err := from.Readdirnames(512)
		for _, base := range names {
			if err := c.entry(ctx, to, from, base, path.Join(name, base)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := attributes(to, from, &st); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.noteFlags(from, &st, name)
}

func (c *cloner) noteFlags(from *os.File, st *unix.Stat_t, name string) error {
	flags, err := getFlags(from, st)
	if err != nil {
		return fmt.Errorf("%s: get flags: %w", name, err)
	}
	if flags != 0 {
		c.late = append(c.late, lateFlags{name, flags})
	}
	return nil
}

// entry copies one name of a directory.
func (c *cloner) entry(ctx context.Context, to, from *os.File, base, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(from.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	key := inode{uint64(st.Dev), uint64(st.Ino)}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFSOCK:
		return nil
	case kind == unix.S_IFDIR:
		err = c.subdir(ctx, to, from, base, name)
	case st.Nlink > 1 && c.links[key] != "":
		err = unix.Linkat(int(c.dst.Fd()), c.links[key], int(to.Fd()), base, 0)
	default:
		if err = c.file(to, from, base, name, &st); err == nil && st.Nlink > 1 {
			c.links[key] = name
		}
	}
	var p *fs.PathError
	if err != nil && !errors.As(err, &p) {
		err = &fs.PathError{Op: "copy", Path: name, Err: err}
	}
	return err
}

func (c *cloner) subdir(ctx context.Context, to, from *os.File, base, name string) error {
	if err := unix.Mkdirat(int(to.Fd()), base, 0o700); err != nil {
		return err
	}
	src, err := openDir(from, base)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := openDir(to, base)
	if err != nil {
		return err
	}
	defer dst.Close()
	return c.dir(ctx, dst, src, name)
}

// file copies what is no directory.
func (c *cloner) file(to, from *os.File, base, name string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.regular(to, from, base, name, st)
	case unix.S_IFLNK:
		target, err := readlink(from, base, st.Size)
		if err == nil {
			err = unix.Symlinkat(target, int(to.Fd()), base)
		}
		if err != nil {
			return err
		}
	default:
		if err := mknod(to, base, st); err != nil {
			return err
		}
	}
	return c.nodeAttributes(to, base, name, st)
}

func readlink(dir *os.File, base string, size int64) (string, error) {
	// One more than it should be shows that it is not longer.
	b := make([]byte, max(size, 255)+1)
	n, err := unix.Readlinkat(int(dir.Fd()), base, b)
	if err == nil && n == len(b) {
		err = unix.ENAMETOOLONG
	}
	return string(b[:max(n, 0)]), err
}

func (c *cloner) regular(to, from *os.File, base, name string, st *unix.Stat_t) (err error) {
	src, err := openat(from, base, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := openat(to, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if st.Size > 0 {
		if err := c.data(dst, src, st); err != nil {
			return err
		}
	}
	if err := attributes(dst, src, st); err != nil {
		return err
	}
	return c.noteFlags(src, st, name)
}

// data copies content: by sharing the blocks, else the parts that are no hole.
func (c *cloner) data(dst, src *os.File, st *unix.Stat_t) error {
	if c.reflink && reflink(dst, src) == nil {
		return nil // not for each file: one without copy-on-write (chattr +C) cannot
	}
	if st.Blocks*512 >= st.Size {
		_, err := io.CopyN(dst, src, st.Size) // copy_file_range(2) on Linux and FreeBSD
		return err
	}
	for end := int64(0); end < st.Size; {
		begin, err := src.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if err != nil {
			return err
		}
		if end, err = src.Seek(begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := src.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, end-begin); err != nil {
			return err
		}
	}
	return dst.Truncate(st.Size)
}

// attributes copies what a file or directory has beside its content and flags.
// The order matters: chown clears setuid bits and capabilities, everything
// changes times.
func attributes(dst, src *os.File, st *unix.Stat_t) error {
	fd := int(dst.Fd())
	if err := chown(func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }, st); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(st.Mode)&0o7777); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := copyXattrs(dst, src); err != nil {
		return err
	}
	return os.NewSyscallError("futimens", futimens(dst, st))
}

// nodeAttributes is attributes for what cannot be opened: links, fifos, devices.
// Their extended attributes have no system call relative to a directory (before
// Linux 6.13), so they are asked for by the whole name; all directories on the
// way are known to be none but directories.
func (c *cloner) nodeAttributes(to *os.File, base, name string, st *unix.Stat_t) error {
	fd := int(to.Fd())
	err := chown(func(uid, gid int) error {
		return unix.Fchownat(fd, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}, st)
	if err != nil {
		return err
	}
	if err := chmodNode(fd, base, uint32(st.Mode)); err != nil {
		return os.NewSyscallError("fchmodat", err)
	}
	if err := copyNodeXattrs(path.Join(c.dst.Name(), name), path.Join(c.src, name)); err != nil {
		return err
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, base, times(st), unix.AT_SYMLINK_NOFOLLOW))
}

// chown sets the owner, except for one who may not and need not.
func chown(set func(uid, gid int) error, st *unix.Stat_t) error {
	err := set(int(st.Uid), int(st.Gid))
	if errors.Is(err, unix.EPERM) && int(st.Uid) == os.Geteuid() {
		err = nil // a group that an unprivileged owner is not in
	}
	return os.NewSyscallError("chown", err)
}

// openat opens a file by its name in a directory and never follows a link.
func openat(dir *os.File, name string, flags int, perm uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}
