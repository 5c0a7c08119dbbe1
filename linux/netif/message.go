package netif

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Messages of rtnetlink(7): a header, a fixed part, attributes. Numbers have
// the byte order of the machine. The constants are those of linux/netlink.h,
// linux/rtnetlink.h, linux/if_link.h and linux/veth.h.
const (
	rtmNewLink  = 16
	rtmDelLink  = 17
	rtmGetLink  = 18
	rtmSetLink  = 19
	rtmNewAddr  = 20
	rtmDelAddr  = 21
	rtmGetAddr  = 22
	rtmNewRoute = 24
	rtmDelRoute = 25
	rtmGetRoute = 26

	nlmsgError = 2
	nlmsgDone  = 3

	flagRequest     = 0x1
	flagMulti       = 0x2
	flagAck         = 0x4
	flagInterrupted = 0x10 // of a dump: what is listed has changed meanwhile
	flagCapped      = 0x100
	flagAckTLVs     = 0x200
	flagDump        = 0x300
	flagExclusive   = 0x200
	flagCreate      = 0x400

	sizeHeader = 16 // struct nlmsghdr
	sizeLink   = 16 // struct ifinfomsg
	sizeAddr   = 8  // struct ifaddrmsg
	sizeRoute  = 12 // struct rtmsg

	iflaAddress  = 1
	iflaName     = 3
	iflaMTU      = 4
	iflaMaster   = 10
	iflaProtInfo = 12
	iflaLinkInfo = 18
	iflaAlias    = 20
	iflaNetNSFD  = 28

	infoKind = 1
	infoData = 2
	vethPeer = 1

	brportMode = 4 // of if_link.h: hairpin

	ifaAddress = 1
	ifaLocal   = 2
	ifaNoDAD   = 0x02

	rtaDst     = 1
	rtaOIF     = 4
	rtaGateway = 5

	tableMain     = 254
	protocolBoot  = 3
	scopeUniverse = 0
	scopeLink     = 253
	typeUnicast   = 1

	familyInet   = 2
	familyBridge = 7
	familyInet6  = 10

	ifUp = 0x1

	nlmsgerrMsg = 1 // attribute of an error: the kernel's words
	nested      = 0x8000
)

// request is a message but for its header's sequence number.
type request struct {
	kind, flags uint16
	body        []byte
	files       []*os.File // whose numbers are in body, to be kept open
}

// answer is a message of the kernel.
type answer struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// pack makes the message.
func (r request) pack(seq uint32) []byte {
	b := make([]byte, 0, sizeHeader+len(r.body))
	b = binary.NativeEndian.AppendUint32(b, uint32(sizeHeader+len(r.body)))
	b = binary.NativeEndian.AppendUint16(b, r.kind)
	b = binary.NativeEndian.AppendUint16(b, r.flags|flagRequest)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, r.body...)
}

// refused is the kernel's no.
type refused struct {
	errno syscall.Errno
	msg   string
}

func (e *refused) Error() string { return e.errno.Error() }

// unpack takes apart what the kernel has sent at once.
func unpack(b []byte) ([]answer, error) {
	var list []answer
	for len(b) > 0 {
		if len(b) < sizeHeader {
			return nil, fmt.Errorf("message of %d bytes: %w", len(b), syscall.EBADMSG)
		}
		n := int(binary.NativeEndian.Uint32(b))
		if n < sizeHeader || n > len(b) {
			return nil, fmt.Errorf("message says it has %d bytes of %d: %w", n, len(b), syscall.EBADMSG)
		}
		list = append(list, answer{
			kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			seq: binary.NativeEndian.Uint32(b[8:]), body: b[sizeHeader:n],
		})
		b = b[min(align(n), len(b)):]
	}
	return list, nil
}

// verdict reads struct nlmsgerr, which is also an acknowledgement.
func (a answer) verdict() error {
	if len(a.body) < 4 {
		return syscall.EBADMSG
	}
	code := int32(binary.NativeEndian.Uint32(a.body))
	if code == 0 {
		return nil
	}
	e := &refused{errno: syscall.Errno(-code)}
	// The request follows, whole or only its header, and then attributes.
	if a.flags&flagAckTLVs == 0 || len(a.body) < 4+sizeHeader {
		return e
	}
	skip := 4 + sizeHeader
	if a.flags&flagCapped == 0 {
		skip = 4 + align(int(binary.NativeEndian.Uint32(a.body[4:])))
	}
	if skip > len(a.body) {
		return e
	}
	for kind, v := range attributes(a.body[skip:]) {
		if kind == nlmsgerrMsg {
			e.msg = text(v)
		}
	}
	return e
}

func align(n int) int { return (n + 3) &^ 3 }

// attribute appends one: its length, its kind, its value.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

func attributeText(b []byte, kind uint16, s string) []byte {
	return attribute(b, kind, append([]byte(s), 0))
}

func attribute32(b []byte, kind uint16, n int) []byte {
	return attribute(b, kind, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

// attributes yields those in b, as far as it makes sense.
func attributes(b []byte) func(yield func(kind uint16, value []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^nested, b[4:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(b)))
}

// link is a struct ifinfomsg.
func link(index int, flags, change uint32) []byte {
	b := make([]byte, 4, 128)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

func dump(kind uint16, size int) request {
	return request{kind: kind, flags: flagDump, body: make([]byte, size)}
}

func getLink(name string) request {
	return request{kind: rtmGetLink, flags: flagAck, body: attributeText(link(0, 0, 0), iflaName, name)}
}

func deleteLink(name string) request {
	return request{kind: rtmDelLink, flags: flagAck, body: attributeText(link(0, 0, 0), iflaName, name)}
}

// appearance appends what an interface is to look like.
func appearance(b []byte, mac net.HardwareAddr, mtu int) []byte {
	if mac != nil {
		b = attribute(b, iflaAddress, mac)
	}
	if mtu != 0 {
		b = attribute32(b, iflaMTU, mtu)
	}
	return b
}

func newBridge(br Bridge) request {
	b := appearance(attributeText(link(0, 0, 0), iflaName, br.Name), br.MAC, br.MTU)
	b = attribute(b, iflaLinkInfo, attributeText(nil, infoKind, "bridge"))
	return request{kind: rtmNewLink, flags: flagAck | flagCreate | flagExclusive, body: b}
}

// end appends one end of a pair.
func (r *request) end(b []byte, e End) []byte {
	b = appearance(attributeText(b, iflaName, e.Name), e.MAC, e.MTU)
	return r.namespace(b, e.Namespace)
}

func (r *request) namespace(b []byte, ns *os.File) []byte {
	if ns == nil {
		return b
	}
	r.files = append(r.files, ns)
	return attribute32(b, iflaNetNSFD, int(ns.Fd()))
}

func newVeth(v Veth) request {
	r := request{kind: rtmNewLink, flags: flagAck | flagCreate | flagExclusive}
	peer := r.end(link(0, 0, 0), v.Peer)
	info := attributeText(nil, infoKind, "veth")
	info = attribute(info, infoData, attribute(nil, vethPeer, peer))
	r.body = attribute(r.end(link(0, 0, 0), v.End), iflaLinkInfo, info)
	return r
}

func setLink(index, master int, ch Change) request {
	r := request{kind: rtmNewLink, flags: flagAck}
	var flags, change uint32
	switch ch.Up {
	case Yes:
		flags, change = ifUp, ifUp
	case No:
		change = ifUp
	}
	b := appearance(link(index, flags, change), ch.MAC, ch.MTU)
	if ch.Name != "" {
		b = attributeText(b, iflaName, ch.Name)
	}
	if ch.Alias != "" {
		b = attributeText(b, iflaAlias, ch.Alias)
	}
	if master != 0 || ch.Free {
		b = attribute32(b, iflaMaster, master)
	}
	r.body = r.namespace(b, ch.Namespace)
	return r
}

// hairpin sets a flag of a port of a bridge: these go by the messages of AF_BRIDGE.
func hairpin(index int) request {
	b := link(index, 0, 0)
	b[0] = familyBridge
	b = attribute(b, iflaProtInfo|nested, attribute(nil, brportMode, []byte{1}))
	return request{kind: rtmSetLink, flags: flagAck, body: b}
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return familyInet
	}
	return familyInet6
}

func changeAddr(kind uint16, index int, p netip.Prefix) request {
	a := p.Addr()
	b := []byte{family(a), byte(p.Bits()), 0, scopeUniverse}
	if a.Is6() {
		b[2] = ifaNoDAD
	}
	if a.IsLinkLocalUnicast() {
		b[3] = scopeLink
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = attribute(attribute(b, ifaLocal, a.AsSlice()), ifaAddress, a.AsSlice())
	r := request{kind: kind, flags: flagAck, body: b}
	if kind == rtmNewAddr {
		r.flags |= flagCreate | flagExclusive
	}
	return r
}

func changeRoute(kind uint16, index int, rt Route) request {
	b := []byte{family(rt.Prefix.Addr()), byte(rt.Prefix.Bits()), 0, 0, tableMain, protocolBoot, scopeUniverse, typeUnicast}
	if !rt.Gateway.IsValid() && rt.Prefix.Addr().Is4() {
		b[6] = scopeLink
	}
	b = binary.NativeEndian.AppendUint32(b, 0)
	if rt.Prefix.Bits() > 0 {
		b = attribute(b, rtaDst, rt.Prefix.Masked().Addr().AsSlice())
	}
	if rt.Gateway.IsValid() {
		b = attribute(b, rtaGateway, rt.Gateway.AsSlice())
	}
	if index != 0 {
		b = attribute32(b, rtaOIF, index)
	}
	r := request{kind: kind, flags: flagAck, body: b}
	if kind == rtmNewRoute {
		r.flags |= flagCreate | flagExclusive
	}
	return r
}

func parseLink(a answer) (i Interface, ok bool) {
	if a.kind != rtmNewLink || len(a.body) < sizeLink {
		return i, false
	}
	i.Index = number(a.body[4:])
	i.Up = binary.NativeEndian.Uint32(a.body[8:])&ifUp != 0
	for kind, v := range attributes(a.body[sizeLink:]) {
		switch kind {
		case iflaName:
			i.Name = text(v)
		case iflaMTU:
			i.MTU = number(v)
		case iflaAddress:
			i.MAC = net.HardwareAddr(bytes.Clone(v))
		case iflaMaster:
			i.Master = number(v)
		case iflaAlias:
			i.Alias = text(v)
		case iflaLinkInfo:
			for kind, v := range attributes(v) {
				if kind == infoKind {
					i.Kind = text(v)
				}
			}
		}
	}
	return i, true
}

func parseAddr(a answer) (index int, p netip.Prefix, ok bool) {
	if a.kind != rtmNewAddr || len(a.body) < sizeAddr {
		return 0, p, false
	}
	var local, address []byte
	for kind, v := range attributes(a.body[sizeAddr:]) {
		switch kind {
		case ifaLocal:
			local = v
		case ifaAddress: // of the other end, where there is one
			address = v
		}
	}
	if local == nil {
		local = address
	}
	addr, ok := netip.AddrFromSlice(local)
	return number(a.body[4:]), netip.PrefixFrom(addr, int(a.body[1])), ok
}

func parseRoute(a answer) (r Route, index int, ok bool) {
	if a.kind != rtmNewRoute || len(a.body) < sizeRoute || a.body[4] != tableMain || a.body[7] != typeUnicast {
		return r, 0, false
	}
	dst := netip.IPv4Unspecified()
	switch a.body[0] {
	case familyInet:
	case familyInet6:
		dst = netip.IPv6Unspecified()
	default:
		return r, 0, false
	}
	for kind, v := range attributes(a.body[sizeRoute:]) {
		switch kind {
		case rtaDst:
			if dst, ok = netip.AddrFromSlice(v); !ok {
				return r, 0, false
			}
		case rtaGateway:
			r.Gateway, _ = netip.AddrFromSlice(v)
		case rtaOIF:
			index = number(v)
		}
	}
	r.Prefix = netip.PrefixFrom(dst, int(a.body[1]))
	return r, index, true
}
