package api

import (
	"context"
	"net/netip"
	"time"
)

// Networks makes networks that containers connect to. A name parameter takes a
// network's name or its id.
type Networks interface {
	// CreateNetwork makes a network. The error matches fs.ErrExist when the name,
	// the bridge or some of the addresses are another network's or the host's.
	CreateNetwork(ctx context.Context, spec NetworkSpec) (Network, error)
	// ListNetworks lists networks by name.
	ListNetworks(ctx context.Context) ([]Network, error)
	// InspectNetwork returns one network.
	InspectNetwork(ctx context.Context, name string) (Network, error)
	// RemoveNetwork removes a network that no container, running or not, is
	// connected to.
	RemoveNetwork(ctx context.Context, name string) error
	// PruneNetworks removes the networks that no container is connected to, but
	// for NetworkDefault. One that cannot be removed keeps no other, and is told of
	// in the result.
	PruneNetworks(ctx context.Context) (PrunedNetworks, error)
}

// PrunedNetworks is what a prune has removed.
type PrunedNetworks struct {
	Names  []string `json:"names"`
	Failed []string `json:"failed,omitempty"` // which could not be removed, and why
}

// Names of networks with a meaning of their own.
const (
	NetworkNone    = "none"    // a network stack of its own with the loopback interface only; there is always one
	NetworkHost    = "host"    // the host's network stack; there is always one
	NetworkDefault = "default" // a network, if there is one: of containers that name none
)

// NetworkSpec says what a network is to be.
type NetworkSpec struct {
	Name    string            `json:"name"`
	Bridge  string            `json:"bridge,omitempty"`  // a bridge of the host, which stays as it is; empty without Alias: one that xc makes
	Alias   string            `json:"alias,omitempty"`   // FreeBSD: an interface of the host for the addresses of containers without a stack of their own
	MTU     int               `json:"mtu,omitempty"`     // of containers' interfaces, bytes; 0: the bridge's
	Subnets []Subnet          `json:"subnets,omitempty"` // a container gets an address of each; none: chosen for a bridge that xc makes
	Labels  map[string]string `json:"labels,omitempty"`
}

// Subnet is where addresses come from.
type Subnet struct {
	Prefix netip.Prefix `json:"prefix"`
	// Gateway is where containers' default routes lead. On a bridge that xc makes
	// it is the bridge's address, and the first of the prefix when not given; on
	// any other there is none when not given.
	Gateway netip.Addr `json:"gateway,omitzero"`
	// First and Last limit what is handed out; zero: the whole prefix.
	First netip.Addr `json:"first,omitzero"`
	Last  netip.Addr `json:"last,omitzero"`
}

// Network is a network as ls and inspect show it.
type Network struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Bridge     string            `json:"bridge,omitempty"`
	Own        bool              `json:"own,omitempty"` // xc has made the bridge
	Alias      string            `json:"alias,omitempty"`
	MTU        int               `json:"mtu,omitempty"`
	Subnets    []Subnet          `json:"subnets"`
	Labels     map[string]string `json:"labels,omitempty"`
	Created    time.Time         `json:"created"` // UTC
	Containers []Member          `json:"containers,omitempty"`
}

// Member is a container that is connected to a network.
type Member struct {
	ID    string         `json:"id"`
	Name  string         `json:"name"`
	Addrs []netip.Prefix `json:"addrs,omitempty"` // while it runs; those it asked for at any time
}

// Attachment connects a container to a network.
type Attachment struct {
	Network string       `json:"network"`
	Addrs   []netip.Addr `json:"addrs,omitempty"` // it has these at any time, one of a subnet at the most; of the other subnets it gets one at each start
	MAC     string       `json:"mac,omitempty"`   // of its interface, as 02:00:00:00:00:01; empty: made of its id
}

// HostEntry is a line of /etc/hosts.
type HostEntry struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr,omitzero"` // zero: this host, by the gateways of the container's networks
}

// DNS says how names are looked up: resolv.conf(5). What is empty is as on the
// host.
type DNS struct {
	Servers []netip.Addr `json:"servers,omitempty"`
	Search  []string     `json:"search,omitempty"` // domains; ".": none
	Options []string     `json:"options,omitempty"`
}

// Connection is an attachment as inspect shows it.
type Connection struct {
	Network   string         `json:"network"`
	Interface string         `json:"interface,omitempty"` // in the container
	MAC       string         `json:"mac,omitempty"`
	Addrs     []netip.Prefix `json:"addrs,omitempty"` // while it runs; those it asked for at any time
	Gateways  []netip.Addr   `json:"gateways,omitempty"`
	Main      netip.Addr     `json:"main,omitzero"` // the address the container is known by, if it is one of these
}
