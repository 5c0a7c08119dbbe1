// Package spawn starts a program after a list of system calls of the caller's
// choice, made in the new process between clone3(2) and execve(2).
//
// os/exec offers the calls that its SysProcAttr knows. A container's process
// needs more (the capability bounding set, no_new_privs, a seccomp filter), and
// Go code cannot run in a child that has not executed yet. Re-executing a
// helper costs a millisecond. Here the calls are data: a [Program] lists them
// with their arguments, and a few lines of assembly make them one by one.
//
//	var p spawn.Program
//	p.Call("setsid", unix.SYS_SETSID)
//	p.Call("chdir", unix.SYS_CHDIR, p.String("/tmp"))
//	p.Call("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
//	pid, pidfd, err := p.Start(spawn.Options{}, "/bin/sh", []string{"sh"}, os.Environ())
//
// The new process begins with all signals blocked, unless that is not wanted, and
// every handler reset; nothing of the Go runtime runs in it. It shares the caller's
// memory until it executes (CLONE_VM, CLONE_VFORK), so a start does not copy page
// tables. The signal mask it executes with is empty.
//
// Linux 5.5 (5.7 for a cgroup) on amd64 and arm64; elsewhere Start returns
// errors.ErrUnsupported.
package spawn

import (
	"fmt"
	"syscall"
	"unsafe"
)

// Program is a list of system calls for one start. The zero value is empty. A
// Program may be started several times, not by several goroutines at once.
type Program struct {
	calls []call
	names []string
	keep  []unsafe.Pointer // what the arguments point to
}

// call is read by the assembly: a number and six arguments, 56 bytes.
type call struct {
	nr   uintptr
	args [6]uintptr
}

// Options say how the process is cloned. The zero value is a plain child.
type Options struct {
	Flags  uint64 // more CLONE_ flags: namespaces
	Cgroup int    // descriptor of the cgroup2 directory it is born into; 0: the caller's

	// Unblocked: signals are not blocked meanwhile, neither here nor in the new
	// process. For the first thread of a pid 1, which those from its namespace do not
	// reach, unless it has them blocked: then they kill it (kernel/signal.c,
	// sig_ignored and complete_signal).
	Unblocked bool
}

// Error is a call of the program that failed in the new process, or the
// clone3(2) or execve(2) around them. The process has not executed and is gone.
type Error struct {
	Call  string // as it was named to Program.Call; "clone3"; "execve"
	Errno syscall.Errno
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Call, e.Errno) }

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Call adds a system call. Name stands for it in errors. At most six
// arguments; those that point must come from String, Strings or Pointer.
func (p *Program) Call(name string, nr uintptr, args ...uintptr) {
	c := call{nr: nr}
	if copy(c.args[:], args) < len(args) {
		panic("spawn: a system call has six arguments")
	}
	p.calls = append(p.calls, c)
	p.names = append(p.names, name)
}

// Pointer makes an argument of a pointer, whose target the program keeps alive.
func (p *Program) Pointer(ptr unsafe.Pointer) uintptr {
	p.keep = append(p.keep, ptr) // and so on the heap: it does not move
	return uintptr(ptr)
}

// String makes an argument of s, which ends at its first NUL.
func (p *Program) String(s string) uintptr {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return p.Pointer(unsafe.Pointer(&b[0]))
}

// Strings makes an argument of a list as execve(2) takes it.
func (p *Program) Strings(list []string) uintptr {
	v := make([]uintptr, len(list)+1)
	size := 0
	for _, s := range list {
		size += len(s) + 1
	}
	text := make([]byte, size+1)
	base := p.Pointer(unsafe.Pointer(&text[0]))
	at := 0
	for i, s := range list {
		v[i] = base + uintptr(at)
		at += copy(text[at:], s) + 1
	}
	return p.Pointer(unsafe.Pointer(&v[0]))
}
