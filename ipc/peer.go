package ipc

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end, as of connect(2), or for a client as of
// listen(2): a process may pass its connection on afterwards, or change its
// user.
type Peer struct {
	UID    uint32
	GID    uint32   // effective
	Groups []uint32 // supplementary ones; FreeBSD tells at most 15
	PID    int      // 0 if it is not visible from here; may belong to another by now

	conn *Conn
}

// Peer returns the credentials of the other side.
func (c *Conn) Peer() (p Peer, err error) {
	p.conn = c
	cerr := c.r.rc.Control(func(fd uintptr) { err = p.read(int(fd)) })
	if cerr != nil {
		err = cerr
	}
	return p, err
}

// Here returns nil if the peer is in the mount namespace (Linux) or the jail
// (FreeBSD) of this process, where uid 0 and a path mean the same for both. It
// fails closed: a peer that cannot be looked at is an fs.ErrPermission like one
// that is elsewhere. It is meant for [Server.Admit], while the connection is
// new.
//
// On Linux the process is held by SO_PEERPIDFD (6.5) and cannot be mistaken; on
// older kernels, and on FreeBSD, where there is no such thing, a peer that exits
// between connecting and being looked at can be mistaken for the new owner of
// its pid. Give a jail a socket of its own instead, and trust the socket.
func (p Peer) Here() error {
	if p.conn == nil {
		return fmt.Errorf("peer without a connection: %w", errElsewhere)
	}
	var err error
	cerr := p.conn.r.rc.Control(func(fd uintptr) { err = p.here(int(fd)) })
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("peer with pid %d: %w: %w", p.PID, errElsewhere, err)
	}
	return nil
}

var errElsewhere = fmt.Errorf("not known to be in the same place: %w", fs.ErrPermission)

// getsockopt reads an option as bytes, which x/sys/unix does for known types
// only. The result is as long as the kernel says.
func getsockopt(fd, level, opt int, b []byte) ([]byte, error) {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&size)), 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return nil, os.NewSyscallError("getsockopt", errno)
	}
	return b[:min(int(size), len(b))], nil
}

// ids splits an array of uid_t or gid_t.
func ids(b []byte) []uint32 {
	var out []uint32
	for ; len(b) >= 4; b = b[4:] {
		out = append(out, binary.NativeEndian.Uint32(b))
	}
	return out
}
