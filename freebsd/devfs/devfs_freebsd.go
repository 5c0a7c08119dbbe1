package devfs

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls on the root of a devfs: sys/fs/devfs/devfs.h.
const (
	rAdd     = 0xc0ec4400 // DEVFSIO_RADD
	rDelete  = 0x80044401 // DEVFSIO_RDEL
	rGetNext = 0xc0ec4404 // DEVFSIO_RGETNEXT
	sGetNext = 0xc002440c // DEVFSIO_SGETNEXT
)

// root is any devfs: rulesets belong to the host. It is a directory, open for
// the length of a call, which jail_attach(2) in another thread would not like.
const root = "/dev"

// with opens root for f and puts what failed into an Error.
func with(op string, set uint16, f func(call func(req uintptr, arg unsafe.Pointer) error) error) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err == nil {
		defer unix.Close(fd)
		err = f(func(req uintptr, arg unsafe.Pointer) error {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg)); errno != 0 {
				return errno
			}
			return nil
		})
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e := &Error{Op: op, Set: int(set), Errno: errno}
		if errno == unix.ESRCH {
			e.Errno, e.Msg = unix.ENOENT, "an included ruleset does not exist"
		}
		return e
	}
	return err
}

func add(set uint16, rules []Rule) error {
	return with("set", set, func(call func(uintptr, unsafe.Pointer) error) error {
		for _, r := range rules {
			b, err := r.encode(set, 0)
			if err != nil {
				return err
			}
			if err := call(rAdd, unsafe.Pointer(&b[0])); err != nil {
				return err
			}
		}
		return nil
	})
}

func remove(set uint16) error {
	return with("delete", set, func(call func(uintptr, unsafe.Pointer) error) error {
		_, numbers, err := walk(set, call)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, n := range numbers {
			id := uint32(set)<<16 | uint32(n)
			if err := call(rDelete, unsafe.Pointer(&id)); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	})
}

func rules(set uint16) (rs []Rule, err error) {
	err = with("rules", set, func(call func(uintptr, unsafe.Pointer) error) error {
		var err error
		rs, _, err = walk(set, call)
		return err
	})
	return rs, err
}

// walk returns the rules of a set and their numbers. The kernel says ENOENT at
// the end, and also if there is no such set: one without rules counts as none.
func walk(set uint16, call func(uintptr, unsafe.Pointer) error) (rs []Rule, numbers []uint16, err error) {
	for n := uint16(0); ; {
		b, err := Rule{}.encode(set, n)
		if err != nil {
			return nil, nil, err
		}
		if err := call(rGetNext, unsafe.Pointer(&b[0])); err != nil {
			if errors.Is(err, unix.ENOENT) && len(rs) > 0 {
				return rs, numbers, nil
			}
			return nil, nil, err
		}
		var r Rule
		r, n = decode(b)
		rs, numbers = append(rs, r), append(numbers, n)
	}
}

func list() (sets []uint16, err error) {
	err = with("list", 0, func(call func(uintptr, unsafe.Pointer) error) error {
		for n := uint16(0); ; {
			if err := call(sGetNext, unsafe.Pointer(&n)); err != nil {
				if errors.Is(err, unix.ENOENT) {
					return nil
				}
				return err
			}
			sets = append(sets, n)
		}
	})
	return sets, err
}
