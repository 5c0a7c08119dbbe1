package dirstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeOverlay: unionfs(4) has no whiteout form that images use and is not
// stable enough to build on (its manual page, BUGS).
func probeOverlay(string) error { return errors.ErrUnsupported }

// reflink: UFS cannot share blocks. ZFS does so by itself when
// copy_file_range(2) is used (vfs.zfs.bclone_enabled), which a copy does.
func reflink(*os.File, *os.File) error { return errors.ErrUnsupported }

// openDir opens a directory in a directory. A mount point is EXDEV: also
// nullfs(5) has a file system id of its own.
func openDir(dir *os.File, name string) (*os.File, error) {
	d, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	var above, st unix.Stat_t
	err = unix.Fstat(int(dir.Fd()), &above)
	if err == nil {
		err = unix.Fstat(int(d.Fd()), &st)
	}
	if err == nil && st.Dev != above.Dev {
		err = unix.EXDEV
	}
	if err != nil {
		d.Close()
		return nil, &fs.PathError{Op: "open directory", Path: name, Err: err}
	}
	return d, nil
}

// sfSnapshot marks a snapshot of UFS; only the kernel sets it (sys/stat.h).
const sfSnapshot = 0x00200000

// getFlags returns the flags of a file or directory (chflags(2)).
func getFlags(_ *os.File, st *unix.Stat_t) (uint32, error) { return st.Flags &^ sfSnapshot, nil }

func setFlags(dir *os.File, name string, flags uint32) error {
	return chflagsat(dir, name, flags)
}

// clearFlags takes away what keeps a file from being removed.
func clearFlags(dir *os.File, name string) error { return chflagsat(dir, name, 0) }

func chflagsat(dir *os.File, name string, flags uint32) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_CHFLAGSAT, dir.Fd(), uintptr(unsafe.Pointer(p)), uintptr(flags), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("chflagsat", errno)
	}
	return nil
}

// chmodNode sets the mode of what cannot be opened. Links have one as well, which is
// made by the umask of who makes them (symlink(7)).
func chmodNode(dir int, name string, mode uint32) error {
	return unix.Fchmodat(dir, name, mode&0o7777, unix.AT_SYMLINK_NOFOLLOW)
}

func mknod(dir *os.File, name string, st *unix.Stat_t) error {
	dev := st.Rdev
	if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		dev = 0 // anything else is for root only (kern_mknodat, sys/kern/vfs_syscalls.c)
	}
	return unix.Mknodat(int(dir.Fd()), name, uint32(st.Mode)&(unix.S_IFMT|0o7777), dev)
}

func times(st *unix.Stat_t) []unix.Timespec { return []unix.Timespec{st.Atim, st.Mtim} }

func futimens(f *os.File, st *unix.Stat_t) error {
	ts := times(st)
	_, _, errno := unix.Syscall(unix.SYS_FUTIMENS, f.Fd(), uintptr(unsafe.Pointer(&ts[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// namespaces of extended attributes (extattr(9)). POSIX.1e and NFSv4 access
// control lists of UFS are attributes of the system's.
var namespaces = [...]int{unix.EXTATTR_NAMESPACE_USER, unix.EXTATTR_NAMESPACE_SYSTEM}

// xattrs are the three system calls, for a descriptor or for a name. The
// buffer may be nil to ask for the size.
type xattrs struct {
	list func(ns int, data uintptr, n int) (int, error)
	get  func(ns int, name string, data uintptr, n int) (int, error)
	set  func(ns int, name string, data uintptr, n int) (int, error)
}

func copyXattrs(dst, src *os.File) error {
	from, to := int(src.Fd()), int(dst.Fd())
	return xattrs{
		list: func(ns int, data uintptr, n int) (int, error) { return unix.ExtattrListFd(from, ns, data, n) },
		get: func(ns int, name string, data uintptr, n int) (int, error) {
			return unix.ExtattrGetFd(from, ns, name, data, n)
		},
		set: func(ns int, name string, data uintptr, n int) (int, error) {
			return unix.ExtattrSetFd(to, ns, name, data, n)
		},
	}.copy()
}

// copyNodeXattrs copies those of what cannot be opened, by its name.
func copyNodeXattrs(dst, src string) error {
	return xattrs{
		list: func(ns int, data uintptr, n int) (int, error) { return unix.ExtattrListLink(src, ns, data, n) },
		get: func(ns int, name string, data uintptr, n int) (int, error) {
			return unix.ExtattrGetLink(src, ns, name, data, n)
		},
		set: func(ns int, name string, data uintptr, n int) (int, error) {
			return unix.ExtattrSetLink(dst, ns, name, data, n)
		},
	}.copy()
}

func (x xattrs) copy() error {
	for _, ns := range namespaces {
		names, err := sized(func(p uintptr, n int) (int, error) { return x.list(ns, p, n) })
		if errors.Is(err, unix.EOPNOTSUPP) || ns == unix.EXTATTR_NAMESPACE_SYSTEM && errors.Is(err, unix.EPERM) {
			continue // the file system has none; the system's are root's
		}
		if err != nil {
			return os.NewSyscallError("extattr_list", err)
		}
		for len(names) > 0 { // each with its length before it (extattr(2))
			n := int(names[0])
			if n >= len(names) {
				return os.NewSyscallError("extattr_list", unix.EINVAL)
			}
			if err := x.one(ns, string(names[1:1+n])); err != nil {
				return err
			}
			names = names[1+n:]
		}
	}
	return nil
}

func (x xattrs) one(ns int, name string) error {
	value, err := sized(func(p uintptr, n int) (int, error) { return x.get(ns, name, p, n) })
	if err != nil {
		return os.NewSyscallError("extattr_get "+name, err)
	}
	_, err = x.set(ns, name, address(value), len(value))
	runtime.KeepAlive(value)
	return os.NewSyscallError("extattr_set "+name, err)
}

// sized asks f for the size, then for the data.
func sized(f func(data uintptr, n int) (int, error)) ([]byte, error) {
	n, err := f(0, 0)
	if err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	n, err = f(address(b), len(b))
	runtime.KeepAlive(b)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

func address(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

// syncTree makes a tree durable. There is no syncfs(2), and sync(2) does not
// wait (sys_sync, sys/kern/vfs_syscalls.c: MNT_NOWAIT): it starts the writing in
// bulk, then each file and directory is waited for.
func syncTree(dir string) error {
	if err := unix.Sync(); err != nil {
		return os.NewSyscallError("sync", err)
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// isOpaque: there are no layers of overlayfs here.
func isOpaque(string) (bool, error) { return false, nil }

// mountPoints lists those that this process sees (getfsstat(2)).
func mountPoints() (list []string, err error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil, os.NewSyscallError("getfsstat", err)
	}
	all := make([]unix.Statfs_t, n+16) // some may come meanwhile
	if n, err = unix.Getfsstat(all, unix.MNT_NOWAIT); err != nil {
		return nil, os.NewSyscallError("getfsstat", err)
	}
	for i := range all[:n] {
		list = append(list, unix.ByteSliceToString(all[i].Mntonname[:]))
	}
	return list, nil
}
