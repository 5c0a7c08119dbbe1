//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netif

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
)

// interfaces lists all interfaces, or the one with an index.
func (s *Stack) interfaces(index int) ([]Interface, error) {
	b, err := s.fetch(route.RIBTypeInterface, index)
	if err != nil {
		return nil, err
	}
	return parseInterfaces(b)
}

func (s *Stack) routes() ([]Route, error) {
	b, err := s.fetch(route.RIBTypeRoute, 0)
	if err != nil {
		return nil, err
	}
	ifs, err := s.interfaces(0)
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(ifs))
	for _, i := range ifs {
		names[i.Index] = i.Name
	}
	return parseRoutes(b, names)
}

// parseInterfaces reads what NET_RT_IFLIST gives: each interface, then its
// addresses.
func parseInterfaces(b []byte) ([]Interface, error) {
	msgs, err := route.ParseRIB(route.RIBTypeInterface, b)
	if err != nil {
		return nil, &Error{Op: "list", Name: "interfaces", Errno: syscall.EBADMSG, Msg: err.Error()}
	}
	var list []Interface
	for _, m := range msgs {
		switch m := m.(type) {
		case *route.InterfaceMessage:
			i := Interface{Name: m.Name, Index: m.Index, Up: m.Flags&syscall.IFF_UP != 0}
			for _, sys := range m.Sys() {
				if x, ok := sys.(*route.InterfaceMetrics); ok {
					i.MTU = x.MTU
				}
			}
			if link, ok := m.Addrs[syscall.RTAX_IFP].(*route.LinkAddr); ok && len(link.Addr) > 0 {
				i.MAC = net.HardwareAddr(link.Addr)
			}
			list = append(list, i)
		case *route.InterfaceAddrMessage:
			if len(list) == 0 || list[len(list)-1].Index != m.Index {
				continue
			}
			i := &list[len(list)-1]
			if p, ok := prefix(m.Addrs[syscall.RTAX_IFA], m.Addrs[syscall.RTAX_NETMASK], i.Name); ok {
				i.Addrs = append(i.Addrs, p)
			}
		}
	}
	return list, nil
}

// parseRoutes reads what NET_RT_DUMP gives.
func parseRoutes(b []byte, names map[int]string) ([]Route, error) {
	msgs, err := route.ParseRIB(route.RIBTypeRoute, b)
	if err != nil {
		return nil, &Error{Op: "list", Name: "routes", Errno: syscall.EBADMSG, Msg: err.Error()}
	}
	var list []Route
	for _, m := range msgs {
		m, ok := m.(*route.RouteMessage)
		if !ok || m.Flags&syscall.RTF_UP == 0 || len(m.Addrs) <= syscall.RTAX_NETMASK {
			continue
		}
		r := Route{Interface: names[m.Index]}
		r.Gateway = addr(m.Addrs[syscall.RTAX_GATEWAY], r.Interface)
		mask := m.Addrs[syscall.RTAX_NETMASK]
		if m.Flags&syscall.RTF_HOST != 0 {
			if m.Flags&syscall.RTF_GATEWAY == 0 {
				continue // an address of the stack, a neighbour
			}
			mask = nil
		}
		if r.Dst, ok = prefix(m.Addrs[syscall.RTAX_DST], mask, r.Interface); !ok {
			continue
		}
		if m.Flags&syscall.RTF_HOST == 0 && mask == nil {
			r.Dst = netip.PrefixFrom(r.Dst.Addr(), 0)
		}
		list = append(list, r)
	}
	return list, nil
}

// addr is the address of a message; link-local ones have the interface as zone.
func addr(a route.Addr, zone string) netip.Addr {
	switch a := a.(type) {
	case *route.Inet4Addr:
		return netip.AddrFrom4(a.IP)
	case *route.Inet6Addr:
		out := netip.AddrFrom16(a.IP)
		if a.ZoneID != 0 {
			out = out.WithZone(zone)
		}
		return out
	}
	return netip.Addr{}
}

// prefix is an address with the length of its mask, all of it without one.
func prefix(a, mask route.Addr, zone string) (netip.Prefix, bool) {
	ip := addr(a, zone)
	bits := ip.BitLen()
	switch m := mask.(type) {
	case *route.Inet4Addr:
		bits = maskBits(m.IP[:])
	case *route.Inet6Addr:
		bits = maskBits(m.IP[:])
	}
	return netip.PrefixFrom(ip.WithZone(""), bits), ip.IsValid()
}
