package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/linux/netif"
	"github.com/joyboyid/xc/site"
)

const kindInterface = "interface" // name: the end of a pair that is on the host

// interfaceSteps are those for the interfaces of a container. The run loop makes
// them, in the network namespace that it has; the steps journal their names
// before, and look that their bridges are there.
func (h *Host) interfaceSteps(s Spec) []site.Step {
	var steps []site.Step
	for n, i := range s.Interfaces {
		steps = append(steps, step(kindInterface, thing{Name: h.ifName(s.ID, n)}, func(context.Context) error {
			return withNetif(func(c *netif.Conn) error { return isUp(c, i.Network, i.Bridge) })
		}))
	}
	return steps
}

// tenantInterfaces are the interfaces as the run loop is told of them.
func (h *Host) tenantInterfaces(s Spec) []tenant.Interface {
	var list []tenant.Interface
	for n, i := range s.Interfaces {
		list = append(list, tenant.Interface{
			Name: i.Name, Peer: h.ifName(s.ID, n), Bridge: i.Bridge, MAC: i.MAC.String(), MTU: i.MTU, Addrs: i.Addrs, Gateways: i.Gateways,
			Hairpin: len(s.Publish) > 0,
		})
	}
	return list
}

// withNetif opens the host's network namespace for f.
func withNetif(f func(*netif.Conn) error) error {
	c, err := netif.Open()
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// bridge returns the bridge of a network.
func bridge(c *netif.Conn, network, name string) (netif.Interface, error) {
	i, err := c.Lookup(name)
	if err != nil {
		return i, fmt.Errorf("network %s: bridge: %w", network, err)
	}
	if i.Kind != "bridge" {
		return i, fmt.Errorf("network %s: %s: %w: it is no bridge", network, name, fs.ErrInvalid)
	}
	return i, nil
}

// isUp tells why a bridge connects nobody.
func isUp(c *netif.Conn, network, name string) error {
	i, err := bridge(c, network, name)
	if err == nil && !i.Up {
		err = fmt.Errorf("network %s: bridge %s is down: ip link set %s up", network, name, name)
	}
	return err
}

// removeInterface removes a pair by its end on the host. The run loop is gone by
// then, and the kernel may be at it.
func (h *Host) removeInterface(_ context.Context, t thing) error { return h.remove(t.Name, "veth") }

// remove removes an interface of ours.
func (h *Host) remove(name, kind string) error {
	if !h.ourName(name) {
		return fmt.Errorf("remove interface %s: it is not ours", name)
	}
	err := withNetif(func(c *netif.Conn) error {
		i, err := c.Lookup(name)
		if err == nil && i.Kind != kind {
			return fmt.Errorf("remove interface %s: it is not ours: no %s", name, kind)
		}
		if err == nil {
			err = c.Delete(name)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// CheckNetwork tells whether this host has what a network is to be made of.
func (h *Host) CheckNetwork(n Network) error {
	switch {
	case n.Alias != "":
		return fmt.Errorf("network %s: alias interface %s: %w on Linux: each container has a network stack of its own", n.Name, n.Alias, errors.ErrUnsupported)
	case n.Bridge == "":
		return fmt.Errorf("network %s: %w: a bridge is missing", n.Name, fs.ErrInvalid)
	case n.Own:
		return nil
	}
	return withNetif(func(c *netif.Conn) error {
		_, err := bridge(c, n.Name, n.Bridge)
		return err
	})
}

// MakeNetwork makes what is ours of a network, unless it is there.
func (h *Host) MakeNetwork(n Network) error {
	if err := h.CheckNetwork(n); err != nil || !n.Own {
		return err
	}
	if !h.ourName(n.Bridge) {
		return fmt.Errorf("network %s: bridge %s: it is not ours", n.Name, n.Bridge)
	}
	return withNetif(func(c *netif.Conn) error {
		return makeBridge(c, n)
	})
}

func makeBridge(c *netif.Conn, n Network) error {
	err := c.AddBridge(netif.Bridge{Name: n.Bridge, MAC: MAC(n.Bridge), MTU: n.MTU})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := bridge(c, n.Name, n.Bridge); err != nil {
		return err
	}
	for _, p := range n.Addrs {
		if err := c.AddAddr(n.Bridge, p); err != nil {
			return err
		}
	}
	return c.Set(n.Bridge, netif.Change{Alias: "xc network " + n.Name, Up: netif.Yes})
}

// RemoveNetwork removes what is ours of a network, if it is there.
func (h *Host) RemoveNetwork(n Network) error {
	if !n.Own {
		return nil
	}
	if err := h.remove(n.Bridge, "bridge"); err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	return nil
}

// SweepNetworks removes the bridges of ours but those in keep.
func (h *Host) SweepNetworks(keep map[string]bool) error {
	list, err := h.ourInterfaces()
	for _, i := range list {
		if i.Kind == "bridge" && !keep[i.Name] {
			err = errors.Join(err, h.remove(i.Name, "bridge"))
		}
	}
	return err
}

// ourInterfaces are those that carry our tag.
func (h *Host) ourInterfaces() (ours []netif.Interface, err error) {
	err = withNetif(func(c *netif.Conn) error {
		list, err := c.List()
		for _, i := range list {
			if h.ourName(i.Name) {
				ours = append(ours, i)
			}
		}
		return err
	})
	return ours, err
}

// leftInterfaces finds interfaces that carry our tag.
func (h *Host) leftInterfaces(ids map[string]bool, add func(kind, name, id string)) error {
	list, err := h.ourInterfaces()
	for _, i := range list {
		add("interface", i.Name, h.ownerOf(i.Name, ids))
	}
	return err
}

// Addresses are those this host has, by interface.
func (h *Host) Addresses() (map[string][]netip.Prefix, error) {
	all := map[string][]netip.Prefix{}
	err := withNetif(func(c *netif.Conn) error {
		list, err := c.List()
		for _, i := range list {
			all[i.Name] = i.Addrs
		}
		return err
	})
	return all, err
}

// Refill has nothing to do: there are no tables of addresses.
func (h *Host) Refill([]site.Undo) error { return nil }
