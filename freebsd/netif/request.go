package netif

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// The ioctls: sys/sys/sockio.h, sys/netinet6/in6_var.h, stable/14 on amd64 and
// arm64. SIOCAIFADDR in x/sys is that of FreeBSD 9.
const (
	siocIFCreate2  = 0xc020697c
	siocIFDestroy  = 0x80206979
	siocSDrvSpec   = 0x8028697b
	siocGDrvSpec   = 0xc028697b
	siocSIFVnet    = 0xc020695a
	siocSIFRVnet   = 0xc020695b
	siocSIFName    = 0x80206928
	siocSIFDescr   = 0x80206929
	siocGIFDescr   = 0xc020692a
	siocGIFGroup   = 0xc0286988
	siocGIFIndex   = 0xc0206920
	siocGIFFlags   = 0xc0206911
	siocSIFFlags   = 0x80206910
	siocSIFMTU     = 0x80206934
	siocSIFLLAddr  = 0x8020693c
	siocAIFAddr    = 0x8044692b
	siocDIFAddr    = 0x80206919
	siocAIFAddrV6  = 0x8088691b
	siocDIFAddrV6  = 0x81206919
	siocGIFAFlagV6 = 0xc1206949
	siocGIFInfoV6  = 0xc048696c
	siocSIFInfoV6  = 0xc0486957 // SIOCSIFINFO_FLAGS
)

// Sizes and offsets in bytes; the same on every 64-bit machine.
const (
	nameSize = 16 // IFNAMSIZ: a name with its NUL

	// struct ifreq, sys/net/if.h: the name, then a union of 16 bytes.
	ifreqSize = 32
	ifreqArg  = 16 // flags (two halves), mtu, jid, an address, a pointer
	ifreqLen  = 16 // of ifr_buffer
	ifreqPtr  = 24
	flagUp    = 0x1 // IFF_UP

	// struct in_aliasreq, sys/netinet/in_var.h.
	alias4Size = 68
	alias4Addr = 16
	alias4Dst  = 32
	alias4Mask = 48

	// struct in6_aliasreq and struct in6_ifreq, sys/netinet6/in6_var.h.
	alias6Size   = 136
	alias6Addr   = 16
	alias6Mask   = 72
	alias6VLTime = 120
	alias6PLTime = 124
	ifreq6Size   = 288
	ifreq6Addr   = 16
	forever      = 0xffffffff // ND6_INFINITE_LIFETIME
	tentative6   = 0x02       // IN6_IFF_TENTATIVE
	duplicated6  = 0x04       // IN6_IFF_DUPLICATED

	// struct ifdrv, sys/net/if.h; struct ifbreq and struct ifbifconf,
	// sys/net/if_bridgevar.h.
	ifdrvSize  = 40
	ifdrvCmd   = 16
	ifdrvLen   = 24
	ifdrvData  = 32
	ifbreqSize = 80
	brdgAdd    = 0
	brdgDel    = 1
	brdgGIFs   = 6

	sockaddr4Size, familyInet  = 16, 2
	sockaddr6Size, familyInet6 = 28, 28
	familyLink                 = 18
)

func checkName(op, name string) error {
	if name == "" || len(name) >= nameSize || strings.ContainsAny(name, "\x00/ \t\n") {
		return &Error{Op: op, Name: fmt.Sprintf("%q", name), Errno: syscall.EINVAL, Msg: "not a name of an interface: 1 to 15 bytes"}
	}
	return nil
}

// ifreq makes a struct ifreq.
func ifreq(name string, arg []byte) []byte {
	b := make([]byte, ifreqSize)
	copy(b, name)
	copy(b[ifreqArg:], arg)
	return b
}

func intArg(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// linkArg is a sockaddr as if_setlladdr() wants it: the length is that of the
// address.
func linkArg(mac net.HardwareAddr) []byte {
	return append([]byte{byte(len(mac)), familyLink}, mac...)
}

// addrRequest makes the struct that adds an address.
func addrRequest(name string, p netip.Prefix) ([]byte, error) {
	const op = "add address to"
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	a := p.Addr()
	if !p.IsValid() || a.Zone() != "" || a.Is4In6() {
		return nil, &Error{Op: op, Name: name, Errno: syscall.EINVAL, Msg: fmt.Sprintf("%v is no address with a length", p)}
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

// delRequest makes the struct that removes an address, or asks for its flags.
func delRequest(name string, a netip.Addr) ([]byte, error) {
	const op = "remove address from"
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
		return nil, &Error{Op: op, Name: name, Errno: syscall.EINVAL, Msg: fmt.Sprintf("%v is no address", a)}
	}
	size := ifreqSize
	if !a.Is4() {
		size = ifreq6Size
	}
	b := make([]byte, size)
	copy(b, name)
	putSockaddr(b[ifreqArg:], a)
	return b, nil
}

// ifbreq makes a struct ifbreq.
func ifbreq(member string) []byte {
	b := make([]byte, ifbreqSize)
	copy(b, member)
	return b
}

// parseNames reads an array of structs of a size that begin with a name.
func parseNames(b []byte, size int) []string {
	var list []string
	for ; len(b) >= size; b = b[size:] {
		list = append(list, cString(b[:nameSize]))
	}
	return list
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
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

// maskBits is the length of the network that a netmask stands for.
func maskBits(m []byte) int {
	n := 0
	for _, b := range m {
		for ; b&0x80 != 0; b <<= 1 {
			n++
		}
	}
	return n
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
