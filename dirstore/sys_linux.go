package dirstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// reflink makes dst share the blocks of src (ioctl_ficlone(2)).
func reflink(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// openDir opens a directory in a directory. A mount point is EXDEV, also one
// of the same file system (openat2(2); Linux 5.6).
func openDir(dir *os.File, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
		if err == unix.EINTR || err == unix.EAGAIN { // EAGAIN: a rename elsewhere
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open directory", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// flagMask are the flags that people set; the others tell how the file system
// stores a file (ioctl_iflags(2)).
const flagMask = fsImmutable | fsAppend | fsNoDump | fsNoAtime | fsSync | fsDirSync

// From include/uapi/linux/fs.h; x/sys/unix does not have them.
const (
	fsSync      = 0x00000008
	fsImmutable = 0x00000010
	fsAppend    = 0x00000020
	fsNoDump    = 0x00000040
	fsNoAtime   = 0x00000080
	fsDirSync   = 0x00010000
)

// getFlags returns the flags of an open file or directory.
func getFlags(f *os.File, _ *unix.Stat_t) (uint32, error) {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return 0, nil // the file system has none
	}
	return flags & flagMask, err
}

// setFlags adds flags to a file or directory.
func setFlags(dir *os.File, name string, flags uint32) error {
	return changeFlags(dir, name, func(old uint32) uint32 { return old | flags })
}

// clearFlags takes away what keeps a file or directory from being removed.
// Links, fifos and devices have no flags.
func clearFlags(dir *os.File, name string) error {
	err := changeFlags(dir, name, func(old uint32) uint32 { return old &^ flagMask })
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func changeFlags(dir *os.File, name string, change func(uint32) uint32) error {
	f, err := openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if next := change(old); next != old {
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(next))
	}
	return nil
}

func mknod(dir *os.File, name string, st *unix.Stat_t) error {
	return unix.Mknodat(int(dir.Fd()), name, st.Mode&(unix.S_IFMT|0o7777), int(st.Rdev))
}

func times(st *unix.Stat_t) []unix.Timespec { return []unix.Timespec{st.Atim, st.Mtim} }

// futimens sets the times of an open file: utimensat(2) without a name.
func futimens(f *os.File, st *unix.Stat_t) error {
	return unix.UtimesNanoAt(int(f.Fd()), "", times(st), unix.AT_EMPTY_PATH)
}

// xattrs are the four system calls, for a descriptor or for a name.
type xattrs struct {
	list func([]byte) (int, error)
	get  func(string, []byte) (int, error)
	set  func(string, []byte) error
}

func copyXattrs(dst, src *os.File) error {
	from, to := int(src.Fd()), int(dst.Fd())
	return xattrs{
		list: func(b []byte) (int, error) { return unix.Flistxattr(from, b) },
		get:  func(name string, b []byte) (int, error) { return unix.Fgetxattr(from, name, b) },
		set:  func(name string, b []byte) error { return unix.Fsetxattr(to, name, b, 0) },
	}.copy()
}

// copyNodeXattrs copies those of what cannot be opened, by its name.
func copyNodeXattrs(dst, src string) error {
	return xattrs{
		list: func(b []byte) (int, error) { return unix.Llistxattr(src, b) },
		get:  func(name string, b []byte) (int, error) { return unix.Lgetxattr(src, name, b) },
		set:  func(name string, b []byte) error { return unix.Lsetxattr(dst, name, b, 0) },
	}.copy()
}

func (x xattrs) copy() error {
	names, err := grow(x.list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("listxattr", err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		// Labels are given by the policy to what is made here.
		if name == "" || name == "security.selinux" {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return x.get(name, b) })
		if err != nil {
			return os.NewSyscallError("getxattr "+name, err)
		}
		if err := x.set(name, value); err != nil {
			return os.NewSyscallError("setxattr "+name, err)
		}
	}
	return nil
}

// grow calls f with a buffer that is large enough.
func grow(f func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 256)
	for {
		n, err := f(b)
		switch {
		case err == unix.ERANGE:
			if len(b) >= 1<<20 { // both are at most 64 KiB (xattr(7))
				return nil, err
			}
			b = make([]byte, 4*len(b))
		case err != nil:
			return nil, err
		default:
			return b[:n], nil
		}
	}
}

// syncTree makes a tree durable: syncfs(2) writes the file system it is on,
// which for many files is quicker than fsync(2) of each.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// chmodNode sets the mode of what cannot be opened. Links have none to set.
func chmodNode(dir int, name string, mode uint32) error {
	if mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	return unix.Fchmodat(dir, name, mode&0o7777, 0)
}

// isOpaque tells whether a directory of a layer hides those below it.
func isOpaque(dir string) (bool, error) {
	buf := make([]byte, 2)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", buf)
	switch {
	case err == nil:
		return n == 1 && buf[0] == 'y', nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	}
	return false, &fs.PathError{Op: "getxattr", Path: dir, Err: err}
}

// mountPoints lists those of this thread's mount namespace (proc_pid_mountinfo(5)). The
// process's is its first thread's, and that one may have left for another.
func mountPoints() (list []string, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20) // options of overlayfs are long
	for in.Scan() {
		fields := strings.SplitN(in.Text(), " ", 6) // id parent device root point …
		if len(fields) < 6 {
			return nil, fmt.Errorf("line %q of %s: %w", in.Text(), f.Name(), fs.ErrInvalid)
		}
		list = append(list, unescape.Replace(fields[4]))
	}
	return list, in.Err()
}
