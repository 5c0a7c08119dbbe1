package jail

import (
	"context"
	"fmt"
	"os"
)

// What FreeBSD 15 added: descriptors of jails, and kevent(2) telling what
// happens to them. It is written from the sources (sys/kern/kern_jaildesc.c,
// commits 851dc7f859c2, 1bd74d201a53, 66d8ffe3046d) and has not run on a kernel
// of that release: nothing in this repository uses it. On 14 each answers
// [errors.ErrUnsupported], which the kernel says by EINVAL to a flag and to a
// filter: a system call number it does not have would be SIGSYS.

// Events of EVFILT_JAIL.
const (
	noteAttach = 0x20000000 // NOTE_JAIL_ATTACH: data is a pid, 0 for several
	noteRemove = 0x10000000 // NOTE_JAIL_REMOVE
)

// Descriptor is an open jail. It can be sent to another process. Unverified.
type Descriptor struct{ f *os.File }

// Open opens a jail. With own the jail is removed when the last copy of the
// descriptor is closed. Unverified.
func (id ID) Open(own bool) (*Descriptor, error) {
	f, err := open(id, own)
	if err != nil {
		return nil, fmt.Errorf("open jail %s: %w", id, err)
	}
	return &Descriptor{f}, nil
}

// File is the descriptor as a file, which stays d's to close.
func (d *Descriptor) File() *os.File { return d.f }

// Remove removes the jail, as [ID.Remove] does, without waiting. Unverified.
func (d *Descriptor) Remove() error { return removeDescriptor(d.f) }

// Close closes it.
func (d *Descriptor) Close() error { return d.f.Close() }

// Event is something that has happened to a jail.
type Event struct {
	Attached int  // pid of a process that has attached; -1 for several
	Removed  bool // jail_remove(2) was called: the jail may be dying for a while
}

// Watcher tells what happens to a jail. Unverified.
type Watcher struct{ queue }

// Watch begins to watch a jail.
func Watch(id ID) (*Watcher, error) {
	w, err := watch(id)
	if err != nil {
		return nil, fmt.Errorf("watch jail %s: %w", id, err)
	}
	return w, nil
}

// Next waits for the next event.
func (w *Watcher) Next(ctx context.Context) (Event, error) { return w.next(ctx) }

// Close ends it. No call of Next may be under way.
func (w *Watcher) Close() error { return w.close() }

// event reads what the kernel says of a jail.
func event(fflags uint32, data int64) Event {
	e := Event{Removed: fflags&noteRemove != 0}
	if fflags&noteAttach != 0 {
		e.Attached = int(data)
		if data == 0 || e.Removed { // data is of one of the two
			e.Attached = -1
		}
	}
	return e
}
