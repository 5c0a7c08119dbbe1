package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls: sys/sys/sockio.h, sys/netinet6/in6_var.h. SIOCAIFADDR in x/sys is
// that of FreeBSD 9.
const (
	siocGIFFlags  = 0xc0206911
	siocSIFFlags  = 0x80206910
	siocAIFAddr   = 0x8044692b
	siocAIFAddrV6 = 0x8088691b
)

// struct ifreq, sys/net/if.h: the name, then a union of 16 bytes, of which flags
// use two halves.
const (
	ifreqSize  = 32
	ifreqFlags = 16
	flagUp     = 0x1 // IFF_UP
)

// with opens a socket to do ioctls on.
func with(op, name string, family int, f func(ioctl func(req uintptr, arg []byte) error) error) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = f(func(req uintptr, arg []byte) error {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(&arg[0]))); errno != 0 {
				return errno
			}
			return nil
		})
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if errno == unix.ENXIO {
			return &Error{Op: op, Name: name, Errno: unix.ENOENT, Msg: "no such interface in this vnet"}
		}
		return &Error{Op: op, Name: name, Errno: errno}
	}
	return err
}

func setUp(name string, up bool) error {
	op := map[bool]string{true: "up", false: "down"}[up]
	if err := checkName(op, name); err != nil {
		return err
	}
	// A local socket will do: a jail without IPv4 has no AF_INET.
	return with(op, name, unix.AF_LOCAL, func(ioctl func(uintptr, []byte) error) error {
		req := make([]byte, ifreqSize)
		copy(req, name)
		if err := ioctl(siocGIFFlags, req); err != nil {
			return err
		}
		flags := binary.NativeEndian.Uint16(req[ifreqFlags:])
		if (flags&flagUp != 0) == up {
			return nil
		}
		binary.NativeEndian.PutUint16(req[ifreqFlags:], flags^flagUp)
		return ioctl(siocSIFFlags, req)
	})
}

func addAddr(name string, v4 bool, request []byte) error {
	family, req := unix.AF_INET6, uintptr(siocAIFAddrV6)
	if v4 {
		family, req = unix.AF_INET, siocAIFAddr
	}
	err := with("address", name, family, func(ioctl func(uintptr, []byte) error) error {
		return ioctl(req, request)
	})
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func list() ([]Interface, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	out := make([]Interface, len(ifs))
	for i, n := range ifs {
		out[i] = Interface{Name: n.Name, Index: n.Index, MTU: n.MTU, Up: n.Flags&net.FlagUp != 0}
		addrs, err := n.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", n.Name, err)
		}
		for _, a := range addrs {
			ip, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			bits, _ := ip.Mask.Size()
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				out[i].Addrs = append(out[i].Addrs, netip.PrefixFrom(addr.Unmap(), bits))
			}
		}
	}
	return out, nil
}
