package jail

import (
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Flags of jail_get(2), and the filter of kevent(2).
const (
	flagGetDesc = 0x40
	flagOwnDesc = 0x80

	filterJail = -14
)

// sysJailRemoveJD is jail_remove_jd(2). It is only called with a descriptor,
// which no kernel without that call has given.
const sysJailRemoveJD = 598

// open asks for a descriptor. It is made without close-on-exec: no process may
// be started before that is set.
func open(id ID, own bool) (*os.File, error) {
	flags := flagGetDesc
	if own {
		flags = flagOwnDesc
	}
	desc := Int("desc", -1)
	var v vector
	v.add("jid", Int("jid", int32(id)).value)
	v.add("desc", desc.value)
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if _, err := v.call("jail_get", unix.SYS_JAIL_GET, flags, id.String()); err != nil {
		return nil, unknownToKernel(err)
	}
	fd, err := Values{"desc": desc.value}.Int("desc")
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(int(fd))
	return os.NewFile(uintptr(fd), "jail "+id.String()), nil
}

func removeDescriptor(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) { _, _, errno = unix.Syscall(sysJailRemoveJD, fd, 0, 0) })
	runtime.KeepAlive(f)
	if err == nil && errno != 0 {
		err = &Error{Op: "jail_remove_jd", Jail: f.Name(), Errno: errno}
	}
	return err
}

// queue is a kqueue(2).
type queue struct{ kq int }

const identWake = 1 // of the EVFILT_USER event that wakes next

func watch(id ID) (*Watcher, error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	changes := []unix.Kevent_t{
		{Ident: identWake, Filter: unix.EVFILT_USER, Flags: unix.EV_ADD | unix.EV_CLEAR},
		{Ident: uint64(id), Filter: filterJail, Flags: unix.EV_ADD | unix.EV_CLEAR, Fflags: noteAttach | noteRemove},
	}
	if _, err := unix.Kevent(kq, changes, nil, nil); err != nil {
		return nil, errors.Join(unknownToKernel(os.NewSyscallError("kevent", err)), unix.Close(kq))
	}
	return &Watcher{queue{kq}}, nil
}

func (w queue) next(ctx context.Context) (Event, error) {
	stop := context.AfterFunc(ctx, func() {
		wake := []unix.Kevent_t{{Ident: identWake, Filter: unix.EVFILT_USER, Fflags: unix.NOTE_TRIGGER}}
		_, _ = unix.Kevent(w.kq, wake, nil, nil) // the queue is there: Close may not be called meanwhile
	})
	defer stop()
	var out [1]unix.Kevent_t
	for {
		n, err := unix.Kevent(w.kq, nil, out[:], nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Event{}, os.NewSyscallError("kevent", err)
		case ctx.Err() != nil:
			return Event{}, ctx.Err()
		case n == 1 && out[0].Filter == filterJail:
			return event(out[0].Fflags, out[0].Data), nil
		}
	}
}

func (w queue) close() error { return os.NewSyscallError("close", unix.Close(w.kq)) }

// unknownToKernel says that a kernel before 15 has refused.
func unknownToKernel(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return errors.Join(errors.ErrUnsupported, err)
	}
	return err
}
