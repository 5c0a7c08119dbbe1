// Package proxy serves what no redirection reaches: calls that this host makes to
// its own published ports. A redirection (rdr of pf, DNAT of nftables) sees what
// comes in by an interface; what the host sends to itself does not. So each site
// that publishes ports has a small process that listens on them and passes on what
// comes.
//
// The process outlives the daemon and opens nothing: it is given the sockets that
// it listens on, bound by the daemon, and gives up being root. On Linux the bytes of
// a connection go from socket to socket by splice(2), which the net package does.
// TCP keeps half-closed connections, and passes a reset on; UDP has a session for
// each caller, until it has been silent for a while. Both are bounded.
//
// [Main] is the process, [Proxy] what it answers:
//
//	cmd := exec.Cmd{Path: program, Args: []string{"xc-proxy", proxy.Arg, id}, ExtraFiles: []*os.File{listener}}
//	...
//	p := proxy.ProxyClient{C: client}
//	err := p.Add(ctx, []proxy.Forward{{Listener: bound, Protocol: "tcp", Target: target}})
//	err = p.Abandon(ctx)
package proxy

import (
	"context"
	"net/netip"
	"os"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Proxy

// Proxy is what the process answers. Daemon and process may be of different
// releases: fields and methods are only ever added.
type Proxy interface {
	// Add serves more sockets, all or none.
	Add(ctx context.Context, forwards []Forward) error
	// Remove stops listening on the sockets of a key. Connections that there are
	// go on; sessions of UDP do not. None is no error.
	Remove(ctx context.Context, key string) error
	// State tells what is served.
	State(ctx context.Context) (State, error)
	// Abandon ends everything, the process included.
	Abandon(ctx context.Context) error
}

// MaxForwards is how many sockets one call of Add may bring: those that one
// message of ipc carries.
const MaxForwards = 64

// Forward is a socket to serve.
type Forward struct {
	Listener *os.File       `json:"listener"` // a TCP socket that listens, or a UDP socket; bound
	Protocol string         `json:"protocol"` // tcp or udp
	Target   netip.AddrPort `json:"target"`
	Sources  []netip.Prefix `json:"sources,omitempty"` // who may call; empty: anyone
	Key      string         `json:"key"`               // of what is published: for Remove and State
}

// State is what a proxy does.
type State struct {
	PID    int               `json:"pid"`
	Open   int               `json:"open"`   // connections and sessions, now
	Served map[string]uint64 `json:"served"` // connections and sessions so far, by key of what is served
}
