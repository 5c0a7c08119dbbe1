// Package netif configures network interfaces of FreeBSD by ioctl(2): up and
// down, addresses, what exists. It runs no program.
//
// Everything refers to the network stack (vnet) of the calling process. For that
// of a jail, call it in a process that has attached itself to the jail:
//
//	err := id.Attach()     // a small process that then executes the payload
//	err = netif.Loopback() // lo0 up, with 127.0.0.1/8 and ::1/128
//
// A vnet is born with a lo0 that is down and has no address.
//
// On other systems every call returns [errors.ErrUnsupported].
package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// Interface is what one wants to know of an interface at a glance.
type Interface struct {
	Name  string
	Index int
	MTU   int // bytes
	Up    bool
	Addrs []netip.Prefix
}

// Error is something that could not be done to an interface.
type Error struct {
	Op    string // "up", "down", "address", "list"
	Name  string
	Errno syscall.Errno
	Msg   string
}

func (e *Error) Error() string {
	s := e.Op + " " + e.Name + ": "
	if e.Msg != "" {
		s += e.Msg + ": "
	}
	return s + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Loopback brings lo0 up with 127.0.0.1/8 and, if the kernel has IPv6, ::1/128.
// It may be called again.
func Loopback() error {
	const lo = "lo0"
	if err := Up(lo); err != nil {
		return err
	}
	if err := AddAddr(lo, netip.MustParsePrefix("127.0.0.1/8")); err != nil {
		return err
	}
	err := AddAddr(lo, netip.MustParsePrefix("::1/128"))
	if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) {
		return nil
	}
	return err
}

// Up brings an interface up.
func Up(name string) error { return setUp(name, true) }

// Down takes an interface down. Its addresses stay.
func Down(name string) error { return setUp(name, false) }

// AddAddr gives an interface an address with the length of its network. One that
// it has already is no error.
func AddAddr(name string, p netip.Prefix) error {
	req, err := addrRequest(name, p)
	if err != nil {
		return err
	}
	return addAddr(name, p.Addr().Is4(), req)
}

// List returns the interfaces.
func List() ([]Interface, error) { return list() }

// nameSize is IFNAMSIZ, the room for a name with its NUL.
const nameSize = 16

func checkName(op, name string) error {
	if name == "" || len(name) >= nameSize || strings.ContainsRune(name, 0) {
		return &Error{Op: op, Name: fmt.Sprintf("%q", name), Errno: syscall.EINVAL, Msg: "not a name of an interface"}
	}
	return nil
}

// struct in_aliasreq, sys/netinet/in_var.h, and struct in6_aliasreq,
// sys/netinet6/in6_var.h: offsets in bytes.
const (
	alias4Size = 68
	alias4Addr = 16
	alias4Dst  = 32
	alias4Mask = 48

	alias6Size   = 136
	alias6Addr   = 16
	alias6Mask   = 72
	alias6VLTime = 120
	alias6PLTime = 124

	sockaddr4Size, familyInet  = 16, 2
	sockaddr6Size, familyInet6 = 28, 28

	forever = 0xffffffff // ND6_INFINITE_LIFETIME
)

// addrRequest makes the struct that adds an address.
func addrRequest(name string, p netip.Prefix) ([]byte, error) {
	if err := checkName("address", name); err != nil {
		return nil, err
	}
	a := p.Addr()
	if !p.IsValid() || a.Zone() != "" || a.Is4In6() {
		return nil, &Error{Op: "address", Name: name, Errno: syscall.EINVAL, Msg: fmt.Sprintf("%v is no address with a length", p)}
	}
	if a.Is4() {
		b := make([]byte, alias4Size)
		copy(b, name)
		putSockaddr(b[alias4Addr:], a)
		putSockaddr(b[alias4Mask:], mask(p))
		if p.Bits() < 31 && !a.IsLoopback() {
			putSockaddr(b[alias4Dst:], broadcast(p))
		}
		return b, nil
	}
	b := make([]byte, alias6Size)
	copy(b, name)
	putSockaddr(b[alias6Addr:], a)
	putSockaddr(b[alias6Mask:], mask(p))
	binary.NativeEndian.PutUint32(b[alias6VLTime:], forever)
	binary.NativeEndian.PutUint32(b[alias6PLTime:], forever)
	return b, nil
}

// putSockaddr writes a sockaddr_in or a sockaddr_in6.
func putSockaddr(b []byte, a netip.Addr) {
	if a.Is4() {
		b[0], b[1] = sockaddr4Size, familyInet
		copy(b[4:], a.AsSlice())
		return
	}
	b[0], b[1] = sockaddr6Size, familyInet6
	copy(b[8:], a.AsSlice())
}

// mask is the netmask of p.
func mask(p netip.Prefix) netip.Addr {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(m)
	return a
}

// broadcast is the last address of the network of p.
func broadcast(p netip.Prefix) netip.Addr {
	b, m := p.Addr().AsSlice(), mask(p).AsSlice()
	for i := range b {
		b[i] |= ^m[i]
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
