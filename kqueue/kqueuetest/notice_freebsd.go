package kqueuetest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// waiter waits for a process as barely as can be.
type waiter struct{ kq int }

func newWaiter(b testing.TB) *waiter {
	b.Helper()
	fd, err := unix.Kqueue()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	return &waiter{fd}
}

func (w *waiter) arm(b testing.TB, pid int) {
	b.Helper()
	ev := unix.Kevent_t{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD, Fflags: unix.NOTE_EXIT}
	if _, err := unix.Kevent(w.kq, []unix.Kevent_t{ev}, nil, nil); err != nil {
		b.Fatal(err)
	}
}

func (w *waiter) wait(b testing.TB, pid int) {
	b.Helper()
	var got [1]unix.Kevent_t
	for n, err := 0, error(nil); n == 0; {
		if n, err = unix.Kevent(w.kq, nil, got[:], nil); err != nil && err != unix.EINTR {
			b.Fatal(err)
		}
	}
	var err error = unix.EINTR
	for err == unix.EINTR {
		_, err = unix.Wait4(pid, nil, 0, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
}
