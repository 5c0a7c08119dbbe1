package ocitar

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	oPath       = 0x00400000 // O_PATH, sys/fcntl.h (FreeBSD 13.1)
	atEmptyPath = 0x4000     // AT_EMPTY_PATH, sys/fcntl.h (FreeBSD 13.1)
	utimeOmit   = -2         // UTIME_OMIT, sys/stat.h
)

func mknodat(fd int, base string, mode, major, minor uint32) error {
	if mode&unix.S_IFMT == unix.S_IFIFO {
		return unix.Mknodat(fd, base, mode, 0)
	}
	return unix.Mknodat(fd, base, mode, unix.Mkdev(major, minor))
}

func devNumbers(st *unix.Stat_t) (major, minor uint32) {
	return unix.Major(st.Rdev), unix.Minor(st.Rdev)
}

func modTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()).UTC() }

// setTime sets the modification time, and leaves that of access.
func setTime(fd int, opath bool, t time.Time) error {
	mtime, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	ts := [2]unix.Timespec{{Nsec: utimeOmit}, mtime}
	if opath {
		return unix.UtimesNanoAt(fd, "", ts[:], atEmptyPath)
	}
	if _, _, errno := unix.Syscall(unix.SYS_FUTIMENS, uintptr(fd), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return errno
	}
	return nil
}

func setMode(fd int, opath bool, mode uint32) error {
	if opath {
		return unix.Fchmodat(fd, "", mode, atEmptyPath)
	}
	return unix.Fchmod(fd, mode)
}

// attrNamespace splits a name as libarchive writes it: user.NAME, system.NAME.
func attrNamespace(name string) (space int, bare string, err error) {
	prefix, bare, _ := strings.Cut(name, ".")
	switch {
	case prefix == "user" && bare != "":
		return unix.EXTATTR_NAMESPACE_USER, bare, nil
	// The system's own are set by other calls: access control lists, and file flags.
	case prefix == "system" && bare != "" && !strings.HasPrefix(bare, "posix1e.") && !strings.HasPrefix(bare, "nfs4."):
		return unix.EXTATTR_NAMESPACE_SYSTEM, bare, nil
	}
	return 0, "", fmt.Errorf("no such namespace: %w", errors.ErrUnsupported)
}

// setXattr works on descriptors opened with O_PATH too: extattr_set_fd(2) takes them
// (getvnode_path in sys/kern/vfs_extattr.c).
func setXattr(fd int, _ bool, name, value string) error {
	space, bare, err := attrNamespace(name)
	if err != nil {
		return err
	}
	v := append([]byte(value), 0) // a pointer even for an empty value
	var pin runtime.Pinner        // the wrapper takes it as an integer
	pin.Pin(&v[0])
	defer pin.Unpin()
	_, err = unix.ExtattrSetFd(fd, space, bare, uintptr(unsafe.Pointer(&v[0])), len(value))
	return err
}

// errCapMode is what a process in capability mode is told (ZFS looks attributes up by name).
const errCapMode = unix.ECAPMODE

// linkModes says that symlinks have modes.
const linkModes = true

const haveFlags = true

func setFlags(fd int, flags uint32) error { return chflagsat(fd, "", flags, atEmptyPath) }

func getFlags(fd int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Flags, err
}

func statFlags(st *unix.Stat_t) uint32 { return st.Flags }

// clearFlags takes away the file flags that forbid to change base, and says whether
// there were any.
func clearFlags(fd int, base string) bool {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Flags&lockFlags == 0 {
		return false
	}
	return chflagsat(fd, base, st.Flags&^lockFlags, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func chflagsat(fd int, base string, flags uint32, at int) error {
	p, err := unix.BytePtrFromString(base)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_CHFLAGSAT, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(flags), uintptr(at), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
