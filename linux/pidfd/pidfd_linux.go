package pidfd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func open(pid int) (*Handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("pidfd_open %d: %w (%w)", pid, fs.ErrNotExist, err)
	case errors.Is(err, unix.ENOSYS):
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, errors.ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return newHandle(fd)
}

// newHandle makes the descriptor non-blocking, so that the runtime's poller
// takes it: a process descriptor is readable once the process has ended.
func newHandle(fd int) (*Handle, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("pidfd %d: %w", fd, err)
	}
	h := &Handle{file: os.NewFile(uintptr(fd), "pidfd")}
	h.open, h.shut = context.WithCancel(context.Background())
	return h, nil
}

// with calls f with the descriptor, which stays open during the call.
func (h *Handle) with(f func(fd int) error) error {
	rc, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return os.ErrClosed
	}
	return inner
}

func (h *Handle) signal(sig syscall.Signal) error {
	err := h.with(func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	switch {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case err != nil:
		return fmt.Errorf("pidfd_send_signal %v: %w", sig, err)
	}
	return nil
}

func (h *Handle) reap() (syscall.WaitStatus, error) {
	// The leading part of siginfo_t as waitid(2) fills it; the kernel copies 128 bytes.
	var si struct {
		signo, errno, code, _ int32
		pid                   int32
		uid                   uint32
		status                int32
		_                     [100]byte
	}
	err := h.with(func(fd int) error {
		return retry(func() error {
			return unix.Waitid(unix.P_PIDFD, fd, (*unix.Siginfo)(unsafe.Pointer(&si)), unix.WEXITED|unix.WNOHANG, nil)
		})
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("waitid: %w", err)
	case si.pid == 0:
		return 0, fmt.Errorf("waitid: %w", unix.EAGAIN)
	}
	return status(si.code, si.status), nil
}

// status puts what waitid(2) says apart into the form of wait(2).
func status(code, value int32) syscall.WaitStatus {
	const cldExited, cldDumped = 1, 3 // CLD_EXITED, CLD_DUMPED; sigaction(2)
	switch code {
	case cldExited:
		return syscall.WaitStatus(value << 8)
	case cldDumped:
		return syscall.WaitStatus(value | 0x80)
	default:
		return syscall.WaitStatus(value)
	}
}

// Wait returns when the process, which need not be a child, has ended, or with
// the error of ctx. It reaps nothing.
func (h *Handle) Wait(ctx context.Context) error {
	// A descriptor of its own: the runtime lets one goroutine wait for one, and
	// a deadline is how it stops waiting.
	f, err := h.dup()
	if err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	defer f.Close()
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	wake := func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, wake)()
	defer context.AfterFunc(h.open, wake)()
	var ended bool
	var inner error
	err = rc.Read(func(fd uintptr) bool {
		ended, inner = readable(int(fd))
		return ended || inner != nil
	})
	switch {
	case ended:
		return nil
	case inner != nil:
		return fmt.Errorf("wait for process: %w", inner)
	case h.open.Err() != nil:
		return fmt.Errorf("wait for process: %w", os.ErrClosed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("wait for process: %w", err)
}

func (h *Handle) dup() (*os.File, error) {
	var f *os.File
	err := h.with(func(fd int) error {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			f = os.NewFile(uintptr(n), "pidfd")
		}
		return err
	})
	return f, err
}

func readable(fd int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	var n int
	err := retry(func() (err error) { n, err = unix.Poll(p, 0); return err })
	return n > 0, err
}

func (h *Handle) info() (Info, error) {
	var in Info
	err := h.with(func(fd int) (err error) {
		in, err = ioctlInfo(fd)
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			in, err = fdinfo(fd)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.ESRCH):
		return Info{}, os.ErrProcessDone
	case err != nil:
		return Info{}, fmt.Errorf("pidfd info: %w", err)
	}
	return in, nil
}

// ioctlInfo asks by PIDFD_GET_INFO (Linux 6.13).
func ioctlInfo(fd int) (Info, error) {
	// struct pidfd_info, include/uapi/linux/pidfd.h, in its first version.
	var pi struct {
		mask, cgroup    uint64
		pid, tgid, ppid uint32
		_               [36]byte
	}
	const getInfo = 3<<30 | 64<<16 | 0xff<<8 | 11 // _IOWR(0xFF, 11, 64 bytes)
	pi.mask = unix.PIDFD_INFO_PID
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getInfo, uintptr(unsafe.Pointer(&pi))); e != 0 {
		return Info{}, e
	}
	if pi.mask&unix.PIDFD_INFO_PID == 0 { // since Linux 6.15: ended, nothing to say
		return Info{}, unix.ESRCH
	}
	return Info{PID: int(pi.tgid), Parent: int(pi.ppid)}, nil
}

// fdinfo reads /proc/self/fdinfo/FD; its Pid is -1 for a reaped process.
func fdinfo(fd int) (Info, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return Info{}, err
	}
	return parseFdinfo(string(b))
}

func parseFdinfo(s string) (Info, error) {
	for line := range strings.Lines(s) {
		v, ok := strings.CutPrefix(line, "Pid:")
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(v))
		switch {
		case err != nil:
			return Info{}, err
		case pid < 0:
			return Info{}, unix.ESRCH
		}
		return Info{PID: pid}, nil
	}
	return Info{}, unix.EBADF
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
