package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ID is the number of a jail, its jid. 0 is the jail of the caller.
type ID int32

// Flags of jail_set(2) and jail_get(2): sys/sys/jail.h.
const (
	flagCreate = 1
	flagUpdate = 2
	flagDying  = 8
)

// maxName is MAXHOSTNAMELEN less the NUL: the longest name, parents included.
const maxName = 255

// Info is what one wants to know of a jail at a glance. [ID.Get] has the rest.
type Info struct {
	ID       ID
	Parent   ID     // 0: the jail of the caller
	Name     string // seen from the caller's jail
	Path     string
	Hostname string
	Addrs    []netip.Addr // of ip4.addr and ip6.addr, in that order
	VNET     bool         // has a network stack of its own
	Dying    bool         // removed, and still held by somebody
}

// infoParams are the parameters that Info is made of.
var infoParams = [...]string{"jid", "parent", "name", "path", "host.hostname", "ip4.addr", "ip6.addr", "vnet", "dying"}

// Error is a failed system call about a jail.
type Error struct {
	Op    string // "jail_set", "jail_get", "jail_attach", "jail_remove"
	Jail  string // the name or number, if one was given
	Errno syscall.Errno
	Msg   string // the kernel's sentence, if it gave one
}

func (e *Error) Error() string {
	s := e.Op
	if e.Jail != "" {
		s += " " + e.Jail
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	return s + ": " + e.Errno.Error()
}

// Unwrap returns the errno, by which errors.Is(err, fs.ErrNotExist) and the like
// hold.
func (e *Error) Unwrap() error { return e.Errno }

// Create makes a jail. It needs "persist" ([Flag]), without which only a jail
// that is attached to at once can be made. A name that is in use gives
// fs.ErrExist. A path that is missing, or the parent of a dotted name, gives
// fs.ErrNotExist.
func Create(params ...Param) (ID, error) { return set(flagCreate, params) }

// Update changes parameters of the jail. Some are fixed at creation: path, vnet,
// ip4 and ip6, osrelease, osreldate.
func (id ID) Update(params ...Param) error {
	_, err := set(flagUpdate, append([]Param{Int("jid", int32(id))}, params...))
	return err
}

// Lookup finds a living jail by its name, or by its number in digits.
// fs.ErrNotExist says that there is none.
func Lookup(name string) (Info, error) {
	key := String("name", name)
	if n, err := strconv.ParseInt(name, 10, 32); err == nil {
		key = Int("jid", int32(n))
	}
	v, err := get(0, key, infoParams[:])
	if err != nil {
		return Info{}, err
	}
	return v.info()
}

// Info describes the jail. One that is dying is found, too.
func (id ID) Info() (Info, error) {
	v, err := get(flagDying, Int("jid", int32(id)), infoParams[:])
	if err != nil {
		return Info{}, err
	}
	return v.info()
}

// Get reads parameters of a living jail. Ask for a flag or for its opposite: of
// both the kernel answers one.
func (id ID) Get(names ...string) (Values, error) {
	return get(0, Int("jid", int32(id)), names)
}

// All goes through the jails in the order of their numbers, those included that
// are dying.
func All() iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for last := ID(0); ; {
			v, err := get(flagDying, Int("lastjid", int32(last)), infoParams[:])
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			var info Info
			if err == nil {
				info, err = v.info()
			}
			if !yield(info, err) || err != nil {
				return
			}
			last = info.ID
		}
	}
}

// Attach puts the calling process into the jail: root and working directory
// become the jail's path, and there is no way back. It is for a process that is
// about to execute a program and has one purpose; in a living Go program start
// the child with syscall.SysProcAttr.Jail instead. A process that holds an open
// directory is refused with EPERM (sys/kern/kern_jail.c, do_jail_attach).
func (id ID) Attach() error { return attach(id) }

const (
	removeMin = time.Millisecond
	removeMax = 100 * time.Millisecond
)

// Remove kills all processes in the jail and its children, removes it, and waits
// until it is no longer dying: then its root can be unmounted. It returns
// fs.ErrNotExist for a jail that is not there.
//
// When ctx ends first the error says so, and that the jail is busy (EBUSY): the
// processes are dead all the same. What holds a dying jail is a process that
// nobody has waited for, or a socket made inside that is open outside; a forced
// unmount of its root succeeds even so.
func (id ID) Remove(ctx context.Context) error {
	if err := remove(id); err != nil {
		return err
	}
	return await(ctx, id, func() error {
		_, err := get(flagDying, Int("jid", int32(id)), []string{"dying"})
		return err
	})
}

// await asks until the answer is fs.ErrNotExist.
func await(ctx context.Context, id ID, ask func() error) error {
	for wait := removeMin; ; wait = min(wait*2, removeMax) {
		err := ask()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			busy := &Error{Op: "jail_remove", Jail: id.String(), Errno: syscall.EBUSY,
				Msg: "removed, but held by a process that nobody has waited for or a socket that is open outside"}
			return fmt.Errorf("%w: %w", busy, ctx.Err())
		}
	}
}

func (id ID) String() string { return strconv.Itoa(int(id)) }

// CheckName says whether a jail can have this name, which may be dotted. A name
// that is free in the kernel's rules can still be taken.
func CheckName(name string) error {
	fail := func(why string) error { return fmt.Errorf("jail name %q: %s: %w", name, why, syscall.EINVAL) }
	switch {
	case len(name) > maxName:
		return fail("longer than 255 bytes")
	case strings.ContainsRune(name, 0):
		return fail("has a NUL byte")
	}
	for part := range strings.SplitSeq(name, ".") {
		switch {
		case part == "":
			return fail("has an empty part")
		case strings.Trim(part, "0123456789") == "":
			return fail("has a part of digits alone, which means a number")
		}
	}
	return nil
}
