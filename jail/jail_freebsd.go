package jail

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errmsgLen is JAIL_ERRMSGLEN, sys/sys/jail.h.
const errmsgLen = 1024

// set is jail_set(2).
func set(flags int, params []Param) (ID, error) {
	if err := check("jail_set", params); err != nil {
		return 0, err
	}
	var v vector
	for _, p := range params {
		v.add(p.name, p.value)
	}
	id, err := v.call("jail_set", unix.SYS_JAIL_SET, flags, subject(params))
	return ID(id), err
}

// get is jail_get(2) for the jail that key says. The kernel is asked twice: for
// the sizes of the values, with empty buffers, and for the values. Should one
// grow in between, the answer is EINVAL without a sentence, and it is asked again.
//
// "jid" is answered by what the call returns: to ask for it would be to say which
// jail is meant.
func get(flags int, key Param, names []string) (Values, error) {
	params := []Param{key}
	for _, n := range names {
		params = append(params, Param{name: n})
	}
	if err := check("jail_get", params); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		values, err := getOnce(flags, key, names)
		var e *Error
		if err == nil || try == 3 || !errors.As(err, &e) || e.Errno != syscall.EINVAL || e.Msg != "" {
			return values, err
		}
	}
}

func getOnce(flags int, key Param, names []string) (Values, error) {
	values := make(Values, len(names))
	for pass := range 2 {
		var v vector
		v.add(key.name, key.value)
		at := map[string]int{key.name: 1, "jid": 1}
		for _, n := range names {
			if _, there := at[n]; !there {
				at[n] = len(v.iov) + 1
				v.add(n, values[n])
			}
		}
		id, err := v.call("jail_get", unix.SYS_JAIL_GET, flags, subject([]Param{key}))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			switch size := v.iov[at[n]].Len; {
			case n == "jid":
				values[n] = Int(n, int32(id)).value
			case n == key.name:
				values[n] = key.value
			case pass == 0:
				values[n] = make([]byte, size)
			default:
				values[n] = values[n][:min(int(size), len(values[n]))]
			}
		}
	}
	return values, nil
}

// vector is the list of names and values that the calls take.
type vector struct{ iov []unix.Iovec }

func (v *vector) add(name string, value []byte) {
	v.append(append([]byte(name), 0))
	v.append(value)
}

func (v *vector) append(b []byte) {
	var io unix.Iovec
	if len(b) > 0 {
		io.Base = &b[0]
	}
	io.SetLen(len(b))
	v.iov = append(v.iov, io)
}

func (v *vector) call(op string, trap uintptr, flags int, jail string) (int, error) {
	errmsg := make([]byte, errmsgLen)
	v.add("errmsg", errmsg)
	id, _, errno := unix.Syscall(trap, uintptr(unsafe.Pointer(&v.iov[0])), uintptr(len(v.iov)), uintptr(flags))
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, &Error{Op: op, Jail: jail, Errno: errno, Msg: unix.ByteSliceToString(errmsg)}
	}
	return int(id), nil
}

func attach(id ID) error {
	if _, _, errno := unix.Syscall(unix.SYS_JAIL_ATTACH, uintptr(id), 0, 0); errno != 0 {
		return &Error{Op: "jail_attach", Jail: id.String(), Errno: absent(errno)}
	}
	return nil
}

func remove(id ID) error {
	if _, _, errno := unix.Syscall(unix.SYS_JAIL_REMOVE, uintptr(id), 0, 0); errno != 0 {
		return &Error{Op: "jail_remove", Jail: id.String(), Errno: absent(errno)}
	}
	return nil
}

// absent makes ENOENT of EINVAL, which is what jail_attach(2) and jail_remove(2)
// have for a jail that does not exist, and for nothing else.
func absent(errno syscall.Errno) syscall.Errno {
	if errno == unix.EINVAL {
		return unix.ENOENT
	}
	return errno
}

// Supports reports whether the kernel knows a parameter: some come with a module
// or a newer release.
func Supports(param string) bool {
	_, err := kindOf(param)
	return err == nil
}
