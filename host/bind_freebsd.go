package host

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/freebsd/netif"
)

// listened tells that somebody listens where bind(2) does not mind: with
// SO_REUSEADDR, without which a port that has served is not to be had for a minute,
// a socket of one address and one of all addresses can have the same port. Calls of
// that address would be the other's. It is tried by binding: only sockets of exactly
// the same address are in each other's way then (in_pcb.c, in_pcbbind_setup), and
// none of jails with other addresses.
func listened(at netip.AddrPort) error {
	others, err := othersThan(at.Addr())
	if err != nil {
		return err
	}
	for _, a := range others {
		if err := tryBind(netip.AddrPortFrom(a, at.Port())); errors.Is(err, unix.EADDRINUSE) {
			return err
		} // one that was taken away meanwhile is in nobody's way
	}
	return nil
}

// othersThan are the addresses of this host that one stands for, or the one that
// stands for it.
func othersThan(addr netip.Addr) ([]netip.Addr, error) {
	if !addr.IsUnspecified() {
		if addr.Is4() {
			return []netip.Addr{netip.IPv4Unspecified()}, nil
		}
		return []netip.Addr{netip.IPv6Unspecified()}, nil
	}
	all, err := (&netif.Stack{}).Interfaces()
	var list []netip.Addr
	for _, i := range all {
		for _, p := range i.Addrs {
			if a := p.Addr(); a.Is4() == addr.Is4() && a.Zone() == "" {
				list = append(list, a)
			}
		}
	}
	return list, err
}

func tryBind(at netip.AddrPort) error {
	var sa unix.Sockaddr
	family := unix.AF_INET
	if at.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) //nolint:errcheck
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}
