package netif

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// fetch reads the routing information base.
func (s *Stack) fetch(what route.RIBType, arg int) ([]byte, error) {
	if s != nil && s.in != nil {
		return s.in.rib([6]int32{unix.CTL_NET, unix.AF_ROUTE, 0, unix.AF_UNSPEC, int32(what), int32(arg)})
	}
	b, err := route.FetchRIB(unix.AF_UNSPEC, what, arg)
	return b, explain("list", "the routing information base", err)
}

// route writes to the routing socket, which answers with the errno.
func (s *Stack) route(op string, r Route) error {
	name := r.Dst.String() + " " + r.Gateway.String()
	bad := func(why string) error {
		return &Error{Op: op + " route", Name: name, Errno: syscall.EINVAL, Msg: why}
	}
	if !r.Dst.IsValid() || r.Dst.Addr().Is4In6() || r.Dst.Addr().Zone() != "" {
		return bad("it has no destination")
	}
	m := &route.RouteMessage{
		Version: unix.RTM_VERSION, Type: unix.RTM_ADD, Flags: unix.RTF_UP | unix.RTF_STATIC, Seq: 1,
		Addrs: make([]route.Addr, unix.RTAX_MAX),
	}
	if op == "remove" {
		m.Type = unix.RTM_DELETE
	}
	m.Addrs[unix.RTAX_DST] = inet(r.Dst.Masked().Addr(), 0)
	if r.Dst.Bits() == r.Dst.Addr().BitLen() {
		m.Flags |= unix.RTF_HOST
	} else {
		m.Addrs[unix.RTAX_NETMASK] = inet(mask(r.Dst), 0)
	}
	index, err := s.index(r.Interface)
	if err != nil {
		return err
	}
	switch {
	case r.Gateway.IsValid() && r.Gateway.Is4() != r.Dst.Addr().Is4():
		return bad("destination and gateway are of two families")
	case r.Gateway.IsLinkLocalUnicast() && r.Gateway.Is6() && index == 0:
		return bad("a link-local gateway needs the interface")
	case r.Gateway.IsValid():
		m.Flags |= unix.RTF_GATEWAY
		m.Addrs[unix.RTAX_GATEWAY] = inet(r.Gateway, index)
	case index == 0:
		return bad("neither gateway nor interface")
	default:
		m.Addrs[unix.RTAX_GATEWAY] = &route.LinkAddr{Index: index}
	}
	b, err := m.Marshal()
	if err != nil {
		return bad(err.Error())
	}
	fd, done, err := s.socket(unix.AF_ROUTE)
	if err == nil {
		defer done()
		_, err = unix.Write(fd, b)
	}
	return explain(op+" route", name, err)
}

// inet is an address of a message. The zone is that of link-local addresses.
func inet(a netip.Addr, zone int) route.Addr {
	if a.Is4() {
		return &route.Inet4Addr{IP: a.As4()}
	}
	if !a.IsLinkLocalUnicast() {
		zone = 0
	}
	return &route.Inet6Addr{IP: a.As16(), ZoneID: zone}
}

// index is the number of an interface, 0 for no name.
func (s *Stack) index(name string) (int, error) {
	const op = "look for"
	if name == "" {
		return 0, nil
	}
	if err := checkName(op, name); err != nil {
		return 0, err
	}
	req := ifreq(name, nil)
	if err := s.ioctl(op, name, unix.AF_LOCAL, siocGIFIndex, req); err != nil {
		return 0, err
	}
	return int(binary.NativeEndian.Uint32(req[ifreqArg:])), nil
}

func (s *Stack) lookup(name string) (Interface, error) {
	index, err := s.index(name)
	if err != nil {
		return Interface{}, err
	}
	list, err := s.interfaces(index)
	if err != nil {
		return Interface{}, err
	}
	if name == "" || len(list) != 1 || list[0].Name != name { // it has gone, or was renamed
		return Interface{}, &Error{Op: "look for", Name: name, Errno: unix.ENOENT}
	}
	return list[0], nil
}
