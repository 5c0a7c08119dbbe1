package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipam"
)

// A network's record is written before what is made of it on the host, and
// says when all of that is there: it is the journal of it. What is not ready
// when an engine is opened is removed.

// networks are those of an engine.
type networks struct {
	op sync.Mutex // held while one is made or removed

	// Guarded by Engine.mu.
	byName map[string]*network
}

// network is one network in memory. The database follows it.
type network struct {
	id      string
	created time.Time
	plan    networkPlan
	pools   []*ipam.Pool // of the subnets, in their order

	users map[string]bool // containers that are connected to it, by id; guarded by Engine.mu
	gone  bool            // being removed: it gets no more users; guarded by Engine.mu
}

// networkPlan is a NetworkSpec with everything chosen.
type networkPlan struct {
	Spec api.NetworkSpec `json:"spec"`
	Own  bool            `json:"own,omitempty"` // the bridge
}

func (n *network) name() string { return n.plan.Spec.Name }

// host is the network as the host is told of it.
func (n *network) host() host.Network {
	s := n.plan.Spec
	h := host.Network{Name: s.Name, Bridge: s.Bridge, Alias: s.Alias, Own: n.plan.Own, MTU: s.MTU}
	for _, sub := range s.Subnets {
		if n.plan.Own && sub.Gateway.IsValid() {
			h.Addrs = append(h.Addrs, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
		}
	}
	return h
}

// poolNames are those of the ledgers of its subnets.
func (n *network) poolNames() []string {
	var names []string
	for _, sub := range n.plan.Spec.Subnets {
		names = append(names, n.id+" "+sub.Prefix.String())
	}
	return names
}

// quarantine is how long an address that was given back rests: until nobody
// takes its next owner for the last one.
const quarantine = 30 * time.Second

// openPools opens the pools of a network. What this host has of their addresses
// is not handed out, but for those that containers have: on a network of aliases
// they are the host's until they are given back.
func (e *Engine) openPools(ctx context.Context, n *network) error {
	addrs, err := e.host.Addresses()
	if err != nil {
		return fmt.Errorf("network %s: list the host's addresses: %w", n.name(), err)
	}
	names := n.poolNames()
	for i, sub := range n.plan.Spec.Subnets {
		p := &ipam.Pool{
			Prefix: sub.Prefix, Range: ipam.Range{First: sub.First, Last: sub.Last}, Quarantine: quarantine,
			Ledger: e.db.Leases(names[i]),
		}
		if sub.Gateway.IsValid() {
			p.Reserved = append(p.Reserved, netip.PrefixFrom(sub.Gateway, sub.Gateway.BitLen()))
		}
		for _, list := range addrs {
			for _, a := range list {
				if !sub.Prefix.Contains(a.Addr()) {
					continue
				}
				_, err := p.Ledger.Owner(ctx, a.Addr())
				if errors.Is(err, fs.ErrNotExist) {
					p.Reserved = append(p.Reserved, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
				} else if err != nil {
					return fmt.Errorf("network %s: %w", n.name(), err)
				}
			}
		}
		n.pools = append(n.pools, p)
	}
	return nil
}

// CreateNetwork implements api.Networks.
func (e *Engine) CreateNetwork(ctx context.Context, spec api.NetworkSpec) (api.Network, error) {
	if err := e.begin(); err != nil {
		return api.Network{}, err
	}
	defer e.end()
	e.networks.op.Lock()
	defer e.networks.op.Unlock()
	n, err := e.planNetwork(ctx, spec)
	if err == nil {
		err = e.makeNetwork(context.WithoutCancel(ctx), n)
	}
	if err != nil {
		return api.Network{}, fmt.Errorf("create network %s: %w", spec.Name, err)
	}
	return e.describeNetwork(n), nil
}

func (e *Engine) makeNetwork(ctx context.Context, n *network) error {
	b, err := json.Marshal(n.plan)
	if err != nil {
		return err
	}
	e.trace("network record before")
	if err := e.db.CreateNetwork(ctx, store.Network{ID: n.id, Name: n.name(), Created: n.created, Spec: b}); err != nil {
		return err
	}
	e.trace("network record after")
	err = e.host.MakeNetwork(n.host())
	e.trace("network make after")
	if err == nil {
		err = e.db.ReadyNetwork(ctx, n.id, true)
	}
	e.trace("network ready after")
	if err != nil {
		return errors.Join(err, e.dropNetwork(ctx, n))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks.byName[n.name()] = n
	return nil
}

// dropNetwork removes what is left of a network that is not ready.
func (e *Engine) dropNetwork(ctx context.Context, n *network) error {
	e.trace("network remove before")
	if err := e.host.RemoveNetwork(n.host()); err != nil {
		return err
	}
	e.trace("network remove after")
	defer e.trace("network forget after")
	return e.db.RemoveNetwork(ctx, n.id, n.poolNames()...)
}

// ListNetworks implements api.Networks.
func (e *Engine) ListNetworks(context.Context) ([]api.Network, error) {
	list := []api.Network{}
	for _, n := range e.allNetworks() {
		list = append(list, e.describeNetwork(n))
	}
	return list, nil
}

// allNetworks are those there are, by name.
func (e *Engine) allNetworks() []*network {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*network
	for _, name := range slices.Sorted(maps.Keys(e.networks.byName)) {
		list = append(list, e.networks.byName[name])
	}
	return list
}

// InspectNetwork implements api.Networks.
func (e *Engine) InspectNetwork(_ context.Context, name string) (api.Network, error) {
	n, err := e.findNetwork(name)
	if err != nil {
		return api.Network{}, err
	}
	return e.describeNetwork(n), nil
}

// findNetwork returns the network with this name or id.
func (e *Engine) findNetwork(name string) (*network, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.networks.find(name)
}

func (ns *networks) find(name string) (*network, error) {
	if n := ns.byName[name]; n != nil {
		return n, nil
	}
	for _, n := range ns.byName {
		if n.id == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("network %q: %w", name, fs.ErrNotExist)
}

// describeNetwork is the network as its users see it.
func (e *Engine) describeNetwork(n *network) api.Network {
	s := n.plan.Spec
	out := api.Network{
		ID: n.id, Name: s.Name, Bridge: s.Bridge, Own: n.plan.Own, Alias: s.Alias, MTU: s.MTU,
		Subnets: s.Subnets, Labels: s.Labels, Created: n.created,
	}
	for _, c := range e.members(n) {
		m := api.Member{ID: c.id, Name: c.name()}
		for _, conn := range e.connections(c) {
			if conn.net == n {
				m.Addrs = conn.addrs
			}
		}
		out.Containers = append(out.Containers, m)
	}
	return out
}

// members are the containers that are connected to a network, oldest first.
func (e *Engine) members(n *network) []*container {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*container
	for id := range n.users {
		if c := e.containers[id]; c != nil { // else it is being made
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *container) int {
		if d := a.created.Compare(b.created); d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	return list
}

// RemoveNetwork implements api.Networks.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	if n, err := e.findNetwork(name); err == nil { // those who leave do not need op
		if err := e.awaitGone(ctx, e.members(n)); err != nil {
			return fmt.Errorf("remove network %s: %w", name, err)
		}
	}
	e.networks.op.Lock()
	defer e.networks.op.Unlock()
	if name == api.NetworkNone || name == api.NetworkHost {
		return fmt.Errorf("remove network %s: %w: there is always one", name, fs.ErrInvalid)
	}
	n, err := e.findNetwork(name)
	if err != nil {
		return fmt.Errorf("remove network: %w", err)
	}
	if err := e.removeNetwork(context.WithoutCancel(ctx), n); err != nil {
		return fmt.Errorf("remove network %s: %w", n.name(), err)
	}
	return nil
}

var errInUse = errors.New("it is in use")

// removeNetwork may be called again after a failure.
func (e *Engine) removeNetwork(ctx context.Context, n *network) error {
	e.mu.Lock()
	users := slices.Sorted(maps.Keys(n.users))
	n.gone = len(users) == 0
	e.mu.Unlock()
	if len(users) > 0 {
		var names []string
		for _, c := range e.members(n) {
			names = append(names, c.name())
		}
		return fmt.Errorf("%w: connected to it: %s", errInUse, strings.Join(names, ", "))
	}
	e.trace("network unready before")
	if err := e.db.ReadyNetwork(ctx, n.id, false); err != nil {
		e.mu.Lock()
		n.gone = false // it is all there
		e.mu.Unlock()
		return err
	}
	if err := e.dropNetwork(ctx, n); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks.byName, n.name())
	return nil
}

// PruneNetworks implements api.Networks.
func (e *Engine) PruneNetworks(ctx context.Context) (api.PrunedNetworks, error) {
	out := api.PrunedNetworks{Names: []string{}}
	if err := e.begin(); err != nil {
		return out, err
	}
	defer e.end()
	for _, n := range e.allNetworks() {
		if err := e.awaitGone(ctx, e.members(n)); err != nil {
			return out, fmt.Errorf("prune networks: %w", err)
		}
	}
	e.networks.op.Lock()
	defer e.networks.op.Unlock()
	for _, n := range e.allNetworks() {
		if n.name() == api.NetworkDefault {
			continue
		}
		switch err := e.removeNetwork(context.WithoutCancel(ctx), n); {
		case err == nil:
			out.Names = append(out.Names, n.name())
		case !errors.Is(err, errInUse):
			out.Failed = append(out.Failed, fmt.Sprintf("remove network %s: %v", n.name(), err))
		}
	}
	return out, nil
}

// openNetworks reads the records of networks, makes what a reboot has taken
// from them, and removes what was not complete. What fails of one is reported.
func (e *Engine) openNetworks(ctx context.Context) error {
	e.networks.byName = map[string]*network{}
	records, err := e.db.Networks(ctx)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, r := range records {
		n := &network{id: r.ID, created: r.Created, users: map[string]bool{}}
		if err := json.Unmarshal(r.Spec, &n.plan); err != nil {
			e.cfg.Report(fmt.Errorf("record of network %s: %w", r.Name, err))
			keep[e.host.BridgeName(r.ID)] = true
			continue
		}
		if !r.Ready {
			if err := e.dropNetwork(ctx, n); err != nil {
				e.cfg.Report(fmt.Errorf("recover network %s: %w", r.Name, err))
			}
			continue
		}
		keep[n.plan.Spec.Bridge] = true
		if err := e.host.MakeNetwork(n.host()); err != nil {
			e.cfg.Report(err) // no container on it starts until that is mended
		}
		if err := e.openPools(ctx, n); err != nil {
			return err
		}
		e.networks.byName[n.name()] = n
	}
	return e.host.SweepNetworks(keep)
}
