package api

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Ports publishes ports of containers on the host. Those of ContainerSpec.Publish
// are published at each start; what is changed here lasts until the container
// ends. A name parameter takes a container's name or id.
type Ports interface {
	// PublishPorts publishes more ports of a container that runs, all or none, and
	// returns them with what was chosen. The error matches fs.ErrExist when a port
	// is published already.
	PublishPorts(ctx context.Context, name string, ports []Port) ([]Port, error)
	// UnpublishPorts ends that of a container that runs: each port is found by
	// protocol, first port on the host and, if given, address. Connections that
	// there are go on. The error matches fs.ErrNotExist when one is not published.
	UnpublishPorts(ctx context.Context, name string, ports []Port) error
	// PublishedPorts tells what a running container publishes, and how often it
	// was called.
	PublishedPorts(ctx context.Context, name string) ([]PublishedPort, error)
}

// Port publishes ports of a container on the host.
type Port struct {
	Protocol string `json:"protocol,omitempty"` // tcp, udp or sctp; empty: tcp
	// Host is the address of the host that is called; not given: each it has, of
	// both families.
	Host netip.Addr `json:"host,omitzero"`
	// Interface is that of the host where calls come in; empty: any. The host
	// itself cannot call then.
	Interface string `json:"interface,omitempty"`
	// HostPort to HostEnd are the ports of the host, for Port to End; HostEnd 0 is
	// as many. Without HostPort each gets one that is free. Of more than one, for
	// one port of the container, the first that is free is taken.
	HostPort uint16         `json:"host_port,omitempty"`
	HostEnd  uint16         `json:"host_end,omitempty"`
	Port     uint16         `json:"port"`              // in the container
	End      uint16         `json:"end,omitempty"`     // 0: Port
	Sources  []netip.Prefix `json:"sources,omitempty"` // who may call; empty: anyone
}

// PublishedPort is a port that is published.
type PublishedPort struct {
	Port       Port   `json:"port"`
	Redirected uint64 `json:"redirected"` // connections, and sessions of UDP, from outside
	Local      uint64 `json:"local"`      // those that came through the proxy: from the host itself
}

// String is how a port is written for xc run -p, with sources and interface
// behind.
func (p Port) String() string {
	var b strings.Builder
	if p.Host.IsValid() {
		b.WriteString(strings.TrimSuffix(net.JoinHostPort(p.Host.String(), ""), ":") + ":")
	}
	if p.HostPort != 0 || p.Host.IsValid() {
		b.WriteString(p.HostRange() + ":")
	}
	b.WriteString(portRange(p.Port, p.End) + "/" + p.Proto())
	if p.Interface != "" {
		b.WriteString(" on " + p.Interface)
	}
	for i, s := range p.Sources {
		sep := ","
		if i == 0 {
			sep = " from "
		}
		b.WriteString(sep + s.String())
	}
	return b.String()
}

// Proto is the protocol.
func (p Port) Proto() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// Count is how many ports of the container there are.
func (p Port) Count() int { return int(max(p.End, p.Port)-p.Port) + 1 }

// HostRange is HostPort to HostEnd in words; "" when the host's port is chosen.
func (p Port) HostRange() string {
	if p.HostPort == 0 {
		return ""
	}
	return portRange(p.HostPort, p.HostEnd)
}

func portRange(first, last uint16) string {
	if last <= first {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}
