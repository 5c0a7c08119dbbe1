package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
)

// maxProxied is how many ports of a range the proxy serves: each is a socket.
const maxProxied = 1024

// maxPublished is how many entries a container may publish.
const maxPublished = 1024

// planPorts checks the ports that a container is to publish and adds those that
// its image exposes.
func (e *Engine) planPorts(p *plan, img api.Image) error {
	spec := p.Spec
	p.Ports = nil
	for _, port := range spec.Publish {
		list, err := checkPort(port, spec.NoLocalProxy)
		if err != nil {
			return err
		}
		if err := e.checkInterface(port); err != nil {
			return err
		}
		p.Ports = append(p.Ports, list...)
	}
	if spec.PublishAll {
		for _, text := range img.ExposedPorts {
			list, err := exposedPorts(text)
			if err != nil {
				return err
			}
			for _, port := range list {
				if !slices.ContainsFunc(p.Ports, port.covers) {
					p.Ports = append(p.Ports, port.Port)
				}
			}
		}
	}
	switch {
	case len(p.Ports) == 0:
		return nil
	case len(p.Ports) > maxPublished:
		return fmt.Errorf("%d published ports: %w: %d at the most", len(p.Ports), fs.ErrInvalid, maxPublished)
	case p.Network == host.NetworkHost:
		return fmt.Errorf("published port %s: %w: the container has the host's network, its ports are the host's", p.Ports[0], fs.ErrInvalid)
	case len(p.Networks) == 0:
		return fmt.Errorf("published port %s: %w: the container is on no network: see xc network create, and --network", p.Ports[0], fs.ErrInvalid)
	}
	for i, a := range p.Ports {
		for _, b := range p.Ports[:i] {
			if overlap(a, b) {
				return fmt.Errorf("published ports %s and %s: %w: they overlap", b, a, fs.ErrInvalid)
			}
		}
	}
	return nil
}

// exposedPort is a port that an image exposes.
type exposedPort struct{ api.Port }

// covers tells whether a published port leads to it already.
func (x exposedPort) covers(p api.Port) bool {
	return p.Proto() == x.Proto() && p.Port <= x.Port.Port && x.Port.Port <= max(p.End, p.Port)
}

// exposedPorts reads PORT[-END][/PROTOCOL] of an image's configuration.
func exposedPorts(text string) ([]exposedPort, error) {
	if !portRule.MatchString(text) {
		return nil, fmt.Errorf("the image exposes %q: %w: expected PORT or PORT/PROTOCOL", text, fs.ErrInvalid)
	}
	ports, protocol, _ := strings.Cut(text, "/")
	first, last, ranged := strings.Cut(ports, "-")
	if !ranged {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err := errors.Join(err, err2); err != nil || a == 0 || b < a || b-a >= maxPublished {
		return nil, fmt.Errorf("the image exposes %q: %w: no port", text, fs.ErrInvalid)
	}
	var list []exposedPort
	for n := a; n <= b; n++ {
		list = append(list, exposedPort{api.Port{Protocol: protocol, Port: uint16(n)}})
	}
	return list, nil
}

// checkPort completes a port. Of a range without ports of the host it makes as
// many ports.
func checkPort(p api.Port, noProxy bool) ([]api.Port, error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("published port %s: %w: "+format, append([]any{p, fs.ErrInvalid}, a...)...)
	}
	p.Protocol, p.Host = p.Proto(), p.Host.Unmap()
	if p.End == 0 {
		p.End = p.Port
	}
	switch p.Protocol {
	case "tcp", "udp", "sctp":
	default:
		return nil, bad("protocol %q is none of tcp, udp, sctp", p.Protocol)
	}
	if p.Port == 0 || p.End < p.Port {
		return nil, bad("no port of the container, 1 to 65535")
	}
	if p.Host.Zone() != "" || p.Host.IsMulticast() {
		return nil, bad("%s is no address of a host", p.Host)
	}
	if p.Interface != "" && p.Host.IsLoopback() {
		return nil, bad("what calls %s comes in by no interface", p.Host)
	}
	for _, s := range p.Sources {
		if !s.IsValid() || s.Addr().Is4In6() {
			return nil, bad("source %s is no prefix", s)
		}
		if p.Host.IsValid() && s.Addr().Is4() != p.Host.Is4() {
			return nil, bad("source %s is of another family than %s", s, p.Host)
		}
	}
	switch n := p.Count(); {
	case p.HostPort == 0 && p.HostEnd != 0:
		return nil, bad("no port of the host")
	case p.HostPort == 0:
		if n > maxPublished {
			return nil, bad("%d ports to choose: %d at the most", n, maxPublished)
		}
		var list []api.Port
		for i := range n {
			one := p
			one.Port += uint16(i)
			one.End = one.Port
			list = append(list, one)
		}
		return list, nil
	case p.HostEnd == 0 && int(p.HostPort)+n-1 <= 65535:
		p.HostEnd = p.HostPort + uint16(n-1)
	case p.HostEnd < p.HostPort:
		return nil, bad("no ports of the host")
	case n > 1 && int(p.HostEnd-p.HostPort)+1 != n:
		return nil, bad("%d ports of the host for %d of the container", int(p.HostEnd-p.HostPort)+1, n)
	}
	if p.Count() > maxProxied && !noProxy && proxied(p) {
		return nil, bad("%d ports: %d at the most with a local proxy (--no-local-proxy)", p.Count(), maxProxied)
	}
	return []api.Port{p}, nil
}

// checkInterface looks that the host has the interface where calls of a port are to come
// in: without it nobody could call.
func (e *Engine) checkInterface(p api.Port) error {
	if p.Interface == "" {
		return nil
	}
	all, err := e.host.Addresses()
	if err != nil {
		return fmt.Errorf("published port %s: %w", p, err)
	}
	if _, ok := all[p.Interface]; !ok {
		return fmt.Errorf("published port %s: %w: this host has no interface %s", p, fs.ErrInvalid, p.Interface)
	}
	return nil
}

// overlap tells whether two published ports may meet the same call.
func overlap(a, b api.Port) bool {
	if a.HostPort == 0 || b.HostPort == 0 || a.Protocol != b.Protocol || a.HostEnd < b.HostPort || b.HostEnd < a.HostPort {
		return false
	}
	if a.Interface != "" && b.Interface != "" && a.Interface != b.Interface {
		return false
	}
	switch {
	case !a.Host.IsValid() || !b.Host.IsValid() || a.Host == b.Host:
		return true
	case a.Host.Is4() != b.Host.Is4():
		return false
	}
	return a.Host.IsUnspecified() || b.Host.IsUnspecified()
}

// portTable is what the containers of an engine publish at the moment.
type portTable struct {
	mu     sync.Mutex // held while ports are chosen
	by     map[string][]api.Port
	ending map[string]chan struct{} // of containers that have ended: closed when their ports are given back
}

// taken tells which container has a port of this host, and as what. The id is
// empty when it is one of more.
func (t *portTable) taken(p api.Port, more []api.Port) (id string, other api.Port, taken bool) {
	meets := func(other api.Port) bool { return overlap(p, other) }
	for id, list := range t.by {
		if i := slices.IndexFunc(list, meets); i >= 0 {
			return id, list[i], true
		}
	}
	if i := slices.IndexFunc(more, meets); i >= 0 {
		return "", more[i], true
	}
	return "", other, false
}

// set says what a container publishes from now on.
func (t *portTable) set(id string, list []api.Port) {
	if t.by == nil {
		t.by, t.ending = map[string][]api.Port{}, map[string]chan struct{}{}
	}
	t.by[id] = list
	if len(list) > 0 {
		return
	}
	delete(t.by, id)
	if done := t.ending[id]; done != nil {
		close(done)
		delete(t.ending, id)
	}
}

// end says that a container is about to give its ports back.
func (t *portTable) end(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[id] != nil && t.ending[id] == nil {
		t.ending[id] = make(chan struct{})
	}
}

// hosts are the addresses to listen on for a port, one of each family at the most.
func hosts(p api.Port) []netip.Addr {
	if p.Host.IsValid() {
		return []netip.Addr{p.Host}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}
