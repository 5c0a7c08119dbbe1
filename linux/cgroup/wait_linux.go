package cgroup

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// WaitEmpty returns once no process lives in the group and the groups below
// it, or with the error of ctx. The kernel tells of a change at once when the
// last one was more than 10 ms ago, and else when these have passed
// (cgroup_file_notify, kernel/cgroup/cgroup.c); who has news of an exit from
// elsewhere asks Populated.
func (g *Group) WaitEmpty(ctx context.Context) error {
	events, err := unix.Open(g.file("cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if gone(err) {
		return nil // removed: only empty groups can be
	}
	if err != nil {
		return fmt.Errorf("watch cgroup %s: %w", g.path, err)
	}
	defer unix.Close(events)
	// kernfs tells by POLLPRI, which the runtime's poller does not ask for; an
	// epoll descriptor in between does, and is itself readable.
	ep, err := watch(events)
	if err != nil {
		return fmt.Errorf("watch cgroup %s: %w", g.path, err)
	}
	defer ep.Close()
	stop := context.AfterFunc(ctx, func() { _ = ep.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	rc, err := ep.SyscallConn()
	if err != nil {
		return err
	}
	full := true // for all we know: Read does not look when ctx has ended already
	var inner error
	err = rc.Read(func(fd uintptr) bool {
		full, inner = check(int(fd), events)
		return !full || inner != nil
	})
	switch {
	case inner != nil:
		if gone(inner) {
			return nil
		}
		return fmt.Errorf("watch cgroup %s: %w", g.path, inner)
	case !full:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("watch cgroup %s: %w", g.path, err)
}

func watch(events int) (*os.File, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLPRI, Fd: int32(events)}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, events, &ev); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "epoll"), nil
}

// check takes the news off the epoll descriptor, so that the next change makes
// it readable again, and reads the file after that: no change falls between.
func check(ep, events int) (bool, error) {
	var ev [1]unix.EpollEvent
	if _, err := unix.EpollWait(ep, ev[:], 0); err != nil && err != unix.EINTR {
		return true, err
	}
	if _, err := unix.Seek(events, 0, 0); err != nil {
		return true, err
	}
	s, err := readAll(events)
	if err != nil {
		return true, err
	}
	return populated(s)
}
