package rctl

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	roomMin = 4 << 10  // bytes for an answer to begin with
	roomMax = 16 << 10 // kern.racct.rctl.maxbufsize
)

func enabled() bool {
	on, err := unix.SysctlRaw("kern.racct.enable")
	return err == nil && len(on) > 0 && on[0] != 0
}

// call does one of the five system calls: text in, text out.
func call(op, in string) (string, error) {
	trap := map[string]uintptr{
		"add":    unix.SYS_RCTL_ADD_RULE,
		"remove": unix.SYS_RCTL_REMOVE_RULE,
		"rules":  unix.SYS_RCTL_GET_RULES,
		"usage":  unix.SYS_RCTL_GET_RACCT,
	}[op]
	b, err := unix.ByteSliceFromString(in)
	if err != nil {
		return "", &Error{Op: op, What: in, Errno: unix.EINVAL}
	}
	for room := roomMin; ; room *= 2 {
		out := make([]byte, room)
		size := len(out)
		if op == "add" || op == "remove" {
			size = 0 // they give no answer
		}
		_, _, errno := unix.Syscall6(trap, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&out[0])), uintptr(size), 0, 0)
		switch {
		case errno == 0:
			return unix.ByteSliceToString(out), nil
		case errno == unix.ERANGE && room < roomMax:
		default:
			return "", &Error{Op: op, What: in, Errno: errno}
		}
	}
}
