package kqueuetest

import (
	"syscall"
	"unsafe"
)

// fork forks without exec. The child ends at once, or when a read of its standard
// input says end-of-file. It has one thread and a copy of a Go runtime that it
// must not enter: nothing but raw system calls.
//
//go:nosplit
//go:norace
func fork(hold bool) (pid int, errno syscall.Errno) {
	var b [1]byte
	r, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	if errno != 0 || r != 0 {
		return int(r), errno
	}
	for hold {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		hold = e == syscall.EINTR || e == 0 && n > 0
	}
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 3, 0, 0)
	}
}
