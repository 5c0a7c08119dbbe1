package ipc

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readSize    = 4 << 10  // bytes of a new connection's buffer
	readSizeMax = 64 << 10 // bytes it grows to under load
)

// reader takes frames from a socket. Not safe for concurrent use.
//
// Descriptors arrive with the first byte of the message they were sent with,
// and one recvmsg never returns the rights of two messages: Linux stops behind
// a message with rights (net/unix/af_unix.c, unix_stream_read_generic),
// FreeBSD before its control mbuf (sys/kern/uipc_socket.c, soreceive_generic).
// So a large buffer may hold the end of one frame and the beginning of the
// next with its rights, but order is kept: rights wait in a queue, and every
// header takes as many as it announces. Rights that are waiting while no header
// is under way belong to no frame.
type reader struct {
	conn   *net.UnixConn
	rc     syscall.RawConn
	limits Limits

	// Of a server: told of descriptors that came, and asked before the body of a
	// call is received. False: the peer's user has too many already.
	got  func(fds int) bool
	room func(size int) bool
	full bool // what got said last

	buf     []byte // buf[r:w] is received and not yet taken
	r, w    int
	oob     []byte
	pending []int // descriptors whose header has not been taken yet

	// The parameters of recv, kept here so that a read allocates nothing.
	recv    func(fd uintptr) bool
	dst     []byte
	n, oobn int
	flags   int
	err     error
	partial bool // a frame is under way
	armed   bool // a read deadline is set
	iov     unix.Iovec
	msg     unix.Msghdr
}

func (r *reader) init(c *net.UnixConn, rc syscall.RawConn) {
	r.conn, r.rc = c, rc
	r.recv = r.recvmsg
}

// alloc makes the buffers: not before it is known that the peer is served.
func (r *reader) alloc() {
	r.buf = make([]byte, readSize)
	r.oob = make([]byte, oobSize)
}

// recvmsg receives once into dst; false means that there is nothing yet.
func (r *reader) recvmsg(fd uintptr) bool {
	for {
		r.n, r.oobn, r.flags, r.err = recvmsg(int(fd), r.dst, r.oob, &r.msg, &r.iov)
		if r.err != unix.EINTR {
			break
		}
	}
	if r.err != unix.EAGAIN {
		return true
	}
	if r.partial && !r.armed {
		r.armed = r.conn.SetReadDeadline(time.Now().Add(r.limits.Stall)) == nil
	}
	return false
}

// recvmsg is unix.Recvmsg without the sender's address, which would cost an
// allocation each time. MSG_CMSG_CLOEXEC works on both systems; net.UnixConn
// does not pass it on FreeBSD, where a fork in between leaks the descriptors.
func recvmsg(fd int, p, oob []byte, msg *unix.Msghdr, iov *unix.Iovec) (n, oobn, flags int, err error) {
	iov.Base = unsafe.SliceData(p)
	iov.SetLen(len(p))
	*msg = unix.Msghdr{Iov: iov, Control: unsafe.SliceData(oob)}
	msg.SetIovlen(1)
	msg.SetControllen(len(oob))
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(msg)), unix.MSG_CMSG_CLOEXEC)
	runtime.KeepAlive(p)
	runtime.KeepAlive(oob)
	if errno != 0 {
		return 0, 0, 0, errno
	}
	return int(r), int(msg.Controllen), int(msg.Flags), nil
}

// fill receives at least one byte into dst and queues what descriptors came.
func (r *reader) fill(dst []byte) (int, error) {
	r.dst = dst
	err := r.rc.Read(r.recv)
	if r.armed {
		r.armed = false
		if derr := r.conn.SetReadDeadline(time.Time{}); err == nil {
			err = derr
		}
	}
	if err != nil {
		return 0, err
	}
	if r.err != nil {
		return 0, os.NewSyscallError("recvmsg", r.err)
	}
	if r.oobn > 0 {
		fds, err := parseRights(r.oob[:r.oobn])
		r.pending = append(r.pending, fds...)
		if r.got != nil {
			r.full = !r.got(len(fds))
		}
		if err != nil {
			return 0, err
		}
	}
	switch {
	case r.flags&unix.MSG_CTRUNC != 0:
		return 0, fmt.Errorf("%w: control data truncated", errProtocol)
	case len(r.pending) > 2*r.limits.Files: // those of a broken header and of one more frame
		return 0, fmt.Errorf("%w: %d descriptors waiting", errProtocol, len(r.pending))
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// next returns the next frame. io.EOF means that the peer ended between two
// frames.
func (r *reader) next() (frame, error) {
	var f frame
	r.partial = r.w > r.r
	for r.w-r.r < headerSize {
		if err := r.more(); err != nil {
			return f, err
		}
	}
	h, err := parseHeader(r.buf[r.r:r.w], r.limits)
	if err != nil {
		return f, err
	}
	if len(r.pending) < int(h.files) {
		return f, fmt.Errorf("%w: %d descriptors announced, %d came", errProtocol, h.files, len(r.pending))
	}
	f.header = h
	r.r += headerSize
	if h.files > 0 {
		f.fds = append([]int(nil), r.pending[:h.files]...)
		r.pending = r.pending[:copy(r.pending, r.pending[h.files:])]
		f.dropped = r.full
	}
	if err := r.body(&f); err != nil {
		f.discard()
		return frame{}, err
	}
	return f, nil
}

// more adds to the buffer, which holds less than a header.
func (r *reader) more() error {
	if r.r == r.w {
		if len(r.pending) > 0 {
			return fmt.Errorf("%w: %d descriptors without a frame", errProtocol, len(r.pending))
		}
		if r.w == len(r.buf) && len(r.buf) < readSizeMax {
			r.buf = make([]byte, 2*len(r.buf))
		}
		r.r, r.w = 0, 0
	} else if r.full && len(r.pending) > 0 {
		return fmt.Errorf("%w: %d descriptors with half a header, of a user who has too many", errProtocol, len(r.pending))
	} else if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.fill(r.buf[r.w:])
	r.w += n
	if err == io.EOF && r.partial {
		err = io.ErrUnexpectedEOF
	}
	r.partial = true
	return err
}

// body completes f. What does not fit the buffer is received in place, into
// memory that grows only as the bytes come.
func (r *reader) body(f *frame) error {
	size := int(f.size)
	if size == 0 {
		return nil
	}
	if f.kind == kindCall && r.room != nil && (f.dropped || !r.room(size)) {
		f.dropped = true
		return r.skip(size)
	}
	f.alloc(size)
	have := min(size, r.w-r.r)
	f.body = append(f.body, r.buf[r.r:r.r+have]...)
	r.r += have
	waiting := len(r.pending)
	for len(f.body) < size {
		if len(f.body) == cap(f.body) {
			f.body = append(make([]byte, 0, min(size, 2*cap(f.body))), f.body...)
		}
		n, err := r.fill(f.body[len(f.body):min(cap(f.body), size)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && len(r.pending) > waiting {
			err = fmt.Errorf("%w: descriptors inside a body", errProtocol)
		}
		if err != nil {
			return err
		}
		f.body = f.body[:len(f.body)+n]
	}
	return nil
}

// skip receives a body and forgets it.
func (r *reader) skip(size int) error {
	for {
		have := min(size, r.w-r.r)
		r.r += have
		if size -= have; size == 0 {
			return nil
		}
		if err := r.more(); err != nil {
			return err
		}
	}
}

// close drops what was received and not taken.
func (r *reader) close() {
	closeFDs(r.pending)
	r.pending, r.r, r.w = nil, 0, 0
}
