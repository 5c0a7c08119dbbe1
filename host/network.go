package host

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
)

// What a container has of networks, the engine says in its Spec: Network tells
// whose network stack it has, Interfaces what is in it. The engine has chosen
// every address, route and name by then; the host only makes them.
//
// The steps of Run make an interface before the run loop, and main after all of
// it: what main sees is complete. Each is of the run stack, undone at every stop
// in any order of failures, and checks that what it destroys is ours: by its
// name, which has the tag in it, and its kind. Two shapes:
//
//   - A stack of its own (NetworkOwn): a pair of interfaces, one end a port of
//     the bridge, called as ifName says, the other in the container, called
//     Interface.Name, with MAC, MTU, addresses, routes.
//   - The host's stack, restricted (NetworkAlias, FreeBSD): the addresses are
//     added to Interface.Alias, and are the only ones the jail may use.
//
// After the interfaces and before the run loop come the published ports; see
// [Publish].

// Values of Spec.Network.
const (
	NetworkOwn   = "none"  // a stack of its own: the loopback interface and Interfaces
	NetworkHost  = "host"  // the host's; no Interfaces
	NetworkAlias = "alias" // FreeBSD: the host's, of which it may use the addresses of Interfaces
)

// MaxInterfaces is how many a container may have.
const MaxInterfaces = 16

// Interface connects a container to a network.
type Interface struct {
	Network string // its name; of the table of its addresses as well: xc:network:NAME
	Bridge  string // NetworkOwn: the bridge on this host that it is a port of
	Alias   string // NetworkAlias: the interface of this host that gets Addrs
	Name    string // NetworkOwn: what it is called in the container
	MAC     net.HardwareAddr
	MTU     int            // bytes; 0: the bridge's
	Addrs   []netip.Prefix // each with the length of its subnet
	// Gateways are where default routes lead. There is at most one of each family
	// in all Interfaces of a container.
	Gateways []netip.Addr
	Main     bool // has the address the container is known by; exactly one has
}

// Publish makes ports of this host ports of a container, in one family: to all
// that reach the host by it, from Sources. First to Last and as many from
// TargetFirst on are the same ports.
type Publish struct {
	Protocol    string         // tcp or udp
	Addr        netip.Addr     // of this host; invalid: each it has
	Interface   string         // of this host, where it comes in; empty: any
	First, Last uint16         // on this host, both included
	Target      netip.Addr     // the container's
	Subnet      netip.Prefix   // that Target is in: calls from there need a way back
	TargetFirst uint16         // in the container
	Sources     []netip.Prefix // who may; empty: all
}

// Network is what of this host a network is made of. MakeNetwork makes it, or
// looks that it is there, and may be called again; RemoveNetwork removes what
// MakeNetwork has made. The engine's record of the network comes before and ends
// after them: it is the journal of both.
type Network struct {
	Name   string // in messages
	Bridge string // "" if there is none
	Alias  string // FreeBSD: an interface of the host; "" if there is none
	// Own: the bridge is xc's own (see BridgeName), with MTU (0: 1500) and Addrs.
	// Otherwise it is the operator's and is left as it is.
	Own   bool
	MTU   int
	Addrs []netip.Prefix
}

// ifName is the name on this host of the n-th interface of a container: the
// tag, 40 bits of the id, and a digit, which is all there is room for.
func (h *Host) ifName(id string, n int) string {
	return h.cfg.Tag + id[1:9] + string("0123456789abcdef"[n])
}

// BridgeName is the name of a bridge of xc's own, for the network with this id.
func (h *Host) BridgeName(id string) string { return h.cfg.Tag + id[1:9] + "n" }

// ourName tells whether an interface's name is one that only we give.
func (h *Host) ourName(name string) bool {
	return len(name) == len(h.cfg.Tag)+9 && strings.HasPrefix(name, h.cfg.Tag)
}

// ownerOf is the id among ids of the container or network that an interface of
// ours belongs to; "" if there is none.
func (h *Host) ownerOf(name string, ids map[string]bool) string {
	for id := range ids {
		if len(id) > 9 && name[:len(name)-1] == h.cfg.Tag+id[1:9] {
			return id
		}
	}
	return ""
}

// MAC makes an address of words that no other words have, for all that is
// known: one that is administered locally (IEEE 802, the second bit).
func MAC(words ...string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(strings.Join(words, " ")))
	sum[0] = sum[0]&^3 | 2
	return sum[:6]
}

// checkSpec tells what of networks does not fit together in a Spec.
func checkSpec(s Spec) error {
	switch {
	case len(s.Interfaces) > MaxInterfaces:
		return fmt.Errorf("%d networks: %w: %d at the most", len(s.Interfaces), fs.ErrInvalid, MaxInterfaces)
	case s.Network == NetworkHost && len(s.Interfaces) > 0:
		return fmt.Errorf("network %s: %w: it is the host's own", s.Network, fs.ErrInvalid)
	}
	return nil
}
