package tenant

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// The run loop and the stub speak over a stream socket. A message is its length
// in four bytes and that many bytes; descriptors ride on the length.
// Requests are answered in order; reports come in between.

const (
	header = 4 // bytes
	// maxMessage bounds what is allocated on the word of the other side: the
	// arguments and environment that execve(2) takes, and more.
	maxMessage = 16 << 20
	maxFiles   = 253 // SCM_MAX_FD
)

// pack puts a message into its frame.
func pack(v interface{ encode(*encoder) }) ([]byte, error) {
	e := make(encoder, header, 512)
	v.encode(&e)
	n := len(e) - header
	if n > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: %w", n, unix.E2BIG)
	}
	binary.NativeEndian.PutUint32(e, uint32(n))
	return e, nil
}

// rights are the control data for a message with these descriptors, and, where
// pid is not 0, with that process as its sender: the kernel translates the pid
// into the receiver's namespace (SCM_CREDENTIALS, unix(7)).
func rights(fds []int, pid int) []byte {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if pid != 0 {
		oob = append(oob, unix.UnixCredentials(&unix.Ucred{Pid: int32(pid)})...)
	}
	return oob
}

// oobSize is room for all control data that one message can carry.
var oobSize = unix.CmsgSpace(4*maxFiles) + unix.CmsgSpace(unix.SizeofUcred)

// received is what came with the head of a message.
type received struct {
	fds []int // close-on-exec
	pid int   // the sender, or whom it named
}

// parseRights takes control data apart.
func parseRights(oob []byte) (received, error) {
	var r received
	if len(oob) == 0 {
		return r, nil
	}
	cs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return r, err
	}
	for i := range cs {
		switch cs[i].Header.Type {
		case unix.SCM_RIGHTS:
			fds, err := unix.ParseUnixRights(&cs[i])
			if err != nil {
				return r, err
			}
			r.fds = append(r.fds, fds...)
		case unix.SCM_CREDENTIALS:
			cred, err := unix.ParseUnixCredentials(&cs[i])
			if err != nil {
				return r, err
			}
			r.pid = int(cred.Pid)
		}
	}
	return r, nil
}

// recvHead reads the head of a message with recvmsg, which may be short, and
// keeps the descriptors that come with its first byte.
func recvHead(fd int, head []byte, oob []byte) (n int, r received, err error) {
	n, oobn, flags, _, err := unix.Recvmsg(fd, head, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, r, err
	}
	r, err = parseRights(oob[:oobn])
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = fmt.Errorf("control data was cut off: %w", unix.EMSGSIZE)
	}
	if err != nil {
		closeAll(r.fds)
		return 0, received{}, err
	}
	if n == 0 {
		return 0, r, io.EOF
	}
	return n, r, nil
}

// bodySize reads the length of a message.
func bodySize(head []byte) (int, error) {
	n := binary.NativeEndian.Uint32(head)
	if n > maxMessage {
		return 0, fmt.Errorf("message of %d bytes: %w", n, unix.EMSGSIZE)
	}
	return int(n), nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
