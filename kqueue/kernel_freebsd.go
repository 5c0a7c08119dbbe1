package kqueue

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of procctl(2): sys/sys/procctl.h.
const (
	procReapAcquire = 2
	procReapRelease = 3
	procReapStatus  = 4
	procReapGetPIDs = 5
	procReapKill    = 6

	reapKillSubtree = 2
)

// trackFlags leaves NOTE_FORK out: births come as notes of their own.
const trackFlags = unix.NOTE_TRACK | unix.NOTE_EXEC | unix.NOTE_EXIT

// reaperStatus is struct procctl_reaper_status.
type reaperStatus struct {
	flags, children, descendants uint32
	reaper, pid                  int32
	_                            [15]uint32
}

// reaperPIDs is struct procctl_reaper_pids.
type reaperPIDs struct {
	count uint32
	_     [15]uint32
	pids  *byte
}

// reaperKill is struct procctl_reaper_kill.
type reaperKill struct {
	sig     int32
	flags   uint32
	subtree int32
	killed  uint32
	fpid    int32
	_       [15]uint32
}

// queue is the kernel by way of kqueues and procctl(2).
type queue struct {
	lanes    [lanes]int // the kqueues
	acquired bool       // we became the reaper, and did not find ourselves to be it
	events   []unix.Kevent_t
	members  []byte
}

func newKernel() (kernel, error) {
	q := &queue{events: make([]unix.Kevent_t, batch/lanes)}
	for lane := range q.lanes {
		fd, err := unix.Kqueue()
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("kqueue", err), shut(q.lanes[:lane]))
		}
		q.lanes[lane] = fd
	}
	if err := q.setup(); err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

func (q *queue) setup() error {
	wake := unix.Kevent_t{Filter: unix.EVFILT_USER, Flags: unix.EV_ADD | unix.EV_CLEAR}
	if err := change(q.lanes[0], wake); err != nil {
		return os.NewSyscallError("kevent", err)
	}
	switch err := procctl(0, procReapAcquire, nil); err {
	case nil:
		q.acquired = true
	case unix.EBUSY: // the process is one already
	default:
		return os.NewSyscallError("procctl", err)
	}
	if err := q.watch(os.Getpid(), true); err != nil {
		return os.NewSyscallError("kevent", err)
	}
	return nil
}

func change(kq int, ev unix.Kevent_t) error {
	for {
		_, err := unix.Kevent(kq, []unix.Kevent_t{ev}, nil, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

func (q *queue) poll(notes []note, timeout time.Duration) (n int, drained bool, err error) {
	if err := q.sleep(timeout); err != nil {
		return 0, false, os.NewSyscallError("poll", err)
	}
	drained = true
	events := q.events[:min(len(q.events), len(notes)/lanes)] // alike for all: none falls behind
	for lane, kq := range q.lanes {
		k, err := unix.Kevent(kq, nil, events, &unix.Timespec{})
		if err != nil && err != unix.EINTR {
			return 0, false, os.NewSyscallError("kevent", err)
		}
		drained = drained && err == nil && k < len(events)
		for _, ev := range events[:max(k, 0)] {
			if ev.Filter == unix.EVFILT_PROC {
				notes[n] = note{lane: lane, pid: int(ev.Ident), flags: ev.Fflags, data: int64(ev.Data)}
				n++
			}
		}
	}
	return n, drained, nil
}

// sleep waits until there is something in a lane. It is poll(2) that watches
// the kqueues: another kqueue would be told of each note by a task that the
// process which forks has to wait for (kern_event.c, kqueue_schedtask and
// ast_kqueue).
func (q *queue) sleep(timeout time.Duration) error {
	var fds [lanes]unix.PollFd
	for lane, kq := range q.lanes {
		fds[lane] = unix.PollFd{Fd: int32(kq), Events: unix.POLLIN}
	}
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
	}
	if _, err := unix.Poll(fds[:], ms); err != unix.EINTR {
		return err
	}
	return nil
}

func (q *queue) wake() error {
	return change(q.lanes[0], unix.Kevent_t{Filter: unix.EVFILT_USER, Fflags: unix.NOTE_TRIGGER})
}

// watch asks all lanes. The process may end meanwhile: ESRCH of one lane does not
// hide what another failed for.
func (q *queue) watch(pid int, on bool) error {
	ev := unix.Kevent_t{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Fflags: trackFlags, Flags: unix.EV_ADD}
	if !on {
		ev.Flags = unix.EV_DELETE
	}
	var failed error
	for _, kq := range q.lanes {
		if err := change(kq, ev); err != nil && (failed == nil || failed == unix.ESRCH) {
			failed = err
		}
	}
	return failed
}

func (q *queue) census() ([]member, error) {
	ms, err := q.list(0)
	if err != nil {
		return nil, err
	}
	return descend(ms, q.list), nil
}

// list returns the descendants of the reaper pid; 0 is the calling process. The
// kernel fills what fits (kern_procctl.c, reap_getpids): a full buffer is too
// small.
func (q *queue) list(pid int) ([]member, error) {
	var st reaperStatus
	if err := procctl(pid, procReapStatus, unsafe.Pointer(&st)); err != nil {
		return nil, os.NewSyscallError("procctl", err)
	}
	if st.descendants == 0 {
		return nil, nil
	}
	for room := int(st.descendants) + 16; ; room *= 2 {
		if len(q.members) < room*memberSize {
			q.members = make([]byte, room*memberSize)
		}
		clear(q.members)
		var pin runtime.Pinner
		pin.Pin(&q.members[0])
		rp := reaperPIDs{count: uint32(len(q.members) / memberSize), pids: &q.members[0]}
		err := procctl(pid, procReapGetPIDs, unsafe.Pointer(&rp))
		pin.Unpin()
		if err != nil {
			return nil, os.NewSyscallError("procctl", err)
		}
		ms := decodeMembers(q.members)
		if len(ms) < int(rp.count) {
			return ms, nil
		}
	}
}

func (q *queue) wait(pid int, keep bool) (bool, error) {
	options := unix.WNOHANG
	if keep {
		options |= unix.WNOWAIT
	}
	for {
		got, err := unix.Wait4(pid, nil, options, nil)
		switch err {
		case nil:
			return got == pid, nil
		case unix.EINTR:
		case unix.ECHILD:
			return true, nil // somebody else has waited for it
		default:
			return false, os.NewSyscallError("wait4", err)
		}
	}
}

func (q *queue) kill(root int, sig syscall.Signal) error {
	rk := reaperKill{sig: int32(sig), flags: reapKillSubtree, subtree: int32(root)}
	return procctl(0, procReapKill, unsafe.Pointer(&rk))
}

func (q *queue) close() error {
	var errs []error
	if q.acquired {
		errs = append(errs, os.NewSyscallError("procctl", procctl(0, procReapRelease, nil)))
	}
	return errors.Join(append(errs, shut(q.lanes[:]))...)
}

func shut(kqs []int) error {
	var errs []error
	for _, kq := range kqs {
		errs = append(errs, os.NewSyscallError("close", unix.Close(kq)))
	}
	return errors.Join(errs...)
}

// procctl is procctl(2) for one process; 0 is the calling one.
func procctl(pid, com int, data unsafe.Pointer) error {
	const idtypePID = 0
	for {
		_, _, errno := unix.Syscall6(unix.SYS_PROCCTL, idtypePID, uintptr(pid), uintptr(com), uintptr(data), 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
