package ocitar

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	oPath       = unix.O_PATH
	atEmptyPath = unix.AT_EMPTY_PATH
)

func mknodat(fd int, base string, mode, major, minor uint32) error {
	return unix.Mknodat(fd, base, mode, int(unix.Mkdev(major, minor)))
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
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	if opath { // Linux 5.8: utimensat(2) takes AT_EMPTY_PATH
		return unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH)
	}
	// A null path means the file fd itself: futimens(3).
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func setMode(fd int, opath bool, mode uint32) error {
	if !opath {
		return unix.Fchmod(fd, mode)
	}
	err := fchmodat2(fd, mode)
	if err == unix.ENOSYS { // before Linux 6.6
		return viaProc(unix.Chmod(procFd(fd), mode))
	}
	return err
}

// fchmodat2 is the system call of that name on the file fd itself.
func fchmodat2(fd int, mode uint32) error {
	empty, err := unix.BytePtrFromString("")
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_FCHMODAT2, uintptr(fd), uintptr(unsafe.Pointer(empty)), uintptr(mode), unix.AT_EMPTY_PATH, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// procFd names the file that fd, opened with O_PATH, is: for old kernels, where /proc is.
func procFd(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// setXattr goes through /proc for what was opened with O_PATH: fsetxattr(2) refuses
// such descriptors, and so does setxattrat(2) with AT_EMPTY_PATH (fs/xattr.c, 6.13).
func setXattr(fd int, opath bool, name, value string) error {
	if !opath {
		return unix.Fsetxattr(fd, name, []byte(value), 0)
	}
	return viaProc(unix.Setxattr(procFd(fd), name, []byte(value), 0))
}

// viaProc says so when it is /proc that is missing, not the file.
func viaProc(err error) error {
	if err != unix.ENOENT {
		return err
	}
	if _, serr := os.Stat("/proc/self/fd"); serr == nil {
		return err
	}
	return fmt.Errorf("/proc is not mounted: %w", errors.ErrUnsupported)
}

// errCapMode is what capability mode answers; here there is none.
const errCapMode = unix.EPERM

// linkModes says that symlinks have modes.
const linkModes = false

// File flags: Linux has others, of its file systems, by another call.
const haveFlags = false

func setFlags(int, uint32) error           { return errors.ErrUnsupported }
func getFlags(int) (uint32, error)         { return 0, errors.ErrUnsupported }
func statFlags(*unix.Stat_t) (bits uint32) { return 0 }
func clearFlags(int, string) bool          { return false }
