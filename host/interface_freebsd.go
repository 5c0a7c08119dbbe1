package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"
	"time"

	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
)

const (
	kindInterface = "interface" // name: the end of an epair that is on the host
	kindAlias     = "alias"     // name: an interface of the host; addr: what a container has on it
)

// networkSteps connect a container: with a network stack of its own by epairs,
// else by addresses that its jail may use.
func (h *Host) networkSteps(s Spec, jailName string) ([]site.Step, error) {
	var steps []site.Step
	switch s.Network {
	case NetworkHost:
		return nil, nil
	case NetworkAlias:
		steps, err := aliasSteps(s)
		return append(steps, tableSteps(s)...), err
	}
	for n, i := range s.Interfaces {
		name := h.ifName(s.ID, n)
		steps = append(steps, step(kindInterface, thing{Name: name}, func(context.Context) error {
			return connect(jailName, s.ID, name, i, n == 0)
		}))
	}
	return append(steps, tableSteps(s)...), nil
}

// connect makes an epair, puts one end into a bridge and the other into a jail.
func connect(jailName, id, name string, i Interface, first bool) error {
	info, err := jail.Lookup(jailName)
	if err != nil {
		return err
	}
	var host netif.Stack
	b, err := plug(&host, id, name, i)
	if err != nil {
		return fmt.Errorf("network %s: %w", i.Network, err)
	}
	// Addresses do not survive the move: first move, then configure.
	if err := host.Move(b, int(info.ID)); err != nil {
		return fmt.Errorf("network %s: %w", i.Network, err)
	}
	in, err := netif.Enter(int(info.ID))
	if err != nil {
		return err
	}
	if first {
		err = in.Loopback()
	}
	err = errors.Join(err, in.Rename(b, i.Name))
	if err == nil {
		err = configure(in, i)
	}
	if err = errors.Join(err, in.Close()); err != nil {
		return fmt.Errorf("network %s: in the container: %w", i.Network, err)
	}
	return nil
}

// plug makes an epair with one end, of the given name, in a bridge, and returns
// the other end.
func plug(host *netif.Stack, id, name string, i Interface) (string, error) {
	if err := isKind(host, i.Bridge, "bridge"); err != nil {
		return "", err
	}
	bridge, err := host.Interface(i.Bridge)
	if err != nil {
		return "", err
	}
	if !bridge.Up {
		return "", fmt.Errorf("bridge %s is down: ifconfig %s up", i.Bridge, i.Bridge)
	}
	unit, a, err := makeInterface(host, "epair", name)
	if err != nil {
		return "", err
	}
	if err := host.Rename(a, name); err != nil {
		return "", err
	}
	b, mtu := fmt.Sprintf("epair%db", unit), i.MTU
	if mtu == 0 {
		mtu = bridge.MTU
	}
	for _, end := range []string{name, b} {
		if err := host.SetMTU(end, mtu); err != nil {
			return "", err
		}
	}
	if len(i.MAC) > 0 {
		if err := host.SetMAC(b, i.MAC); err != nil {
			return "", err
		}
	}
	return b, errors.Join(host.Describe(name, "xc "+id+" "+i.Name), host.AddMember(i.Bridge, name), host.Up(name))
}

// configure gives an interface in a jail what it is to have.
func configure(in *netif.Stack, i Interface) error {
	for _, p := range i.Addrs {
		if p.Addr().Is6() {
			// The engine hands out addresses: nobody else has them.
			if err := in.SkipDAD(i.Name); err != nil {
				return err
			}
			break
		}
	}
	if err := in.Up(i.Name); err != nil {
		return err
	}
	for _, p := range i.Addrs {
		if err := in.AddAddr(i.Name, p); err != nil {
			return err
		}
	}
	for _, g := range i.Gateways {
		r := netif.Default(g)
		r.Interface = i.Name
		if err := in.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// removeInterface destroys an epair by its end on the host; the other one goes
// with it, out of the jail.
func (h *Host) removeInterface(_ context.Context, t thing) error {
	return h.remove(t.Name, "epair", "a")
}

// aliasSteps give addresses to interfaces of the host. An address that is there
// already is somebody else's, and must be found now: undone is what was planned.
func aliasSteps(s Spec) ([]site.Step, error) {
	var stack netif.Stack
	all, err := stack.Interfaces()
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]string{}
	for _, i := range all {
		for _, p := range i.Addrs {
			taken[p.Addr()] = i.Name
		}
	}
	var steps []site.Step
	for _, i := range s.Interfaces {
		for _, p := range i.Addrs {
			if of := taken[p.Addr()]; of != "" {
				return nil, fmt.Errorf("network %s: address %s: %w: interface %s of this host has it", i.Network, p.Addr(), fs.ErrExist, of)
			}
			steps = append(steps, step(kindAlias, thing{Name: i.Alias, Addr: p.Addr().String()}, func(ctx context.Context) error {
				if err := addAlias(ctx, i.Alias, p); err != nil {
					return fmt.Errorf("network %s: %w", i.Network, err)
				}
				return nil
			}))
		}
	}
	return steps, nil
}

// detectionTime is what duplicate address detection may take: in6(4), one probe
// of a second after a delay of up to one.
const detectionTime = 5 * time.Second

// addAlias adds an address and waits until it can be used.
func addAlias(ctx context.Context, name string, p netip.Prefix) error {
	var stack netif.Stack
	if err := stack.AddAddr(name, p); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, detectionTime)
	defer cancel()
	for {
		still, err := stack.Tentative(name, p.Addr())
		if err != nil || !still {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("address %s on %s stays tentative: is the interface up? %w", p.Addr(), name, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func removeAlias(_ context.Context, t thing) error {
	addr, err := netip.ParseAddr(t.Addr)
	if err != nil {
		return err
	}
	err = (&netif.Stack{}).RemoveAddr(t.Name, addr)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// addressParams say which addresses a jail without a network stack of its own may
// use, the main ones first: they are what its sockets are bound to.
func addressParams(s Spec) []jail.Param {
	var v4, v6 []netip.Addr
	add := func(i Interface) {
		for _, p := range i.Addrs {
			if p.Addr().Is4() {
				v4 = append(v4, p.Addr())
			} else {
				v6 = append(v6, p.Addr())
			}
		}
	}
	for _, main := range []bool{true, false} {
		for _, i := range s.Interfaces {
			if i.Main == main {
				add(i)
			}
		}
	}
	param := func(name string, addrs []netip.Addr) []jail.Param {
		if len(addrs) == 0 {
			return []jail.Param{jail.Int(name, jail.Disable)}
		}
		return []jail.Param{jail.Int(name, jail.New), jail.Addrs(name+".addr", addrs...)}
	}
	return append(param("ip4", v4), param("ip6", v6)...)
}
