package netif

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process that has attached itself to a jail cannot leave it: jail_attach(2) is
// for the whole process. So a child does it: a copy of this process that makes
// system calls only, which were made ready for it, and ends. It executes no
// program, and closes all descriptors first: jail_attach(2) refuses a process in
// which a directory is open (kern_descrip.c, pwd_chroot_chdir).

// inside are sockets that were made in a jail.
type inside struct {
	jid int
	mu  sync.RWMutex // held for reading while a socket is in use
	fds map[int]int  // address family: descriptor; nil: closed
}

func (in *inside) socket(family int) (int, func(), error) {
	in.mu.RLock()
	fd, ok := in.fds[family]
	switch {
	case in.fds == nil:
		in.mu.RUnlock()
		return 0, nil, os.ErrClosed
	case !ok:
		in.mu.RUnlock()
		return 0, nil, unix.EAFNOSUPPORT
	}
	return fd, in.mu.RUnlock, nil
}

func (in *inside) close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	var err error
	for _, fd := range in.fds {
		err = errors.Join(err, unix.Close(fd))
	}
	in.fds = nil
	return err
}

// families are those of the sockets, as far as the kernel has them.
func families() []int {
	list := []int{unix.AF_LOCAL, unix.AF_ROUTE}
	for _, af := range []int{unix.AF_INET, unix.AF_INET6} {
		if fd, err := unix.Socket(af, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			list = append(list, af)
		}
	}
	return list
}

func enter(jid int) (*inside, error) {
	afs := families()
	// One control message with the descriptors: struct cmsghdr, and the numbers,
	// which the child fills in.
	oob := unix.UnixRights(make([]int, len(afs))...)
	numbers := unsafe.Slice((*int32)(unsafe.Pointer(&oob[unix.CmsgLen(0)])), len(afs))
	one := []byte{0}
	iov := &unix.Iovec{Base: &one[0], Len: 1}
	msg := &unix.Msghdr{Iov: iov, Iovlen: 1, Control: &oob[0], Controllen: uint32(len(oob))}

	c := newChild(jid)
	for i, af := range afs {
		kind := unix.SOCK_DGRAM
		if af == unix.AF_ROUTE {
			kind = unix.SOCK_RAW
		}
		c.call("socket", &numbers[i], unix.SYS_SOCKET, uintptr(af), uintptr(kind))
	}
	c.call("sendmsg", nil, unix.SYS_SENDMSG, 0, c.pointer(unsafe.Pointer(msg)))
	_, fds, err := c.run()
	if err != nil {
		return nil, err
	}
	if len(fds) != len(afs) {
		closeAll(fds)
		return nil, &Error{Op: "enter", Name: c.name(), Errno: unix.EBADMSG, Msg: "sockets were lost on their way"}
	}
	in := &inside{jid: jid, fds: map[int]int{}}
	for i, af := range afs {
		in.fds[af] = fds[i]
	}
	return in, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// ribMax bounds the size of a list in bytes.
const ribMax = 64 << 20

// rib reads a list of the routing information base in the jail: sysctl(3) is of
// the stack of the process that asks.
func (in *inside) rib(mib [6]int32) ([]byte, error) {
	for size := 64 << 10; ; size *= 4 {
		buf := make([]byte, size)
		iov := &unix.Iovec{Base: &buf[0], Len: uint64(size)} // sysctl writes the length
		c := newChild(in.jid)
		c.call("sysctl", nil, unix.SYS___SYSCTL, c.pointer(unsafe.Pointer(&mib[0])), uintptr(len(mib)),
			c.pointer(unsafe.Pointer(&buf[0])), c.pointer(unsafe.Pointer(&iov.Len)))
		c.call("writev", nil, unix.SYS_WRITEV, 0, uintptr(unsafe.Pointer(iov)), 1)
		out, fds, err := c.run()
		closeAll(fds)
		if errors.Is(err, unix.ENOMEM) && size < ribMax {
			continue
		}
		return out, err
	}
}

// call is a system call of a child.
type call struct {
	trap  uintptr
	args  [6]uintptr
	store *int32 // where its result goes
}

// child is what is to be done in a jail. Descriptor 0 is its way to the parent.
type child struct {
	jid   int
	calls []call
	names []string
	fail  [2]int32 // what the child says of a call that failed: its index, errno
	pins  runtime.Pinner
}

func newChild(jid int) *child {
	c := &child{jid: jid}
	c.call("dup2", nil, unix.SYS_DUP2, 0, 0) // of what: run
	c.call("close_range", nil, unix.SYS_CLOSE_RANGE, 1, uintptr(^uint32(0)), 0)
	c.call("jail_attach", nil, unix.SYS_JAIL_ATTACH, uintptr(jid))
	return c
}

func (c *child) name() string { return "jail " + strconv.Itoa(c.jid) }

// pointer makes an argument of a pointer, whose memory stays where it is until
// the child was run.
func (c *child) pointer(p unsafe.Pointer) uintptr {
	c.pins.Pin(p)
	return uintptr(p)
}

// call adds a system call.
func (c *child) call(name string, store *int32, trap uintptr, args ...uintptr) {
	k := call{trap: trap, store: store}
	copy(k.args[:], args)
	c.calls, c.names = append(c.calls, k), append(c.names, name)
}

// run lets a child make the calls, and returns what it has written and the
// descriptors that it has sent.
func (c *child) run() (out []byte, fds []int, err error) {
	defer c.pins.Unpin()
	ends, err := unix.Socketpair(unix.AF_LOCAL, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &Error{Op: "enter", Name: c.name(), Errno: err.(syscall.Errno)}
	}
	defer unix.Close(ends[0])
	c.calls[0].args[0] = uintptr(ends[1])
	pid, errno := c.fork()
	unix.Close(ends[1])
	if errno != 0 {
		return nil, nil, &Error{Op: "enter", Name: c.name(), Errno: errno, Msg: "fork"}
	}
	out, fds, err = receive(ends[0])
	var status syscall.WaitStatus
	for {
		if _, werr := syscall.Wait4(pid, &status, 0, nil); werr != syscall.EINTR {
			break // ECHILD is fine: a caller that waits for any child was faster
		}
	}
	if err == nil {
		err = c.verdict(out, status)
	}
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return out, fds, nil
}

// verdict tells what became of the child.
func (c *child) verdict(out []byte, status syscall.WaitStatus) error {
	if status == 0 {
		return nil
	}
	e := &Error{Op: "enter", Name: c.name(), Errno: unix.ECHILD, Msg: "killed in the jail"}
	if status.Exited() && len(out) >= len(c.fail)*4 {
		said := out[len(out)-len(c.fail)*4:]
		if i := int(binary.NativeEndian.Uint32(said)); i < len(c.names) {
			e.Msg = c.names[i]
		}
		e.Errno = syscall.Errno(binary.NativeEndian.Uint32(said[4:]))
		if e.Msg == "jail_attach" && e.Errno == unix.EINVAL {
			e.Errno, e.Msg = unix.ENOENT, "no such jail"
		}
	}
	return e
}

// receive reads until the other side is closed.
func receive(fd int) (out []byte, fds []int, err error) {
	buf, oob := make([]byte, 64<<10), make([]byte, 256)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return out, fds, err
		}
		out = append(out, buf[:n]...)
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return out, fds, err
		}
		for _, m := range msgs {
			more, err := unix.ParseUnixRights(&m)
			if err != nil {
				return out, fds, err
			}
			fds = append(fds, more...)
		}
		if len(out) > 2*ribMax {
			return out, fds, io.ErrShortBuffer
		}
	}
}

// fork makes the child with all signals of this thread blocked: a handler of the
// Go runtime must not run in it.
func (c *child) fork() (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, old := [4]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}, [4]uint32{} // sigset_t
	if errno := sigmask(&all, &old); errno != 0 {
		return 0, errno
	}
	pid, errno := forkAndCall(c.calls, &c.fail)
	if merr := sigmask(&old, nil); merr != 0 {
		return 0, merr
	}
	return pid, errno
}

func sigmask(set, old *[4]uint32) syscall.Errno {
	const setMask = 3 // SIG_SETMASK
	_, _, errno := unix.RawSyscall(unix.SYS_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)))
	return errno
}

// forkAndCall returns in the parent only. The child is the copy of one thread of
// a Go program, without a scheduler and without a collector: it must not
// allocate, grow its stack, or store a pointer.
//
//go:noinline
//go:norace
//go:nocheckptr
//go:nosplit
func forkAndCall(calls []call, fail *[2]int32) (int, syscall.Errno) {
	pid, _, errno := unix.RawSyscall(unix.SYS_FORK, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	for i := range calls {
		c := &calls[i]
		r, _, errno := unix.RawSyscall6(c.trap, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		if errno != 0 {
			fail[0], fail[1] = int32(i), int32(errno)
			_, _, _ = unix.RawSyscall(unix.SYS_WRITE, 0, uintptr(unsafe.Pointer(fail)), unsafe.Sizeof(*fail))
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 1, 0, 0)
		}
		if c.store != nil {
			*c.store = int32(r)
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return 0, 0 // not reached
}
