package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipam"
	"github.com/joyboyid/xc/site"
)

// attachment is an api.Attachment with everything looked up.
type attachment struct {
	Network string       `json:"network"`
	ID      string       `json:"id"`
	Addrs   []netip.Addr `json:"addrs,omitempty"`
	MAC     string       `json:"mac"`
	Main    netip.Addr   `json:"main,omitzero"` // the main address, when it was asked for
	IsMain  bool         `json:"is_main,omitempty"`
}

// connection is an attachment with its addresses: all of them while the
// container runs, else those it asked for.
type connection struct {
	net   *network
	att   attachment
	iface string // in the container
	addrs []netip.Prefix
}

// asksHost tells whether a container is to have the host's network stack.
func asksHost(s api.ContainerSpec) bool {
	return slices.ContainsFunc(s.Networks, func(a api.Attachment) bool { return a.Network == api.NetworkHost })
}

// planNetworks looks up the networks a container asks for, whose user it is
// from now on; see leaveNetworks.
func (e *Engine) planNetworks(id string, p *plan) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := p.Spec.Networks
	if len(list) == 0 && e.networks.byName[api.NetworkDefault] != nil {
		list = []api.Attachment{{Network: api.NetworkDefault}}
	}
	p.Network = host.NetworkOwn
	if len(list) > host.MaxInterfaces {
		return fmt.Errorf("%d networks: %w: %d at the most", len(list), fs.ErrInvalid, host.MaxInterfaces)
	}
	for _, a := range list {
		if a.Network == api.NetworkNone || a.Network == api.NetworkHost {
			if len(list) > 1 || len(a.Addrs) > 0 || a.MAC != "" {
				return fmt.Errorf("network %s: %w: it has neither addresses to choose nor others beside it", a.Network, fs.ErrInvalid)
			}
			if a.Network == api.NetworkHost {
				p.Network = host.NetworkHost
			}
			continue
		}
		if err := e.planAttachment(id, p, a); err != nil {
			return err
		}
	}
	if p.Network == host.NetworkHost && p.Spec.VNET {
		return fmt.Errorf("network %s: %w: not with a network stack of its own", api.NetworkHost, fs.ErrInvalid)
	}
	return errors.Join(e.planStack(p), p.planMain(), p.checkUnconnected())
}

// planAttachment adds one. Engine.mu is held.
func (e *Engine) planAttachment(id string, p *plan, a api.Attachment) error {
	n, err := e.networks.find(a.Network)
	if err != nil {
		return err
	}
	if n.gone {
		return fmt.Errorf("network %s: %w: it is being removed", a.Network, fs.ErrNotExist)
	}
	if slices.ContainsFunc(p.Networks, func(b attachment) bool { return b.ID == n.id }) {
		return fmt.Errorf("network %s: %w: it is named twice", a.Network, fs.ErrInvalid)
	}
	out := attachment{Network: n.name(), ID: n.id, Addrs: a.Addrs, MAC: host.MAC(e.db.Tag(), id, n.id).String()}
	if a.MAC != "" {
		mac, err := net.ParseMAC(a.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return fmt.Errorf("MAC address %q: %w: expected six bytes of one interface, as 02:00:00:00:00:01", a.MAC, fs.ErrInvalid)
		}
		out.MAC = mac.String()
	}
	taken := map[netip.Prefix]bool{}
	for _, addr := range a.Addrs {
		sub := n.subnet(addr)
		switch {
		case sub == nil:
			return fmt.Errorf("address %s: %w: in no subnet of network %s", addr, fs.ErrInvalid, n.name())
		case taken[sub.Prefix]:
			return fmt.Errorf("address %s: %w: a second one in %s", addr, fs.ErrInvalid, sub.Prefix)
		}
		taken[sub.Prefix] = true
	}
	n.users[id] = true
	p.Networks = append(p.Networks, out)
	return nil
}

// subnet is the one that an address is of, or nil.
func (n *network) subnet(a netip.Addr) *api.Subnet {
	for i, sub := range n.plan.Spec.Subnets {
		if sub.Prefix.Contains(a) {
			return &n.plan.Spec.Subnets[i]
		}
	}
	return nil
}

// planStack chooses whether the container has a network stack of its own: when
// it is asked for, or when its networks cannot do without. Engine.mu is held.
func (e *Engine) planStack(p *plan) error {
	if len(p.Networks) == 0 {
		return nil
	}
	alias, bridge := "", ""
	for _, a := range p.Networks {
		s := e.networks.byName[a.Network].plan.Spec
		if s.Alias == "" {
			bridge = a.Network
		}
		if s.Bridge == "" {
			alias = a.Network
		}
	}
	switch own := p.Spec.VNET || bridge != ""; {
	case own && alias != "":
		return fmt.Errorf("network %s: %w: it has no bridge, which a container with a network stack of its own needs", alias, fs.ErrInvalid)
	case !own:
		p.Network = host.NetworkAlias
	}
	return nil
}

// planMain finds the network that is the main one.
func (p *plan) planMain() error {
	main := p.Spec.Main
	if len(p.Networks) == 0 {
		if main != "" {
			return fmt.Errorf("main address %s: %w: the container is on no network", main, fs.ErrInvalid)
		}
		return nil
	}
	addr, _ := netip.ParseAddr(main)
	for i := range p.Networks {
		a := &p.Networks[i]
		if main == "" || main == a.Network || main == a.ID || addr.IsValid() && slices.Contains(a.Addrs, addr) {
			a.IsMain, a.Main = true, addr
			return nil
		}
	}
	return fmt.Errorf("main address %s: %w: neither a network of the container nor an address it asks for", main, fs.ErrInvalid)
}

// checkUnconnected refuses what a container on no network asks of one.
func (p *plan) checkUnconnected() error {
	switch {
	case len(p.Networks) > 0:
		return nil
	case len(p.Spec.Aliases) > 0:
		return fmt.Errorf("network alias %s: %w: the container is on no network", p.Spec.Aliases[0], fs.ErrInvalid)
	case p.Spec.NoLocalProxy:
		return fmt.Errorf("no local proxy: %w: the container is on no network, so no port of it can be published", fs.ErrInvalid)
	}
	return nil
}

// leaveNetworks ends what planNetworks has begun.
func (e *Engine) leaveNetworks(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks.byName {
		delete(n.users, id)
	}
}

// joinNetworks makes a container of a record a user of its networks again.
func (e *Engine) joinNetworks(c *container) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range c.plan.Networks {
		n := e.networks.byName[a.Network]
		if n == nil || n.id != a.ID {
			return fmt.Errorf("network %s: %w", a.Network, fs.ErrNotExist)
		}
		n.users[c.id] = true
	}
	return nil
}

// networkByID returns the network with this id, or nil.
func (e *Engine) networkByID(id string) *network {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks.byName {
		if n.id == id {
			return n
		}
	}
	return nil
}

// kindLease is the undo of addresses.
const kindLease = "lease"

// lease is its data.
type lease struct {
	Network string `json:"network"` // id
	Owner   string `json:"owner"`
}

// Addresses that a container asked for are its own as long as it exists, by
// the held stack; those it got at a start end with the run.
func heldOwner(id string) string { return id + " held" }

// leaseStep is a step that takes addresses of a network for an owner.
func leaseStep(n *network, owner string, take func(ctx context.Context) error) site.Step {
	b, err := json.Marshal(lease{n.id, owner})
	if err != nil {
		panic(err) // two strings: cannot happen
	}
	return site.Step{Undo: site.Undo{Kind: kindLease, Version: 1, Data: b}, Do: take}
}

// releaseLease gives back what an owner has of a network.
func (e *Engine) releaseLease(ctx context.Context, u site.Undo) error {
	if u.Version != 1 {
		return fmt.Errorf("undo %s of version %d: made by a later release: %w", u.Kind, u.Version, site.ErrUnknownKind)
	}
	var l lease
	if err := json.Unmarshal(u.Data, &l); err != nil {
		return fmt.Errorf("undo %s: %w", u.Kind, err)
	}
	n := e.networkByID(l.Network)
	if n == nil {
		return nil // its leases went with it
	}
	for _, p := range n.pools {
		if err := p.Release(ctx, l.Owner); err != nil {
			return err
		}
	}
	return nil
}

// claimSteps are those of the held stack: they claim the addresses that a
// container asked for.
func (e *Engine) claimSteps(c *container) []site.Step {
	var steps []site.Step
	for _, conn := range e.attachments(c) {
		if len(conn.att.Addrs) == 0 {
			continue
		}
		steps = append(steps, leaseStep(conn.net, heldOwner(c.id), func(ctx context.Context) error {
			for i, sub := range conn.net.plan.Spec.Subnets {
				if a, ok := conn.att.within(sub); ok {
					if err := e.claimAddr(ctx, conn.net, conn.net.pools[i], a, c.id); err != nil {
						return fmt.Errorf("network %s: address %s: %w", conn.net.name(), a, err)
					}
				}
			}
			return nil
		}))
	}
	return steps
}

// claimAddr claims an address that a container asked for. One that has it and is
// removing itself is waited for.
func (e *Engine) claimAddr(ctx context.Context, n *network, pool *ipam.Pool, a netip.Addr, id string) error {
	for {
		err := pool.Claim(ctx, a, heldOwner(id))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		holder, herr := e.holder(ctx, n, pool, a)
		if errors.Is(herr, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if holder == nil {
			return errors.Join(err, herr)
		}
		if left, gerr := e.gone(ctx, holder); gerr != nil || !left {
			return errors.Join(fmt.Errorf("%w: it is container %s's", fs.ErrExist, holder.name()), gerr)
		}
	}
}

// holder is the container that has an address; nil if something else has it.
func (e *Engine) holder(ctx context.Context, n *network, pool *ipam.Pool, a netip.Addr) (*container, error) {
	owner, err := pool.Ledger.Owner(ctx, a)
	if err != nil {
		return nil, err
	}
	id, _, _ := strings.Cut(owner, " ")
	for _, m := range e.members(n) {
		if m.id == id {
			return m, nil
		}
	}
	return nil, nil
}

// within is the address that was asked for in a subnet.
func (a attachment) within(sub api.Subnet) (netip.Addr, bool) {
	for _, addr := range a.Addrs {
		if sub.Prefix.Contains(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// attachments are the networks of a container with the addresses it asked for.
func (e *Engine) attachments(c *container) []connection {
	var list []connection
	for i, a := range c.plan.Networks {
		conn := connection{net: e.networkByID(a.ID), att: a}
		if conn.net == nil {
			continue // its record could not be read, which was reported
		}
		if c.plan.Network == host.NetworkOwn {
			conn.iface = "eth" + strconv.Itoa(i)
		} else {
			conn.iface = conn.net.plan.Spec.Alias
		}
		for _, sub := range conn.net.plan.Spec.Subnets {
			if addr, ok := a.within(sub); ok {
				conn.addrs = append(conn.addrs, netip.PrefixFrom(addr, sub.Prefix.Bits()))
			}
		}
		list = append(list, conn)
	}
	return list
}

// connect takes an address of each subnet for a run, as steps of the run stack.
func (e *Engine) connect(ctx context.Context, c *container) error {
	if len(c.plan.Networks) == 0 {
		return nil
	}
	list := e.attachments(c)
	if len(list) < len(c.plan.Networks) {
		return fmt.Errorf("one of its networks: %w: its record cannot be read", fs.ErrNotExist)
	}
	var steps []site.Step
	for i := range list {
		conn := &list[i]
		steps = append(steps, leaseStep(conn.net, c.id, func(ctx context.Context) error { return conn.take(ctx, c.id) }))
	}
	if err := e.site(c.id).Run.Acquire(ctx, steps); err != nil {
		return err
	}
	c.setConnections(list)
	return nil
}

// take fills in the addresses, taken where none was asked for.
func (conn *connection) take(ctx context.Context, owner string) error {
	conn.addrs = nil
	for i, sub := range conn.net.plan.Spec.Subnets {
		addr, ok := conn.att.within(sub)
		if !ok {
			var err error
			if addr, err = conn.net.pools[i].Take(ctx, owner); err != nil {
				return fmt.Errorf("network %s: %w", conn.net.name(), err)
			}
		}
		conn.addrs = append(conn.addrs, netip.PrefixFrom(addr, sub.Prefix.Bits()))
	}
	return nil
}

// reconnect finds the addresses of a container that runs already, and puts them
// where the host has them for others.
func (e *Engine) reconnect(ctx context.Context, c *container) error {
	list := e.attachments(c)
	for i := range list {
		conn := &list[i]
		conn.addrs = nil
		for n, sub := range conn.net.plan.Spec.Subnets {
			addr, ok := conn.att.within(sub)
			if !ok {
				owned, err := conn.net.pools[n].Ledger.Owned(ctx, c.id)
				if err != nil {
					return err
				}
				if len(owned) == 0 {
					continue
				}
				addr = owned[0]
			}
			conn.addrs = append(conn.addrs, netip.PrefixFrom(addr, sub.Prefix.Bits()))
		}
	}
	c.setConnections(list)
	pending, err := e.site(c.id).Run.Pending(ctx)
	if err != nil {
		return err
	}
	return e.host.Refill(pending)
}

// connections are the networks of a container.
func (e *Engine) connections(c *container) []connection {
	c.mu.Lock()
	list := c.connections
	c.mu.Unlock()
	if list == nil {
		list = e.attachments(c)
	}
	return list
}

// main is the address that a container is known by.
func (conn connection) main() netip.Addr {
	switch {
	case !conn.att.IsMain:
		return netip.Addr{}
	case conn.att.Main.IsValid():
		return conn.att.Main
	case len(conn.addrs) > 0:
		return conn.addrs[0].Addr()
	}
	return netip.Addr{}
}

// gateways are those that each of the networks is asked for: one of a family in
// all of them, of the main network if that has one.
func gateways(list []connection) [][]netip.Addr {
	out := make([][]netip.Addr, len(list))
	order := make([]int, len(list))
	for i := range list {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(list[a]), rank(list[b])) })
	has := map[bool]bool{}
	for _, i := range order {
		for _, sub := range list[i].net.plan.Spec.Subnets {
			if g := sub.Gateway; g.IsValid() && !has[g.Is4()] {
				has[g.Is4()] = true
				out[i] = append(out[i], g)
			}
		}
	}
	return out
}

func rank(conn connection) int {
	if conn.att.IsMain {
		return 0
	}
	return 1
}

// interfaces are the connections as the host is told of them.
func interfaces(list []connection) []host.Interface {
	var out []host.Interface
	routes := gateways(list)
	for i, conn := range list {
		s := conn.net.plan.Spec
		mac, _ := net.ParseMAC(conn.att.MAC) // written by planAttachment
		out = append(out, host.Interface{
			Network: s.Name, Bridge: s.Bridge, Alias: s.Alias, Name: conn.iface, MAC: mac, MTU: s.MTU,
			Addrs: conn.addrs, Gateways: routes[i], Main: conn.att.IsMain,
		})
	}
	return out
}

// networkEnv tells a container's processes of its addresses, in the variables
// of the Rust original.
func networkEnv(id string, list []connection) []string {
	env := []string{"XC_ID=" + id}
	if len(list) == 0 {
		return env
	}
	env = append(env, "XC_NETWORKS_COUNT="+strconv.Itoa(len(list)))
	for _, conn := range list {
		if a := conn.main(); a.IsValid() {
			env = append(env, "XC_MAIN_IP="+a.String(), "XC_MAIN_IFACE="+conn.iface)
		}
		name := "XC_NETWORK_" + envName(conn.net.name())
		env = append(env, name+"_ADDR_COUNT="+strconv.Itoa(len(conn.addrs)), name+"_IFACE="+conn.iface)
		for i, a := range conn.addrs {
			env = append(env, name+"_ADDR_"+strconv.Itoa(i)+"="+a.String())
		}
	}
	return env
}

// describeConnections are the networks of a container as its users see them.
func describeConnections(stack string, list []connection) (name string, out []api.Connection) {
	if len(list) == 0 {
		return stack, nil
	}
	routes := gateways(list)
	var names []string
	for i, conn := range list {
		names = append(names, conn.net.name())
		out = append(out, api.Connection{
			Network: conn.net.name(), Interface: conn.iface, MAC: conn.att.MAC, Addrs: conn.addrs, Gateways: routes[i], Main: conn.main(),
		})
	}
	return strings.Join(names, ","), out
}
