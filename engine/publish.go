package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/site/proxy"
)

// published is what a container publishes, or is about to.
type published struct {
	ports     []api.Port // with everything chosen
	redirects []host.Publish
	forwards  []proxy.Forward // with sockets to close
	redirOf   []int           // of each redirect: the port
}

func (p *published) close() {
	for _, f := range p.forwards {
		f.Listener.Close()
	}
}

// publish chooses what a container publishes at this start, and binds the sockets
// of its proxy: a port that is in use is found out here. The ports are the
// container's from then on, until releasePorts.
func (e *Engine) publish(ctx context.Context, c *container) (published, error) {
	if len(c.plan.Ports) == 0 {
		return published{}, nil
	}
	for {
		p, err := e.choosePorts(ctx, c, c.plan.Ports, nil)
		var busy *portTaken
		if !errors.As(err, &busy) || busy.ending == nil {
			return p, err
		}
		select { // the end of the other was told before all of it was given back
		case <-busy.ending:
		case <-ctx.Done():
			return p, err
		}
	}
}

// portTaken is that another container publishes a port.
type portTaken struct {
	msg    string
	ending <-chan struct{} // closed when that one, which has ended, has given it back; or nil
}

func (t *portTaken) Error() string { return t.msg }
func (t *portTaken) Unwrap() error { return fs.ErrExist }

// choosePorts chooses ports beside those that a container has.
func (e *Engine) choosePorts(ctx context.Context, c *container, want, has []api.Port) (p published, err error) {
	defer func() {
		if err != nil {
			p.close()
			p = published{}
		}
	}()
	e.ports.mu.Lock()
	defer e.ports.mu.Unlock()
	e.ports.set(c.id, has)
	to := e.targets(c)
	for _, port := range want {
		if err := e.choosePort(&p, c, port, to); err != nil {
			return p, err
		}
	}
	p.ports = slices.Concat(has, p.ports)
	if err := e.redirects(ctx, c, &p, to); err != nil {
		return p, err
	}
	e.ports.set(c.id, p.ports)
	return p, nil
}

// releasePorts gives up what a container publishes.
func (e *Engine) releasePorts(c *container) {
	e.ports.mu.Lock()
	defer e.ports.mu.Unlock()
	e.ports.set(c.id, nil)
}

// targets are the addresses of a container that published ports lead to, of each
// family the main one or the first, with the lengths of their subnets.
type targets struct{ v4, v6 netip.Prefix }

func (e *Engine) targets(c *container) (t targets) {
	take := func(p netip.Prefix) {
		if a := p.Addr(); a.Is4() && !t.v4.IsValid() {
			t.v4 = p
		} else if a.Is6() && !t.v6.IsValid() {
			t.v6 = p
		}
	}
	list := slices.Clone(e.connections(c))
	slices.SortStableFunc(list, func(a, b connection) int { return rank(a) - rank(b) })
	for _, conn := range list {
		for _, a := range conn.addrs {
			if a.Addr() == conn.main() {
				take(a)
			}
		}
		for _, a := range conn.addrs {
			take(a)
		}
	}
	return t
}

// of is the address for calls of a family; invalid when there is none.
func (t targets) of(v6 bool) netip.Prefix {
	if v6 {
		return t.v6
	}
	return t.v4
}

// any is that of the family, or else the other.
func (t targets) any(v6 bool) netip.Addr {
	if p := t.of(v6); p.IsValid() {
		return p.Addr()
	}
	return t.of(!v6).Addr()
}

// choices is how often a port is chosen anew that is free in one family only.
const choices = 50

// choosePort adds a port with its sockets.
func (e *Engine) choosePort(p *published, c *container, port api.Port, to targets) error {
	if err := e.checkInterface(port); err != nil { // it may be gone since the container was made
		return err
	}
	if port.HostPort != 0 && (port.Count() > 1 || port.HostEnd == port.HostPort) {
		return e.takePort(p, c, port, to)
	}
	first, last := port.HostPort, port.HostEnd // one of several that are named
	for try := 0; ; try++ {
		one := port
		if first == 0 {
			free, err := freePort(port)
			if err != nil {
				return fmt.Errorf("published port %s: choose a port: %w", port, err)
			}
			one.HostPort = free
		} else {
			one.HostPort = first + uint16(try)
		}
		one.HostEnd = one.HostPort
		err := e.takePort(p, c, one, to)
		used := errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, fs.ErrExist)
		switch {
		case !used:
			return err
		case first == 0 && try >= choices, first != 0 && one.HostPort == last:
			return fmt.Errorf("published port %s: none is free: the last: %w", port, err)
		}
	}
}

// freePort lets the kernel choose one.
func freePort(port api.Port) (uint16, error) {
	protocol := port.Protocol
	if protocol == "sctp" {
		protocol = "tcp" // the number is as good as another
	}
	f, n, err := host.Bind(protocol, netip.AddrPortFrom(hosts(port)[0], 0))
	if err != nil {
		return 0, err
	}
	return n, f.Close()
}

// proxied tells whether the host itself can call a port, by the proxy.
func proxied(p api.Port) bool { return p.Protocol != "sctp" && p.Interface == "" }

// takePort adds a port whose number is known, or fails and adds nothing.
func (e *Engine) takePort(p *published, c *container, port api.Port, to targets) error {
	if id, has, taken := e.ports.taken(port, p.ports); taken {
		return e.takenError(c, port, id, has)
	}
	var sockets []proxy.Forward
	if proxied(port) {
		var err error
		if sockets, err = listenOn(port, to); err != nil {
			for _, s := range sockets {
				s.Listener.Close()
			}
			return err
		}
	}
	p.ports = append(p.ports, port)
	if c.plan.Spec.NoLocalProxy {
		for _, s := range sockets { // nobody else had it
			s.Listener.Close()
		}
		return nil
	}
	p.forwards = append(p.forwards, sockets...)
	return nil
}

func (e *Engine) takenError(c *container, port api.Port, id string, has api.Port) error {
	e.mu.Lock()
	other := e.containers[id]
	e.mu.Unlock()
	if other == nil || other == c {
		return fmt.Errorf("published port %s: %w: this container publishes %s already", port, fs.ErrExist, has)
	}
	msg := fmt.Sprintf("published port %s: container %s has port %s/%s of the host", port, other.name(), has.HostRange(), has.Protocol)
	return &portTaken{msg, e.ports.ending[id]}
}

// listenOn binds the sockets of a port. Those it returns are to be closed also
// when it fails.
func listenOn(port api.Port, to targets) (list []proxy.Forward, err error) {
	key := port.String()
	for _, addr := range hosts(port) {
		for i := range port.Count() {
			at := netip.AddrPortFrom(addr, port.HostPort+uint16(i))
			f, _, err := host.Bind(port.Protocol, at)
			if !port.Host.IsValid() && addr.Is6() && noFamily(err) {
				break // the host has no IPv6
			}
			if err != nil {
				return list, bindError(port, at, err)
			}
			target := netip.AddrPortFrom(to.any(addr.Is6()), port.Port+uint16(i))
			list = append(list, proxy.Forward{Listener: f, Protocol: port.Protocol, Target: target, Sources: port.Sources, Key: key})
		}
	}
	return list, nil
}

func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

func bindError(port api.Port, at netip.AddrPort, err error) error {
	var call *os.SyscallError
	var errno syscall.Errno
	if errors.As(err, &call) && errors.As(err, &errno) {
		err = errno // "listen tcp4 0.0.0.0:80: bind:" is said below
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("published port %s: %w: another program of this host has %s/%s", port, err, at, port.Protocol)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("published port %s: %w: this host does not have the address %s", port, err, at.Addr())
	}
	return fmt.Errorf("published port %s: bind %s/%s: %w", port, at, port.Protocol, err)
}

// redirects fills in what the kernel is to redirect. What it cannot, the proxy
// serves alone.
func (e *Engine) redirects(ctx context.Context, c *container, p *published, to targets) error {
	why := map[bool]error{}
	for i, port := range p.ports {
		if port.Host.IsLoopback() {
			continue // nothing comes in for it from outside
		}
		any := false
		var reason error
		for _, addr := range hosts(port) {
			v6 := addr.Is6()
			r := host.Publish{
				Protocol: port.Protocol, Interface: port.Interface, First: port.HostPort, Last: port.HostEnd,
				Target: to.of(v6).Addr(), Subnet: to.of(v6), TargetFirst: port.Port,
			}
			if !addr.IsUnspecified() {
				r.Addr = addr
			}
			for _, s := range port.Sources {
				if s.Addr().Is6() == v6 {
					r.Sources = append(r.Sources, s)
				}
			}
			if !r.Target.IsValid() || len(port.Sources) > 0 && len(r.Sources) == 0 {
				continue
			}
			if _, asked := why[v6]; !asked {
				why[v6] = e.host.CanPublish(ctx, v6)
			}
			if err := why[v6]; err != nil {
				if reason == nil || !v6 {
					reason = err
				}
				if !errors.Is(err, host.ErrNotForwarding) {
					return fmt.Errorf("published port %s: %w", port, err)
				}
				continue
			}
			any = true
			p.redirects = append(p.redirects, r)
			p.redirOf = append(p.redirOf, i)
		}
		if !any && (c.plan.Spec.NoLocalProxy || !proxied(port)) {
			if reason == nil {
				reason = fmt.Errorf("%w: the container has no address of its family", fs.ErrInvalid)
			}
			return fmt.Errorf("published port %s: %w", port, reason)
		}
	}
	return nil
}
