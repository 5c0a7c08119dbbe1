package netif

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// socket is a netlink socket, which stays in the network namespace it was
// made in.
type socket struct {
	fd  int // -1 once closed
	seq uint32
	buf []byte
}

func openSocket(namespace *os.File) (s socket, err error) {
	if namespace == nil {
		return newSocket()
	}
	runtime.LockOSThread()
	old, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return s, err
	}
	defer unix.Close(old)
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return s, os.NewSyscallError("setns", err)
	}
	s, err = newSocket()
	if back := unix.Setns(old, unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with the goroutine.
		return socket{fd: -1}, errors.Join(err, s.close(), os.NewSyscallError("setns", back))
	}
	runtime.UnlockOSThread()
	return s, err
}

// bufferSize is what the kernel fills at the most with one part of a list:
// NLMSG_GOODSIZE and the 32 KiB of netlink_dump.
const bufferSize = 64 << 10

func newSocket() (socket, error) {
	none := socket{fd: -1}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return none, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return none, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	// Words with errors; kernels before 4.12 have none.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return socket{fd: fd}, nil
}

func (s *socket) close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// tries is how often a list is asked for that changes while it is read.
const tries = 10

// exchange sends a request and collects the answers until the last one.
func (s *socket) exchange(r request) ([]answer, error) {
	if s.fd < 0 {
		return nil, os.ErrClosed
	}
	for range tries {
		list, whole, err := s.once(r)
		if err != nil || whole {
			return list, err
		}
	}
	return nil, fmt.Errorf("what is listed changes all the time: %w", unix.EAGAIN)
}

func (s *socket) once(r request) (list []answer, whole bool, err error) {
	s.seq++
	err = unix.Sendto(s.fd, r.pack(s.seq), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	runtime.KeepAlive(r.files)
	if err != nil {
		return nil, false, os.NewSyscallError("send", err)
	}
	whole = true
	for {
		part, err := s.receive()
		if err != nil {
			return nil, false, err
		}
		for _, a := range part {
			if a.seq != s.seq {
				continue // of a request that was given up
			}
			whole = whole && a.flags&flagInterrupted == 0
			switch a.kind {
			case nlmsgError:
				return list, whole, a.verdict()
			case nlmsgDone:
				return list, whole, a.verdict()
			}
			list = append(list, a)
		}
	}
}

// receive reads what the kernel sends at once. What it returns is good until
// it is forgotten: the next one has another buffer.
func (s *socket) receive() ([]answer, error) {
	if len(s.buf) == 0 {
		s.buf = make([]byte, bufferSize)
	}
	for {
		n, _, flags, from, err := unix.Recvmsg(s.fd, s.buf, nil, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("receive", err)
		}
		if flags&unix.MSG_TRUNC != 0 {
			return nil, fmt.Errorf("message of more than %d bytes: %w", len(s.buf), unix.EMSGSIZE)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not the kernel
		}
		b := make([]byte, n)
		copy(b, s.buf)
		return unpack(b)
	}
}
