package kqueuetest

import (
	"syscall"
	"unsafe"
)

// fork forks without exec. The child ends at once with status 3; with lifeHold
// when a read of its standard input says end-of-file; with lifeOrphan once it has
// forked another, and with 4 when it could not. It has one thread and a copy of a
// Go runtime that it must not enter: nothing but raw system calls.
//
//go:nosplit
//go:norace
func fork(life int) (pid int, errno syscall.Errno) {
	var b [1]byte
	r, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	if errno != 0 || r != 0 {
		return int(r), errno
	}
	status := uintptr(3)
	for life == lifeHold {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		if e != syscall.EINTR && (e != 0 || n == 0) {
			break
		}
	}
	for life == lifeOrphan {
		_, _, e := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
		if e != 0 && e != syscall.EAGAIN {
			status = 4
		}
		if e != syscall.EAGAIN { // the table is full: somebody is about to wait for the dead
			break
		}
	}
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, status, 0, 0)
	}
}
