package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipam"
	"github.com/joyboyid/xc/ipc"
)

// planNetwork checks a spec, chooses what it leaves open, and looks that nobody
// else has it.
func (e *Engine) planNetwork(ctx context.Context, spec api.NetworkSpec) (*network, error) {
	if err := errors.Join(checkName(spec.Name), ipc.CheckText(spec)); err != nil {
		return nil, err
	}
	if spec.Name == api.NetworkNone || spec.Name == api.NetworkHost {
		return nil, fmt.Errorf("%w: there is always one", fs.ErrExist)
	}
	n := &network{id: "n" + strings.ToLower(rand.Text()[:11]), created: time.Now().UTC(), users: map[string]bool{}}
	n.plan = networkPlan{Spec: spec, Own: spec.Bridge == "" && spec.Alias == ""}
	taken, err := e.taken(spec, n.plan.Own)
	if err != nil {
		return nil, err
	}
	s := &n.plan.Spec
	if n.plan.Own {
		s.Bridge = e.host.BridgeName(n.id)
		if len(s.Subnets) == 0 {
			if s.Subnets, err = chooseSubnets(n.id, taken); err != nil {
				return nil, err
			}
		}
	}
	if err := checkMTU(s); err != nil {
		return nil, err
	}
	if err := n.planSubnets(taken); err != nil {
		return nil, err
	}
	if err := e.host.CheckNetwork(n.host()); err != nil {
		return nil, err
	}
	return n, e.openPools(ctx, n)
}

// claim is a prefix that is somebody's.
type claim struct {
	prefix netip.Prefix
	of     string
}

// taken are the prefixes that a new network may not have: those of the others,
// and, for a bridge of its own, whose routes would get into their way, those
// that this host is on.
func (e *Engine) taken(spec api.NetworkSpec, own bool) ([]claim, error) {
	var list []claim
	for _, n := range e.allNetworks() {
		if n.name() == spec.Name {
			return nil, fmt.Errorf("%w: there is one", fs.ErrExist)
		}
		if spec.Bridge != "" && n.plan.Spec.Bridge == spec.Bridge {
			return nil, fmt.Errorf("bridge %s: %w: it is network %s's", spec.Bridge, fs.ErrExist, n.name())
		}
		for _, sub := range n.plan.Spec.Subnets {
			list = append(list, claim{sub.Prefix, "network " + n.name()})
		}
	}
	if !own {
		return list, nil
	}
	addrs, err := e.host.Addresses()
	if err != nil {
		return nil, err
	}
	for name, prefixes := range addrs {
		for _, p := range prefixes {
			if !p.Addr().IsLinkLocalUnicast() {
				list = append(list, claim{p.Masked(), "interface " + name})
			}
		}
	}
	return list, nil
}

func free(p netip.Prefix, taken []claim) error {
	for _, c := range taken {
		if c.prefix.Overlaps(p) {
			return fmt.Errorf("subnet %s: %w: %s has addresses of it (%s)", p, fs.ErrExist, c.of, c.prefix)
		}
	}
	return nil
}

// chooseSubnets chooses one of each family: the first of 10.88.0.0/16 that is
// free, and one of the 2^40 unique local ones (RFC 4193) by the network's id.
func chooseSubnets(id string, taken []claim) ([]api.Subnet, error) {
	sum := host.MAC("subnet", id) // 6 bytes that nobody else has
	v6 := [16]byte{0xfd}
	copy(v6[1:6], sum[1:])
	subnets := []api.Subnet{{}, {Prefix: netip.PrefixFrom(netip.AddrFrom16(v6), 64)}}
	for third := range 256 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 88, byte(third), 0}), 24)
		if free(p, taken) == nil {
			subnets[0].Prefix = p
			return subnets, nil
		}
	}
	return nil, fmt.Errorf("no subnet of 10.88.0.0/16 is free: %w: name one with --subnet", fs.ErrExist)
}

func checkMTU(s *api.NetworkSpec) error {
	least := 68 // RFC 791
	for _, sub := range s.Subnets {
		if sub.Prefix.Addr().Is6() {
			least = 1280 // RFC 8200
		}
	}
	if s.MTU != 0 && (s.MTU < least || s.MTU > 65535) {
		return fmt.Errorf("MTU %d: %w: %d to 65535", s.MTU, fs.ErrInvalid, least)
	}
	return nil
}

// maxSubnets is how many addresses an interface may get.
const maxSubnets = 8

// planSubnets checks the subnets and completes them.
func (n *network) planSubnets(taken []claim) error {
	subnets := n.plan.Spec.Subnets
	if len(subnets) == 0 || len(subnets) > maxSubnets {
		return fmt.Errorf("%d subnets: %w: 1 to %d", len(subnets), fs.ErrInvalid, maxSubnets)
	}
	for i := range subnets {
		sub := &subnets[i]
		if err := checkSubnet(sub); err != nil {
			return err
		}
		if err := free(sub.Prefix, taken); err != nil {
			return err
		}
		taken = append(taken, claim{sub.Prefix, "the network itself"})
		if n.plan.Own && !sub.Gateway.IsValid() {
			sub.Gateway = firstAddr(sub.Prefix)
		}
	}
	return nil
}

// firstAddr is the first address of a prefix that somebody can have.
func firstAddr(p netip.Prefix) netip.Addr {
	if p.Bits() == p.Addr().BitLen()-1 { // RFC 3021, RFC 6164
		return p.Addr()
	}
	return p.Addr().Next()
}

func checkSubnet(sub *api.Subnet) error {
	p := sub.Prefix
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return fmt.Errorf("subnet %s: %w: not a prefix of v4 or v6", p, fs.ErrInvalid)
	case p != p.Masked():
		return fmt.Errorf("subnet %s: %w: do you mean %s?", p, fs.ErrInvalid, p.Masked())
	case p.Bits() > p.Addr().BitLen()-1:
		return fmt.Errorf("subnet %s: %w: it has room for one address only", p, fs.ErrInvalid)
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Bits() == 0:
		return fmt.Errorf("subnet %s: %w: containers cannot have such addresses", p, fs.ErrInvalid)
	}
	if g := sub.Gateway; g.IsValid() && (!p.Contains(g) || p.Bits() < g.BitLen()-1 && (g == p.Addr() || g.Is4() && g == ipam.Last(p))) {
		return fmt.Errorf("gateway %s: %w: no address of a host in %s", g, fs.ErrInvalid, p)
	}
	if sub.First.IsValid() != sub.Last.IsValid() || sub.First.IsValid() && (!p.Contains(sub.First) || !p.Contains(sub.Last) || sub.Last.Less(sub.First)) {
		return fmt.Errorf("range %s-%s: %w: not in %s", sub.First, sub.Last, fs.ErrInvalid, p)
	}
	return nil
}

// envName is a network's name in the name of a variable.
func envName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' {
			return '_'
		}
		return r
	}, name)
}
