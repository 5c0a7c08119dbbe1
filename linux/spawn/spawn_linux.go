//go:build amd64 || arm64

package spawn

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args of clone3(2), as far as Linux 5.7 has it.
type cloneArgs struct {
	flags, pidfd uint64
	_, _         uint64 // child_tid, parent_tid
	exitSignal   uint64
	_, _, _      uint64 // stack, stack_size, tls
	_, _         uint64 // set_tid, set_tid_size
	cgroup       uint64
}

// result is what the new process leaves behind when a call fails.
type result struct {
	errno int64 // negative; 0 when it has executed
	left  int64 // calls not made, the failed one included
}

// vclone makes clone3(args, size) and in the new process the n calls, of which
// the last is an execve(2). It returns the pid, or a negative errno of clone3.
//
//go:noescape
func vclone(args *cloneArgs, size uintptr, calls *call, n uintptr, res *result) int

// Start starts the program: the calls, then path with argv and env. The pidfd
// is close-on-exec and the caller's to close; the process is the caller's to
// wait for. An error that is an [*Error] tells which call failed.
func (p *Program) Start(o Options, path string, argv, env []string) (pid, pidfd int, err error) {
	var none uint64
	calls, keep := p.calls, p.keep
	p.calls, p.keep = p.calls[:len(calls):len(calls)], p.keep[:len(keep):len(keep)]
	defer func() { p.calls, p.keep, p.names = calls, keep, p.names[:len(calls)] }()
	p.Call("sigprocmask", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, p.Pointer(unsafe.Pointer(&none)), 0, 8)
	p.Call("execve", unix.SYS_EXECVE, p.String(path), p.Strings(argv), p.Strings(env))

	fd := new(int32)
	args := &cloneArgs{
		flags:      o.Flags | unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_PIDFD,
		pidfd:      uint64(p.Pointer(unsafe.Pointer(fd))),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if o.Cgroup > 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup)
	}
	var res result
	pid, err = p.clone(o, args, &res)
	runtime.KeepAlive(p)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return 0, -1, errors.Join(&Error{"clone3", unix.ENOSYS}, errors.ErrUnsupported)
	case err != nil:
		return 0, -1, &Error{"clone3", err.(unix.Errno)}
	case res.errno != 0:
		unix.Close(int(*fd))
		reap(pid)
		return 0, -1, &Error{p.names[len(p.names)-int(res.left)], unix.Errno(-res.errno)}
	}
	return pid, int(*fd), nil
}

// clone calls vclone with all signals of this thread blocked: none is to end or stop
// the new process before it has executed. There are no handlers in it.
func (p *Program) clone(o Options, args *cloneArgs, res *result) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, old := ^uint64(0), uint64(0)
	if !o.Unblocked {
		if err := sigmask(&all, &old); err != nil {
			return 0, err
		}
	}
	pid := vclone(args, unsafe.Sizeof(*args), &p.calls[0], uintptr(len(p.calls)), res)
	if !o.Unblocked {
		if err := sigmask(&old, nil); err != nil {
			return 0, err
		}
	}
	if pid < 0 {
		return 0, unix.Errno(-pid)
	}
	return pid, nil
}

func sigmask(set, old *uint64) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// reap waits for a process that failed to execute. ECHILD is fine: a caller
// that waits for any child was faster.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
