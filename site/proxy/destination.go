package proxy

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A UDP socket that is bound to no address answers from whichever the route
// suggests; a caller that has connected its socket would not take that for the
// answer. So the address that was called is asked for with each datagram, and
// given with the answer.

// wantDestination asks for it, where the socket is bound to no address.
func wantDestination(c *net.UDPConn) error {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	if !local.IsUnspecified() {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		if local.Is4() {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, wantV4, 1)
		} else {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", serr)
}

// answerFrom makes of the control messages of a datagram those of its answer.
func answerFrom(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil // the kernel's own are never malformed; cut off, there is none
	}
	for _, m := range messages {
		level, typ := int(m.Header.Level), int(m.Header.Type)
		switch {
		case level == unix.IPPROTO_IP && typ == gotV4:
			return answerV4(m.Data)
		case level == unix.IPPROTO_IPV6 && typ == unix.IPV6_PKTINFO && len(m.Data) == unix.SizeofInet6Pktinfo:
			// RFC 3542: address and interface. The route decides on the
			// interface, unless the address means nothing without.
			linkLocal := m.Data[0] == 0xfe && m.Data[1]&0xc0 == 0x80
			if !linkLocal {
				clear(m.Data[16:])
			}
			return controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, m.Data)
		}
	}
	return nil
}

// controlMessage is one control message with data.
func controlMessage(level, typ int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(typ)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}
