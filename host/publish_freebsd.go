package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/freebsd/pf"
	"github.com/joyboyid/xc/site"
)

const (
	kindTable = "table" // name: a table of pf; addr: what a container has in it, separated by commas

	anchors     = "xc-rdr"      // of pf: the anchors of sites are below it
	tablePrefix = "xc:network:" // of tables: the name of the network follows
	anchorFix   = `put the line rdr-anchor "` + anchors + `/*" before the first filter rule of /etc/pf.conf, then: service pf reload`
)

func (h *Host) anchor(id string) string { return anchors + "/" + h.cfg.Tag + "-" + id }

// redirect gives a site these redirections, in place of those it has.
func (h *Host) redirect(id string, publish []Publish) error {
	ctx := context.Background()
	if len(publish) == 0 {
		err := h.forgetCounts(id)
		if !pf.Loaded() {
			return err // then there is nothing else of it
		}
		return errors.Join(err, pf.Clear(ctx, h.anchor(id)))
	}
	var list []pf.Redirect
	for _, p := range publish {
		r := pf.Redirect{
			Proto: p.Protocol, Host: p.Addr, Interface: p.Interface, First: p.First, Last: p.Last,
			Target: p.Target, Port: p.TargetFirst, From: p.Sources,
		}
		if p.Interface == "" {
			// What this host sends to itself, and what comes from the target's own
			// network and would have to go back there, is the proxy's.
			r.Except = []string{"lo0"}
			via, err := behind(p.Target)
			if err != nil {
				return err
			}
			if via != "" {
				r.Except = append(r.Except, via)
			}
		}
		list = append(list, r)
	}
	return h.load(ctx, id, list, publish)
}

// behind is the interface with the network of an address, "" if it is the host's
// own or the host is not on that network.
func behind(a netip.Addr) (string, error) {
	all, err := (&netif.Stack{}).Interfaces()
	if err != nil {
		return "", err
	}
	via := ""
	for _, i := range all {
		for _, p := range i.Addrs {
			if p.Addr() == a {
				return "", nil
			}
			if p.Contains(a) {
				via = i.Name
			}
		}
	}
	return via, nil
}

// CanPublish tells why this host cannot redirect what comes to it from outside,
// for one family. An [ErrNotForwarding] leaves it to the proxy.
func (h *Host) CanPublish(ctx context.Context, v6 bool) error {
	if !pf.Loaded() {
		return fmt.Errorf("pf is not loaded: %w: sysrc pf_enable=YES && service pf start", fs.ErrNotExist)
	}
	if on, err := pf.Enabled(ctx); err != nil {
		return err
	} else if !on {
		return fmt.Errorf("pf is not enabled: service pf start")
	}
	if called, err := pf.Calls(ctx, "rdr-anchor", anchors); err != nil {
		return err
	} else if !called {
		return fmt.Errorf("the rules of pf do not call the anchors of containers: %s", anchorFix)
	}
	name := "net.inet.ip.forwarding"
	if v6 {
		name = "net.inet6.ip6.forwarding"
	}
	on, err := unix.SysctlUint32(name)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	if on == 0 {
		return fmt.Errorf("%w: sysctl %s=1", ErrNotForwarding, name)
	}
	return nil
}

// leftRedirections finds sites that have redirections.
func (h *Host) leftRedirections(add func(kind, name, id string)) error {
	if !pf.Loaded() {
		return nil
	}
	list, err := pf.Anchors(context.Background(), anchors)
	for _, a := range list {
		if id, ok := strings.CutPrefix(a, h.anchor("")); ok {
			add("redirections", a, id)
		}
	}
	return err
}

// tableSteps put the addresses of a container into the tables of its networks, for
// rules of the operator. Without pf there are none.
func tableSteps(s Spec) []site.Step {
	if !pf.Loaded() {
		return nil
	}
	var steps []site.Step
	for _, i := range s.Interfaces {
		var words []string
		var addrs []netip.Addr
		for _, p := range i.Addrs {
			words, addrs = append(words, p.Addr().String()), append(addrs, p.Addr())
		}
		name := tablePrefix + i.Network
		steps = append(steps, step(kindTable, thing{Name: name, Addr: strings.Join(words, ",")}, func(context.Context) error {
			return pf.Table(name).Add(addrs...)
		}))
	}
	return steps
}

// tableOf is the table that t names, and the addresses that a container has in it.
func tableOf(t thing) (pf.Table, []netip.Addr, error) {
	if !strings.HasPrefix(t.Name, tablePrefix) {
		return "", nil, fmt.Errorf("table %s with %s: it is no network's", t.Name, t.Addr)
	}
	var addrs []netip.Addr
	for word := range strings.SplitSeq(t.Addr, ",") {
		if word == "" {
			continue
		}
		a, err := netip.ParseAddr(word)
		if err != nil {
			return "", nil, err
		}
		addrs = append(addrs, a)
	}
	return pf.Table(t.Name), addrs, nil
}

// removeTable takes addresses of a container out of a table.
func removeTable(_ context.Context, t thing) error {
	table, addrs, err := tableOf(t)
	if err != nil {
		return err
	}
	return table.Remove(addrs...)
}

// Refill puts the addresses of a running container, by the undos of its run, into
// the tables of its networks again: pf may have been restarted.
func (h *Host) Refill(run []site.Undo) error {
	if !pf.Loaded() {
		return nil
	}
	add := undo(func(_ context.Context, t thing) error {
		table, addrs, err := tableOf(t)
		if err != nil {
			return err
		}
		return table.Add(addrs...)
	})
	var errs error
	for _, u := range run {
		if u.Kind == kindTable {
			errs = errors.Join(errs, add(context.Background(), u))
		}
	}
	return errs
}

// checkTable tells why a network cannot have a table.
func checkTable(n Network) error {
	if err := pf.CheckTable(tablePrefix + n.Name); err != nil {
		return fmt.Errorf("network %s: %w: the name is too long for a table of pf, %d bytes at the most", n.Name, fs.ErrInvalid, 31-len(tablePrefix))
	}
	return nil
}

// dropTable deletes the table of a network that nobody is in, unless rules use it.
func dropTable(n Network) error {
	if !pf.Loaded() {
		return nil
	}
	return pf.Table(tablePrefix + n.Name).Drop()
}

// reflect has nothing to do: what a container sends itself by a published port
// goes through the proxy.
func (h *Host) reflect(string) error { return nil }
