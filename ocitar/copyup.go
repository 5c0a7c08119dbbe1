package ocitar

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyUp makes n, the target of a hard link, in the root as the layers below have it,
// and reports whether they do: a link needs its target in its own file system.
func (x *unpack) copyUp(n entryName, e *Entry) (bool, error) {
	if len(x.u.Lower) == 0 {
		return false, nil
	}
	d, err := x.parent(n.dir, e)
	if err != nil {
		return false, err
	}
	low, err := x.lower(d.path + "/" + n.base)
	if err != nil || low == nil {
		return false, err
	}
	switch typeOf(uint32(low.st.Mode)) {
	case Regular:
		err = x.copyFile(d, n.base, low)
	case Symlink:
		err = x.copyLink(d, n.base, low)
	default:
		err = fmt.Errorf("copy up %s: no regular file: %w", low.path, errors.ErrUnsupported)
	}
	if err == nil {
		x.own[x.hash(d.path, n.base)] = struct{}{}
	}
	return err == nil, err
}

// copyFile copies a lower layer's file with its attributes.
func (x *unpack) copyFile(d *dir, base string, low *lowFile) (err error) {
	in, err := low.root.OpenFile(low.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if fi, err := in.Stat(); err != nil || !fi.Mode().IsRegular() {
		return fmt.Errorf("copy up %s: no longer a regular file: %w", low.path, errors.Join(unix.EINVAL, err))
	}
	fd, err := unix.Openat(d.fd(), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), base)
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil { // copy_file_range(2), where there is one
		return err
	}
	attrs, err := readXattrs(int(in.Fd()), false)
	if err != nil {
		return err
	}
	lists, err := readACLs(int(in.Fd()), &low.st, attrs)
	if err != nil {
		return err
	}
	return x.like(fd, false, low, attrs, lists)
}

// copyLink copies a lower layer's symlink.
func (x *unpack) copyLink(d *dir, base string, low *lowFile) error {
	if err := unix.Symlinkat(low.link, d.fd(), base); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd(), base, oPath|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return x.like(fd, true, low, nil, nil)
}

// like gives fd the attributes of a lower file. Its owner is of the host already.
func (x *unpack) like(fd int, opath bool, low *lowFile, attrs map[string]string, lists map[string]acl) error {
	if x.chown {
		if err := chown(fd, opath, int(low.st.Uid), int(low.st.Gid)); err != nil {
			return err
		}
	}
	if err := x.extended(fd, opath, &Entry{Name: low.path, Xattrs: attrs}); err != nil {
		return err
	}
	if !opath {
		if err := setMode(fd, false, uint32(low.st.Mode&0o7777)); err != nil {
			return err
		}
	}
	if err := x.setACLs(fd, opath, low.path, lists); err != nil {
		return err
	}
	return setTime(fd, opath, modTime(&low.st))
}
