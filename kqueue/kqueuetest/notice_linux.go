package kqueuetest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// waiter waits for a process as barely as can be.
type waiter struct{ epoll, pidfd int }

func newWaiter(b testing.TB) *waiter {
	b.Helper()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	return &waiter{epoll: fd}
}

func (w *waiter) arm(b testing.TB, pid int) {
	b.Helper()
	var err error
	if w.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		b.Fatal(err)
	}
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, w.pidfd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		b.Fatal(err)
	}
}

func (w *waiter) wait(b testing.TB, pid int) {
	b.Helper()
	var got [1]unix.EpollEvent
	for n, err := 0, error(nil); n == 0; {
		if n, err = unix.EpollWait(w.epoll, got[:], -1); err != nil && err != unix.EINTR {
			b.Fatal(err)
		}
	}
	unix.Close(w.pidfd)
	var err error = unix.EINTR
	for err == unix.EINTR {
		_, err = unix.Wait4(pid, nil, 0, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
}
