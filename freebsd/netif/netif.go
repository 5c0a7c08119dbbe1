// Package netif makes and configures network interfaces of FreeBSD: epairs,
// bridges, taps, addresses, routes, and the way of an interface into a VNET jail
// and back. It uses ioctl(2) and the routing socket, and runs no program.
//
// # Words
//
// A [Stack] is a network stack (vnet): that of the calling process, or that of a
// jail with vnet=new. Interfaces, addresses and routes belong to one stack; a
// stack is born with a lo0 that is down and has no address. An epair is a cable
// with two ends, epairNa and epairNb, which go together.
//
// # One story
//
//	var host netif.Stack                            // the caller's own
//	a, err := host.Create("epair")                  // "epair0a"
//	b := strings.TrimSuffix(a, "a") + "b"
//	err = host.AddMember("xc0", a)                  // a bridge
//	err = host.Up(a)
//	err = host.Move(b, jid)                         // its addresses would be lost: configure it there
//
//	in, err := netif.Enter(jid)                     // sockets made in the jail; the caller stays outside
//	defer in.Close()                                // the jail cannot die before
//	err = in.Rename(b, "eth0")
//	err = in.Up("eth0")
//	err = in.AddAddr("eth0", netip.MustParsePrefix("10.0.0.2/24"))
//	err = in.AddRoute(netif.Default(netip.MustParseAddr("10.0.0.1")))
//
// # Lists
//
// [Stack.Interfaces] and [Stack.Routes] of the caller's own stack work on every
// BSD. All else returns [errors.ErrUnsupported] elsewhere.
package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Stack is a network stack. The zero value is that of the calling process. It is
// safe for concurrent use, but for Close.
type Stack struct {
	in *inside // nil: the caller's own
}

// Interface is what one wants to know of an interface at a glance.
type Interface struct {
	Name  string
	Index int
	MTU   int // bytes
	Up    bool
	MAC   net.HardwareAddr // nil where there is none
	Addrs []netip.Prefix   // link-local ones with the interface's name as zone
}

// Route is a way to a destination: by a gateway, or through an interface.
type Route struct {
	Dst       netip.Prefix // a default route is 0.0.0.0/0 or ::/0
	Gateway   netip.Addr   // invalid: directly through Interface
	Interface string       // when adding: needed only without a gateway, or for a link-local one
}

// Default is the default route by a gateway.
func Default(gateway netip.Addr) Route {
	if gateway.Is4() {
		return Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: gateway}
	}
	return Route{Dst: netip.MustParsePrefix("::/0"), Gateway: gateway}
}

// Error is something that could not be done to an interface, a route or a stack.
type Error struct {
	Op    string // "create", "up", "add address", "enter", ...
	Name  string // of the interface; the route or the jail
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

// Unwrap returns the errno: ENOENT for an interface that does not exist, EEXIST
// for a name that is taken.
func (e *Error) Unwrap() error { return e.Errno }

// Enter returns the network stack of a jail that has its own (vnet=new). The
// caller does not enter the jail; it gets sockets that a child has made in there.
// They keep the jail from dying: close the stack soon.
func Enter(jid int) (*Stack, error) {
	if jid <= 0 {
		return nil, &Error{Op: "enter", Name: fmt.Sprintf("jail %d", jid), Errno: syscall.EINVAL, Msg: "not the number of a jail"}
	}
	in, err := enter(jid)
	if err != nil {
		return nil, err
	}
	return &Stack{in: in}, nil
}

// Close gives the sockets in a jail back. It may be called twice.
func (s *Stack) Close() error {
	if s == nil || s.in == nil {
		return nil
	}
	return s.in.close()
}

// Create makes an interface of a kind, such as "epair", "bridge", "tap" or "tun",
// and returns its name; of an epair that of the first end, which ends with an a.
// A kind with a number, such as "epair7", asks for that very one: EEXIST if it is
// there. EINVAL: the kernel does not know the kind; its module is to be loaded.
func (s *Stack) Create(kind string) (string, error) {
	if err := checkName("create", kind); err != nil {
		return "", err
	}
	return s.create(kind)
}

// Destroy destroys an interface; with one end of an epair the other one too,
// wherever it is.
func (s *Stack) Destroy(name string) error {
	return s.simple("destroy", name, siocIFDestroy, nil)
}

// Rename gives an interface another name: up to 15 bytes.
func (s *Stack) Rename(name, to string) error {
	if err := checkName("rename", to); err != nil {
		return err
	}
	return s.rename(name, to)
}

// Describe sets the text that ifconfig(8) shows as description.
func (s *Stack) Describe(name, text string) error { return s.describe(name, text) }

// Description returns that text, or "".
func (s *Stack) Description(name string) (string, error) { return s.description(name) }

// Up brings an interface up.
func (s *Stack) Up(name string) error { return s.setUp(name, true) }

// Down takes an interface down. Its addresses stay.
func (s *Stack) Down(name string) error { return s.setUp(name, false) }

// SetMTU sets the largest packet an interface sends, in bytes. That of a bridge
// is set on all its members.
func (s *Stack) SetMTU(name string, bytes int) error {
	return s.simple("set mtu of", name, siocSIFMTU, intArg(bytes))
}

// SetMAC sets the Ethernet address.
func (s *Stack) SetMAC(name string, mac net.HardwareAddr) error {
	const op = "set address of"
	if len(mac) != 6 || mac[0]&1 != 0 {
		return &Error{Op: op, Name: name, Errno: syscall.EINVAL, Msg: fmt.Sprintf("%v is no Ethernet address of one interface", mac)}
	}
	return s.simple(op, name, siocSIFLLAddr, linkArg(mac))
}

// AddAddr gives an interface an address with the length of its network. One that
// it has already is no error. An IPv6 address is tentative until duplicate address
// detection is through, about a second, and cannot be bound before; see SkipDAD.
func (s *Stack) AddAddr(name string, p netip.Prefix) error {
	req, err := addrRequest(name, p)
	if err != nil {
		return err
	}
	return s.addAddr(name, p.Addr().Is4(), req)
}

// RemoveAddr takes an address away, whatever its length. One that the interface
// does not have is EADDRNOTAVAIL.
func (s *Stack) RemoveAddr(name string, a netip.Addr) error {
	req, err := delRequest(name, a)
	if err != nil {
		return err
	}
	return s.removeAddr(name, a.Is4(), req)
}

// Tentative tells whether an IPv6 address of an interface is not usable yet; with
// EADDRINUSE that another machine has it.
func (s *Stack) Tentative(name string, a netip.Addr) (bool, error) { return s.tentative(name, a) }

// SkipDAD makes IPv6 addresses that are given to an interface from now on usable
// at once: for addresses of which it is known that nobody else has them.
func (s *Stack) SkipDAD(name string) error { return s.skipDAD(name) }

// AddMember adds an interface to a bridge. One that is in it already is no error.
func (s *Stack) AddMember(bridge, name string) error {
	return s.member("add "+name+" to", bridge, name, brdgAdd)
}

// RemoveMember removes an interface from a bridge. ENOENT: it is not in it.
func (s *Stack) RemoveMember(bridge, name string) error {
	return s.member("remove "+name+" from", bridge, name, brdgDel)
}

// Members returns the interfaces in a bridge.
func (s *Stack) Members(bridge string) ([]string, error) { return s.members(bridge) }

// Move lends an interface of this stack to the stack of a jail, where it comes
// without addresses and down. It returns home when the jail dies.
func (s *Stack) Move(name string, jid int) error {
	return s.simple("move to jail", name, siocSIFVnet, intArg(jid))
}

// Return takes an interface back from the stack of a jail.
func (s *Stack) Return(name string, jid int) error {
	return s.simple("return from jail", name, siocSIFRVnet, intArg(jid))
}

// AddRoute adds a route; EEXIST if it is there. Routes to one destination by
// several gateways share the traffic (net.route.multipath).
func (s *Stack) AddRoute(r Route) error { return s.route("add", r) }

// RemoveRoute removes a route; ESRCH if there is none.
func (s *Stack) RemoveRoute(r Route) error { return s.route("remove", r) }

// Interfaces returns the interfaces in the order the kernel has them.
func (s *Stack) Interfaces() ([]Interface, error) { return s.interfaces(0) }

// Interface returns one of them.
func (s *Stack) Interface(name string) (Interface, error) { return s.lookup(name) }

// Groups returns the groups that an interface is in. The first one of an
// interface that was made by Create is its kind: "epair", "bridge".
func (s *Stack) Groups(name string) ([]string, error) { return s.groups(name) }

// Routes returns the routes of both families, without the entries for the
// addresses of the stack itself and of its neighbours.
func (s *Stack) Routes() ([]Route, error) { return s.routes() }

// Loopback brings lo0 up with 127.0.0.1/8 and, if the kernel has IPv6, ::1/128.
// It may be called again.
func (s *Stack) Loopback() error {
	const lo = "lo0"
	if err := s.Up(lo); err != nil {
		return err
	}
	if err := s.AddAddr(lo, netip.MustParsePrefix("127.0.0.1/8")); err != nil {
		return err
	}
	err := s.AddAddr(lo, netip.MustParsePrefix("::1/128"))
	if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) {
		return nil
	}
	return err
}
