// Package netif makes and configures the network interfaces of Linux: bridges,
// pairs of veth(4), addresses, routes, by messages of rtnetlink(7) of its own. It
// runs no program.
//
// A [Conn] belongs to the network namespace it was opened in, wherever its user
// goes later, so that one program can work in several:
//
//	host, err := netif.Open()
//	inside, err := netif.OpenIn(namespace) // *os.File of /proc/PID/ns/net
//	err = host.AddBridge(netif.Bridge{Name: "xc0"})
//	err = inside.AddVeth(netif.Veth{Name: "eth0", Peer: netif.End{Name: "xc-web", Namespace: here}})
//	err = host.Set("xc-web", netif.Change{Master: "xc0", Up: netif.Yes})
//	err = inside.Set("eth0", netif.Change{Up: netif.Yes})
//	err = inside.AddAddr("eth0", netip.MustParsePrefix("10.1.0.2/16"))
//	err = inside.AddRoute(netif.Route{Gateway: netip.MustParseAddr("10.1.0.1")})
//
// On other systems every call returns [errors.ErrUnsupported].
package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Interface is what one wants to know of an interface at a glance.
type Interface struct {
	Name   string
	Index  int
	Kind   string // "bridge", "veth", …; "" for one of hardware, and for lo
	MTU    int    // bytes
	MAC    net.HardwareAddr
	Up     bool
	Master int    // index of the bridge it is a port of; 0: of none
	Alias  string // a line for people
	Addrs  []netip.Prefix
}

// Bridge says how a bridge is to be.
type Bridge struct {
	Name string
	// MAC stays when ports come and go. Without it the bridge has the lowest of
	// its ports', and whoever knows it by the last one does not reach it.
	MAC net.HardwareAddr
	MTU int // bytes; 0: 1500
}

// End is one end of a pair.
type End struct {
	Name      string
	MAC       net.HardwareAddr // nil: a random one
	MTU       int              // bytes; 0: 1500
	Namespace *os.File         // the network namespace it is made in; nil: that of the Conn
}

// Veth is a pair of interfaces: what goes into one comes out of the other. They
// are made down, and when one is removed both are.
type Veth struct {
	End
	Peer End
}

// Switch is a setting that may be left alone, as its zero value does.
type Switch int

// Values of a Switch.
const (
	Yes Switch = 1
	No  Switch = -1
)

// Change is what [Conn.Set] changes of an interface; zero values change nothing.
type Change struct {
	Name      string // rename it, which it must be down for
	Up        Switch
	MTU       int
	MAC       net.HardwareAddr
	Alias     string   // a line for people, 255 bytes at the most
	Master    string   // make it a port of this bridge
	Free      bool     // make it a port of none
	Namespace *os.File // move it into this network namespace, down and without addresses
}

// Route says where packets go.
type Route struct {
	Prefix  netip.Prefix // to these addresses; the zero value: to all of Gateway's family
	Gateway netip.Addr   // by this one; invalid: they are on the link
	Name    string       // interface; may be empty when there is a gateway
}

// Error is something that could not be done to an interface.
type Error struct {
	Op    string // "add bridge", "set", "address", …
	Name  string
	Errno syscall.Errno
	Msg   string // the kernel's, where it gives one
}

func (e *Error) Error() string {
	s := e.Op + " " + e.Name + ": "
	if e.Msg != "" {
		s += e.Msg + ": "
	}
	return s + e.Errno.Error()
}

// Unwrap returns the errno. It is ENOENT where there is no such interface, so
// that errors.Is finds fs.ErrNotExist.
func (e *Error) Unwrap() error { return e.Errno }

// Conn is a connection to a network namespace. It is safe for concurrent use.
type Conn struct {
	mu   sync.Mutex // one request at a time
	sock socket
}

// Open opens the network namespace of the calling thread.
func Open() (*Conn, error) {
	s, err := openSocket(nil)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &Conn{sock: s}, nil
}

// OpenIn opens a network namespace by a file of it, such as /proc/PID/ns/net.
func OpenIn(namespace *os.File) (*Conn, error) {
	s, err := openSocket(namespace)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &Conn{sock: s}, nil
}

// Close closes the connection. Closing it twice is fine.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.close()
}

// do sends a request and returns the bodies of the answers.
func (c *Conn) do(op, name string, r request) ([]answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := c.sock.exchange(r)
	if err == nil {
		return list, nil
	}
	var refusal *refused
	if !errors.As(err, &refusal) {
		return nil, fmt.Errorf("%s %s: %w", op, name, err)
	}
	e := &Error{Op: op, Name: name, Errno: refusal.errno, Msg: refusal.msg}
	if e.Errno == syscall.ENODEV {
		e.Errno, e.Msg = syscall.ENOENT, "no such interface in this network namespace"
	}
	return nil, e
}

// Lookup returns the interface of that name; fs.ErrNotExist when there is none.
// Its Addrs are not filled in.
func (c *Conn) Lookup(name string) (Interface, error) {
	if err := checkName("look up", name); err != nil {
		return Interface{}, err
	}
	list, err := c.do("look up", name, getLink(name))
	if err != nil {
		return Interface{}, err
	}
	for _, a := range list {
		if i, ok := parseLink(a); ok {
			return i, nil
		}
	}
	return Interface{}, &Error{Op: "look up", Name: name, Errno: syscall.ENOENT}
}

// List returns the interfaces with their addresses, by index.
func (c *Conn) List() ([]Interface, error) {
	links, err := c.do("list", "interfaces", dump(rtmGetLink, sizeLink))
	if err != nil {
		return nil, err
	}
	addrs, err := c.do("list", "addresses", dump(rtmGetAddr, sizeAddr))
	if err != nil {
		return nil, err
	}
	var list []Interface
	at := map[int]int{}
	for _, a := range links {
		if i, ok := parseLink(a); ok {
			at[i.Index] = len(list)
			list = append(list, i)
		}
	}
	for _, a := range addrs {
		index, p, ok := parseAddr(a)
		if n, known := at[index]; ok && known {
			list[n].Addrs = append(list[n].Addrs, p)
		}
	}
	return list, nil
}

// AddBridge makes a bridge, which is down.
func (c *Conn) AddBridge(b Bridge) error {
	if err := checkName("add bridge", b.Name); err != nil {
		return err
	}
	_, err := c.do("add bridge", b.Name, newBridge(b))
	return err
}

// AddVeth makes a pair.
func (c *Conn) AddVeth(v Veth) error {
	if err := errors.Join(checkName("add pair", v.Name), checkName("add pair", v.Peer.Name)); err != nil {
		return err
	}
	_, err := c.do("add pair", v.Name, newVeth(v))
	return err
}

// Delete removes an interface that was made; its pair goes with it.
func (c *Conn) Delete(name string) error {
	if err := checkName("delete", name); err != nil {
		return err
	}
	_, err := c.do("delete", name, deleteLink(name))
	return err
}

// Set changes an interface.
func (c *Conn) Set(name string, ch Change) error {
	link, err := c.Lookup(name)
	if err != nil {
		return err
	}
	master := 0
	if ch.Master != "" {
		m, err := c.Lookup(ch.Master)
		if err != nil {
			return err
		}
		master = m.Index
	}
	if ch.Name != "" {
		if err := checkName("rename to", ch.Name); err != nil {
			return err
		}
	}
	_, err = c.do("set", name, setLink(link.Index, master, ch))
	return err
}

// Hairpin lets a bridge send out by one of its ports what has come in by it, which
// it needs to where netfilter changes addresses on the bridge (br_netfilter).
func (c *Conn) Hairpin(port string) error {
	link, err := c.Lookup(port)
	if err != nil {
		return err
	}
	_, err = c.do("hairpin", port, hairpin(link.Index))
	return err
}

// AddAddr gives an interface an address with the length of its network. One that
// it has already is no error. It is used at once: whether somebody else on the
// link has it (duplicate address detection of v6) is not asked.
func (c *Conn) AddAddr(name string, p netip.Prefix) error {
	err := c.address("add address", name, p, rtmNewAddr)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// DeleteAddr takes an address from an interface.
func (c *Conn) DeleteAddr(name string, p netip.Prefix) error {
	return c.address("delete address", name, p, rtmDelAddr)
}

func (c *Conn) address(op, name string, p netip.Prefix, kind uint16) error {
	if !p.IsValid() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
		return &Error{Op: op, Name: name, Errno: syscall.EINVAL, Msg: fmt.Sprintf("%v is no address with a length", p)}
	}
	link, err := c.Lookup(name)
	if err != nil {
		return err
	}
	_, err = c.do(op+" "+p.String(), name, changeAddr(kind, link.Index, p))
	return err
}

// AddRoute adds a route. One that is there already is fs.ErrExist.
func (c *Conn) AddRoute(r Route) error { return c.route("add", r, rtmNewRoute) }

// DeleteRoute removes a route.
func (c *Conn) DeleteRoute(r Route) error { return c.route("delete", r, rtmDelRoute) }

func (c *Conn) route(op string, r Route, kind uint16) error {
	if !r.Prefix.IsValid() && r.Gateway.IsValid() {
		all, err := r.Gateway.Prefix(0)
		if err != nil {
			return err
		}
		r.Prefix = all
	}
	if !r.Prefix.IsValid() || r.Gateway.IsValid() && r.Gateway.Is4() != r.Prefix.Addr().Is4() {
		return &Error{Op: op + " route", Name: r.Name, Errno: syscall.EINVAL, Msg: "a route is to a prefix, by a gateway of its family or on a link"}
	}
	index := 0
	if r.Name != "" {
		link, err := c.Lookup(r.Name)
		if err != nil {
			return err
		}
		index = link.Index
	}
	_, err := c.do(op+" route to "+r.Prefix.String(), r.Name, changeRoute(kind, index, r))
	return err
}

// Routes returns the unicast routes of the main table.
func (c *Conn) Routes() ([]Route, error) {
	links, err := c.do("list", "interfaces", dump(rtmGetLink, sizeLink))
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, a := range links {
		if i, ok := parseLink(a); ok {
			names[i.Index] = i.Name
		}
	}
	answers, err := c.do("list", "routes", dump(rtmGetRoute, sizeRoute))
	if err != nil {
		return nil, err
	}
	var list []Route
	for _, a := range answers {
		if r, index, ok := parseRoute(a); ok {
			r.Name = names[index]
			list = append(list, r)
		}
	}
	return list, nil
}

// Loopback brings up lo, which is down in a new network namespace. The kernel
// adds 127.0.0.1/8 and ::1 by itself.
func (c *Conn) Loopback() error { return c.Set("lo", Change{Up: Yes}) }

// nameSize is IFNAMSIZ, the room for a name with its NUL.
const nameSize = 16

func checkName(op, name string) error {
	if name == "" || name == "." || name == ".." || len(name) >= nameSize || strings.ContainsAny(name, "/:\x00 \t\n") {
		return &Error{Op: op, Name: fmt.Sprintf("%q", name), Errno: syscall.EINVAL, Msg: "not a name of an interface"}
	}
	return nil
}
