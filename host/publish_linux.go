package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/joyboyid/xc/linux/netif"
	"github.com/joyboyid/xc/linux/nft"
)

// table is the one of nftables that is ours.
func (h *Host) table() nft.Table { return nft.Table{Name: "xc-" + h.cfg.Tag} }

// redirect gives a site these redirections, in place of those it has.
func (h *Host) redirect(id string, publish []Publish) error {
	s := nft.Site{Name: id}
	for _, p := range publish {
		s.Redirects = append(s.Redirects, nft.Redirect{
			Proto: p.Protocol, Host: p.Addr, Interface: p.Interface, First: p.First, Last: p.Last,
			Target: p.Target, Port: p.TargetFirst, From: p.Sources,
		})
		if p.Subnet.IsValid() && !slices.Contains(s.Subnets, p.Subnet.Masked()) {
			s.Subnets = append(s.Subnets, p.Subnet.Masked())
		}
	}
	if len(publish) > 0 {
		return h.table().SetSite(s)
	}
	err := h.table().DeleteSite(id)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // then there is nothing of it
	}
	return err
}

// reflect lets the bridges of a container that runs give it what it has sent
// itself by a published port.
func (h *Host) reflect(id string) error {
	return withNetif(func(c *netif.Conn) error {
		for n := range MaxInterfaces {
			err := c.Hairpin(h.ifName(id, n))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// CanPublish tells why this host cannot redirect what comes to it from outside,
// for one family. An [ErrNotForwarding] leaves it to the proxy.
func (h *Host) CanPublish(_ context.Context, v6 bool) error {
	name, file := "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"
	if v6 {
		name, file = "net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if string(bytes.TrimSpace(b)) == "0" {
		return fmt.Errorf("%w: sysctl -w %s=1", ErrNotForwarding, name)
	}
	return nil
}

// Redirected tells how many connections came to a site by its redirections, in
// their order.
func (h *Host) Redirected(id string) ([]uint64, error) {
	counts, err := h.table().Counts(id)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	var out []uint64
	for _, c := range counts {
		out = append(out, c.Connections)
	}
	return out, err
}

// leftRedirections finds sites that have redirections.
func (h *Host) leftRedirections(add func(kind, name, id string)) error {
	parts, err := h.table().Parts()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	for _, id := range parts.Sites {
		add("redirections", h.table().Name+" "+id, id)
	}
	return err
}

// listened has nothing to tell: bind(2) and listen(2) do.
func listened(netip.AddrPort) error { return nil }
