package tenant

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// The run loop and the stub speak over a stream socket. A message is its length
// in four bytes and that many bytes of JSON; descriptors ride on the length.
// Requests are answered in order; reports come in between.

// request is what the run loop asks. Exactly one field is set.
type request struct {
	Setup   *Config       `json:"setup,omitempty"` // with the descriptors of Mounts, in order
	Start   *startRequest `json:"start,omitempty"` // with the files for 0, 1, 2, and the group's
	KillAll bool          `json:"kill_all,omitempty"`
	Pty     bool          `json:"pty,omitempty"`
}

type startRequest struct {
	Args     []string `json:"args"`
	Env      []string `json:"env"`
	Dir      string   `json:"dir,omitempty"`
	User     string   `json:"user,omitempty"`
	Terminal bool     `json:"terminal,omitempty"`
}

// message is what the stub says: an answer, or a report of ended processes.
type message struct {
	Answer bool   `json:"answer,omitempty"`
	Error  *Error `json:"error,omitempty"`
	PID    int    `json:"pid,omitempty"` // of what was started, in the tenant's pid namespace

	Exits []exit `json:"exits,omitempty"` // of what was started; orphans are reaped unnamed
	None  bool   `json:"none,omitempty"`  // nothing lives in the pid namespace but the stub
}

type exit struct {
	PID    int                `json:"pid"`
	Status syscall.WaitStatus `json:"status"`
}

const (
	header = 4 // bytes
	// maxMessage bounds what is allocated on the word of the other side: the
	// arguments and environment that execve(2) takes, as JSON.
	maxMessage = 16 << 20
	maxFiles   = 253 // SCM_MAX_FD
)

// pack puts a message into its frame.
func pack(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: %w", len(b), unix.E2BIG)
	}
	out := make([]byte, header, header+len(b))
	binary.NativeEndian.PutUint32(out, uint32(len(b)))
	return append(out, b...), nil
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
