package inroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenFile opens name as open(2) does in a chroot: links are followed, also the
// last one (unless flag has syscall.O_NOFOLLOW), also to a file that O_CREATE is
// to make. flag is of os.O_* and of the system's own; perm has permission bits only.
// Opening a FIFO blocks and opening a device acts: for a file that a stranger
// wrote use ReadFile.
func (r *Root) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	var f *os.File
	_, err := r.resolve("open", name, func(dir int, base string) (string, error) {
		fd, err := openat(dir, base, flag|unix.O_NOFOLLOW, uint32(perm.Perm()))
		if flag&unix.O_NOFOLLOW == 0 {
			if err == nil && flag&oPath != 0 { // which opens links too
				err = refuseLink(fd)
			}
			if err != nil {
				return linkTarget(dir, base, err)
			}
		}
		if err == nil {
			f = os.NewFile(uintptr(fd), name)
		}
		return "", err
	})
	return f, err
}

// refuseLink closes fd and returns ELOOP if it is a symlink.
func refuseLink(fd int) error {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = unix.ELOOP
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written
	}
	return err
}

// Lstat describes name, or the link itself where name is one.
func (r *Root) Lstat(name string) (st unix.Stat_t, err error) {
	_, err = r.resolve("lstat", name, func(dir int, base string) (string, error) {
		return "", fstatat(dir, base, &st)
	})
	return st, err
}

// Stat describes what name leads to.
func (r *Root) Stat(name string) (st unix.Stat_t, err error) {
	_, err = r.resolve("stat", name, statFollow(&st))
	return st, err
}

func statFollow(st *unix.Stat_t) action {
	return func(dir int, base string) (string, error) {
		if err := fstatat(dir, base, st); err != nil {
			return "", err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return "", nil
		}
		return readlinkat(dir, base)
	}
}

// Readlink returns the target of the symlink name, as it is written there.
func (r *Root) Readlink(name string) (target string, err error) {
	_, err = r.resolve("readlink", name, func(dir int, base string) (string, error) {
		target, err = readlinkat(dir, base)
		return "", err
	})
	return target, err
}

// Look returns the canonical path of what name leads to, which must exist. With a
// running attacker it is true of one moment only: act on descriptors instead.
func (r *Root) Look(name string) (path string, err error) {
	var st unix.Stat_t
	return r.walkTo("look", name, statFollow(&st))
}

// MkdirAll makes the directory name and all above it that are missing, with perm
// (permission bits, less the umask). Links on the way are followed, so a dangling
// one gets its target made. A directory that exists is left as it is.
func (r *Root) MkdirAll(name string, perm fs.FileMode) error {
	dir, _, err := r.OpenDir(name, func(parent int, base, _ string) (string, error) {
		err := unix.Mkdirat(parent, base, uint32(perm.Perm()))
		if err == unix.EEXIST { // somebody was faster
			err = nil
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return dir.Close()
}

// Touch makes the file name, with perm (less the umask), unless there is one, and the directories above it that are missing, with 0755. Links are
// followed, and where one leads to nothing, the file is made there.
func (r *Root) Touch(name string, perm fs.FileMode) error {
	for range MaxLinks {
		if err := r.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := r.OpenFile(name, unix.O_RDONLY|unix.O_CREAT|unix.O_NONBLOCK|unix.O_NOCTTY, perm)
		if err == nil {
			return f.Close()
		}
		link, lerr := r.Readlink(name)
		if !errors.Is(err, unix.ENOENT) || lerr != nil {
			return err
		}
		if !path.IsAbs(link) {
			dir, err := r.Look(path.Dir(name))
			if err != nil {
				return err
			}
			link = path.Join(dir, link)
		}
		name = link
	}
	return &fs.PathError{Op: "touch", Path: name, Err: unix.ELOOP}
}

// Remove removes the file, link (not what it leads to) or empty directory name.
func (r *Root) Remove(name string) error {
	_, err := r.resolve("remove", trimSlashes(name), func(dir int, base string) (string, error) {
		err := unix.Unlinkat(dir, base, 0)
		// Linux says EISDIR for a directory; FreeBSD and POSIX say EPERM, as they
		// do for an immutable file, whose own error is then the one to tell.
		if err != unix.EISDIR && err != unix.EPERM {
			return "", err
		}
		if derr := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); derr != unix.ENOTDIR {
			return "", derr
		}
		return "", err
	})
	return err
}

// ReadFile reads the regular file name. What is not a regular file, or has more
// than limit bytes, is an error (EINVAL, EFBIG), and a FIFO does not block: the
// file is of a stranger's making.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	st, err := r.Stat(name) // so that no device is opened
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, notRegular(name)
	}
	f, err := r.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d bytes: %w", limit, unix.EFBIG)}
	}
	return data, nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("not a regular file: %w", unix.EINVAL)}
}

func fstatat(dir int, base string, st *unix.Stat_t) error {
	return unix.Fstatat(dir, base, st, unix.AT_SYMLINK_NOFOLLOW)
}

func trimSlashes(name string) string {
	if t := strings.TrimRight(name, "/"); t != "" {
		return t
	}
	return name
}
