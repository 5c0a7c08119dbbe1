package netif

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// struct in6_ndireq, sys/netinet6/nd6.h.
	ndireqSize  = 72
	ndireqFlags = 36
	noDAD       = 0x100 // ND6_IFF_NO_DAD

	// struct ifgroupreq, sys/net/if.h: a length and a pointer to names.
	groupreqSize = 40
	groupreqLen  = 16
	groupreqPtr  = 24
)

// ioctl does an ioctl on a socket of the stack.
func (s *Stack) ioctl(op, name string, family int, req uintptr, arg []byte) error {
	fd, done, err := s.socket(family)
	if err == nil {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(&arg[0])))
		done()
		if errno == 0 {
			return nil
		}
		err = errno
	}
	return explain(op, name, err)
}

// explain makes an error of an errno. The kernel says ENXIO of an interface that
// does not exist.
func explain(op, name string, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if errno == unix.ENXIO {
		return &Error{Op: op, Name: name, Errno: unix.ENOENT, Msg: "no such interface or jail in this network stack"}
	}
	return &Error{Op: op, Name: name, Errno: errno}
}

// socket returns a socket of the stack and what to call after its use. Most
// ioctls want any socket: a local one is there without IPv4 and IPv6.
func (s *Stack) socket(family int) (fd int, done func(), err error) {
	if s != nil && s.in != nil {
		return s.in.socket(family)
	}
	kind := unix.SOCK_DGRAM
	if family == unix.AF_ROUTE {
		kind = unix.SOCK_RAW
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	return fd, func() { unix.Close(fd) }, err
}

// simple does an ioctl whose argument is a struct ifreq.
func (s *Stack) simple(op, name string, req uintptr, arg []byte) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	return s.ioctl(op, name, unix.AF_LOCAL, req, ifreq(name, arg))
}

func (s *Stack) create(kind string) (string, error) {
	req := ifreq(kind, nil)
	if err := s.ioctl("create", kind, unix.AF_LOCAL, siocIFCreate2, req); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Errno == unix.EINVAL {
			e.Msg = "the kernel does not know this kind: kldload if_" + strings.TrimRight(kind, "0123456789")
		}
		return "", err
	}
	return cString(req[:nameSize]), nil
}

// buffer is the argument of an ioctl that points to a buffer.
func (s *Stack) buffer(op, name string, req uintptr, arg []byte, at int, buf []byte) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(buf) > 0 {
		pin.Pin(&buf[0])
		binary.NativeEndian.PutUint64(arg[at:], uint64(uintptr(unsafe.Pointer(&buf[0]))))
	}
	return s.ioctl(op, name, unix.AF_LOCAL, req, arg)
}

func (s *Stack) rename(name, to string) error {
	return s.buffer("rename", name, siocSIFName, ifreq(name, nil), ifreqArg, append([]byte(to), make([]byte, nameSize-len(to))...))
}

func (s *Stack) describe(name, text string) error {
	var buf []byte
	if text != "" {
		buf = append([]byte(text), 0)
	}
	req := ifreq(name, nil)
	binary.NativeEndian.PutUint64(req[ifreqLen:], uint64(len(buf)))
	return s.buffer("describe", name, siocSIFDescr, req, ifreqPtr, buf)
}

// descrMax is net.ifdescr_maxlen unless somebody has changed it.
const descrMax = 1024

func (s *Stack) description(name string) (string, error) {
	req, buf := ifreq(name, nil), make([]byte, descrMax)
	binary.NativeEndian.PutUint64(req[ifreqLen:], descrMax)
	err := s.buffer("description of", name, siocGIFDescr, req, ifreqPtr, buf)
	if errors.Is(err, unix.ENOMSG) {
		return "", nil // it has none
	}
	return cString(buf), err
}

func (s *Stack) setUp(name string, up bool) error {
	op := "down"
	if up {
		op = "up"
	}
	if err := checkName(op, name); err != nil {
		return err
	}
	req := ifreq(name, nil)
	if err := s.ioctl(op, name, unix.AF_LOCAL, siocGIFFlags, req); err != nil {
		return err
	}
	flags := binary.NativeEndian.Uint16(req[ifreqArg:])
	if (flags&flagUp != 0) == up {
		return nil
	}
	binary.NativeEndian.PutUint16(req[ifreqArg:], flags^flagUp)
	return s.ioctl(op, name, unix.AF_LOCAL, siocSIFFlags, req)
}

// family is the address family and the ioctl of an operation that has one for
// each.
func family(v4 bool, req4, req6 uintptr) (int, uintptr) {
	if v4 {
		return unix.AF_INET, req4
	}
	return unix.AF_INET6, req6
}

func (s *Stack) addAddr(name string, v4 bool, request []byte) error {
	af, req := family(v4, siocAIFAddr, siocAIFAddrV6)
	err := s.ioctl("add address to", name, af, req, request)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func (s *Stack) removeAddr(name string, v4 bool, request []byte) error {
	af, req := family(v4, siocDIFAddr, siocDIFAddrV6)
	return s.ioctl("remove address from", name, af, req, request)
}

func (s *Stack) tentative(name string, a netip.Addr) (bool, error) {
	const op = "look at address of"
	req, err := delRequest(name, a)
	if err != nil || a.Is4() {
		return false, err
	}
	if err := s.ioctl(op, name, unix.AF_INET6, siocGIFAFlagV6, req); err != nil {
		return false, err
	}
	flags := binary.NativeEndian.Uint32(req[ifreq6Addr:])
	if flags&duplicated6 != 0 {
		return false, &Error{Op: op, Name: name, Errno: unix.EADDRINUSE, Msg: "another machine has " + a.String()}
	}
	return flags&tentative6 != 0, nil
}

func (s *Stack) skipDAD(name string) error {
	const op = "skip address detection of"
	if err := checkName(op, name); err != nil {
		return err
	}
	req := make([]byte, ndireqSize)
	copy(req, name)
	if err := s.ioctl(op, name, unix.AF_INET6, siocGIFInfoV6, req); err != nil {
		return err
	}
	flags := binary.NativeEndian.Uint32(req[ndireqFlags:])
	binary.NativeEndian.PutUint32(req[ndireqFlags:], flags|noDAD)
	return s.ioctl(op, name, unix.AF_INET6, siocSIFInfoV6, req)
}

// bridgeCall does an operation of bridge(4).
func (s *Stack) bridgeCall(op, bridge string, ioctl uintptr, cmd uint64, arg []byte) error {
	req := make([]byte, ifdrvSize)
	copy(req, bridge)
	binary.NativeEndian.PutUint64(req[ifdrvCmd:], cmd)
	binary.NativeEndian.PutUint64(req[ifdrvLen:], uint64(len(arg)))
	return s.buffer(op, bridge, ioctl, req, ifdrvData, arg)
}

func (s *Stack) member(op, bridge, name string, cmd uint64) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	err := s.bridgeCall(op, bridge, siocSDrvSpec, cmd, ifbreq(name))
	if cmd == brdgAdd && errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// membersMax is more than a bridge can have.
const membersMax = 1 << 16

func (s *Stack) members(bridge string) ([]string, error) {
	for n := 64; ; n *= 2 {
		buf := make([]byte, n*ifbreqSize)
		var pin runtime.Pinner
		pin.Pin(&buf[0])
		conf := binary.NativeEndian.AppendUint64(nil, uint64(len(buf))) // struct ifbifconf
		conf = binary.NativeEndian.AppendUint64(conf, uint64(uintptr(unsafe.Pointer(&buf[0]))))
		err := s.bridgeCall("members of", bridge, siocGDrvSpec, brdgGIFs, conf)
		pin.Unpin()
		if err != nil {
			return nil, err
		}
		// The kernel fills what there is room for, and says how much it has filled.
		if got := int(binary.NativeEndian.Uint32(conf)); got < len(buf) || n > membersMax {
			return parseNames(buf[:got], ifbreqSize), nil
		}
	}
}

func (s *Stack) groups(name string) ([]string, error) {
	const op = "groups of"
	req := make([]byte, groupreqSize)
	copy(req, name)
	if err := s.buffer(op, name, siocGIFGroup, req, groupreqPtr, nil); err != nil {
		return nil, err
	}
	// Room for one more: groups may come and go. What is not filled stays empty.
	buf := make([]byte, binary.NativeEndian.Uint32(req[groupreqLen:])+nameSize)
	binary.NativeEndian.PutUint32(req[groupreqLen:], uint32(len(buf)))
	if err := s.buffer(op, name, siocGIFGroup, req, groupreqPtr, buf); err != nil {
		return nil, err
	}
	list := parseNames(buf, nameSize)
	return slices.DeleteFunc(list, func(g string) bool { return g == "" || g == "all" }), nil
}
