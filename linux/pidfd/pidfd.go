// Package pidfd refers to processes by descriptor, so that a signal can never
// hit a stranger that was given the same pid.
//
// A [Handle] names one process for as long as it is open, also after the
// process has ended:
//
//	h, err := pidfd.Open(pid)
//	if err != nil {
//		return err // errors.Is(err, fs.ErrNotExist): no such process
//	}
//	defer h.Close()
//	err = h.Signal(syscall.SIGTERM) // os.ErrProcessDone once it has ended
//	err = h.Wait(ctx)               // any process; no SIGCHLD, no polling
//	status, err := h.Reap()         // a child of the caller only
//
// See pidfd_open(2), pidfd_send_signal(2) and waitid(2). On other kernels than
// Linux (5.3, waiting by descriptor 5.4) every function returns
// errors.ErrUnsupported.
package pidfd

import (
	"context"
	"os"
	"syscall"
)

// Handle is an open process descriptor. Its methods may be used by several
// goroutines at once.
type Handle struct {
	file *os.File
	open context.Context // done when Close was called
	shut context.CancelFunc
}

// Info tells about the process behind a [Handle].
type Info struct {
	PID    int // in the pid namespace of the caller; 0 when not visible there
	Parent int // likewise; 0 when the kernel does not say (before Linux 6.13)
}

// Open refers to the process with this pid. The error matches fs.ErrNotExist
// when there is none.
func Open(pid int) (*Handle, error) { return open(pid) }

// New takes over a descriptor that a clone(2) or a message brought.
func New(fd int) (*Handle, error) { return newHandle(fd) }

// Signal sends sig. The error is os.ErrProcessDone when the process has ended
// and was waited for.
func (h *Handle) Signal(sig syscall.Signal) error { return h.signal(sig) }

// Reap waits for a child of the caller that has ended and returns its status.
// It does not block: the error is EAGAIN while the child runs, and ECHILD when
// the process is no child of the caller or was reaped before.
func (h *Handle) Reap() (syscall.WaitStatus, error) { return h.reap() }

// Info looks the process up. The error is os.ErrProcessDone when it has ended
// and was waited for.
func (h *Handle) Info() (Info, error) { return h.info() }

// Close closes the descriptor; it does nothing to the process. Waiters return
// os.ErrClosed.
func (h *Handle) Close() error {
	if h.open.Err() != nil {
		return os.ErrClosed
	}
	h.shut()
	return h.file.Close()
}
