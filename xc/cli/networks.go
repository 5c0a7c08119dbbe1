package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const networkCreateLong = `Without --bridge and --alias xc makes a bridge of its own, gives it the
gateways' addresses, and removes it with the network. Without --subnet such a
network gets one of each family.

With --bridge containers become ports of a bridge that is there, which stays as
it is; with --alias (FreeBSD) those that have no network stack of their own get
addresses on that interface.

A --gateway or --range belongs to the subnet that has it. A network called
default is that of containers which name none.`

func networkCommands() []command {
	some := completer{names: networkNames, many: true}
	return []command{{use: "network", short: "Look after networks", sub: []command{
		{use: "create [FLAGS] NAME", short: "Make a network", long: networkCreateLong, args: cobra.ExactArgs(1), setup: networkCreateCommand},
		{use: "ls [FLAGS]", aliases: []string{"list"}, short: "List networks", args: cobra.NoArgs, setup: networkLsCommand},
		{use: "rm NETWORK...", aliases: []string{"remove"}, short: "Remove networks that no container is connected to", args: cobra.MinimumNArgs(1), complete: some, setup: networkRmCommand},
		{use: "inspect [FLAGS] NETWORK...", short: "Show all about networks", args: cobra.MinimumNArgs(1), complete: some, setup: networkInspectCommand},
		{use: "prune [FLAGS]", short: "Remove the networks that no container is connected to", args: cobra.NoArgs, setup: networkPruneCommand},
	}}}
}

// networkNames lists the names of networks.
func networkNames(ctx context.Context, e api.Engine) ([]string, error) {
	list, err := e.ListNetworks(ctx)
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names, err
}

// allNetworkNames are those and the two that are always there.
func allNetworkNames(ctx context.Context, e api.Engine) ([]string, error) {
	names, err := networkNames(ctx, e)
	return append(names, api.NetworkNone, api.NetworkHost), err
}

func networkCreateCommand(a *App, f *pflag.FlagSet) action {
	var spec api.NetworkSpec
	var subnets, gateways, ranges, tags []string
	f.StringVar(&spec.Bridge, "bridge", "", "use this bridge of the host, as it is")
	f.StringVar(&spec.Alias, "alias", "", "FreeBSD: use this interface of the host for the addresses of containers without a network stack of their own")
	f.Var((*repeated)(&subnets), "subnet", "hand out addresses of this prefix, such as 172.16.0.0/24 or fd00::/64 (may be repeated)")
	f.Var((*repeated)(&gateways), "gateway", "where default routes lead")
	f.Var((*repeated)(&ranges), "range", "hand out only these: FIRST-LAST, or a prefix")
	f.IntVar(&spec.MTU, "mtu", 0, "of containers' interfaces, in bytes (the bridge's when missing)")
	f.VarP((*repeated)(&tags), "label", "l", "attach KEY=VALUE to the network")
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		spec.Name = args[0]
		if spec.Labels, err = labels(tags); err != nil {
			return err
		}
		if spec.Subnets, err = subnetFlags(subnets, gateways, ranges); err != nil {
			return err
		}
		n, err := e.CreateNetwork(ctx, spec)
		if err == nil {
			fmt.Fprintln(a.Stdout, n.ID)
		}
		return err
	}
}

// subnetFlags gives each subnet the gateway and the range that it has.
func subnetFlags(subnets, gateways, ranges []string) ([]api.Subnet, error) {
	var list []api.Subnet
	for _, text := range subnets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--subnet %s: expected a prefix such as 172.16.0.0/24 or fd00::/64", text)
		}
		list = append(list, api.Subnet{Prefix: p})
	}
	within := func(a netip.Addr) (*api.Subnet, error) {
		for i := range list {
			if list[i].Prefix.Contains(a) {
				return &list[i], nil
			}
		}
		return nil, fmt.Errorf("%s is in no --subnet", a)
	}
	for _, text := range gateways {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--gateway %s: it is no address", text)
		}
		sub, err := within(addr)
		if err == nil && sub.Gateway.IsValid() {
			err = fmt.Errorf("%s has one already", sub.Prefix)
		}
		if err != nil {
			return nil, fmt.Errorf("--gateway %s: %w", text, err)
		}
		sub.Gateway = addr
	}
	for _, text := range ranges {
		first, last, err := addrRange(text)
		var sub *api.Subnet
		if err == nil {
			sub, err = within(first)
		}
		if err == nil && sub.First.IsValid() {
			err = fmt.Errorf("%s has one already", sub.Prefix)
		}
		if err != nil {
			return nil, fmt.Errorf("--range %s: %w", text, err)
		}
		sub.First, sub.Last = first, last
	}
	return list, nil
}

var errRange = errors.New("expected FIRST-LAST or a prefix")

// addrRange reads FIRST-LAST, or a prefix, of which it is all.
func addrRange(text string) (first, last netip.Addr, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if isRange {
		first, err = netip.ParseAddr(from)
		if err == nil {
			last, err = netip.ParseAddr(to)
		}
		if err != nil {
			return first, last, errRange
		}
		return first, last, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return first, last, errRange
	}
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(b)
	return p.Masked().Addr(), last, nil
}

// networkRow is a line of xc network ls.
type networkRow struct {
	ID         string
	Name       string
	Bridge     string
	Alias      string
	Subnets    string
	Gateways   string
	Containers string
	CreatedAt  string
	Labels     string
}

const networkTable = `table {{.ID}}\t{{.Name}}\t{{.Bridge}}\t{{.Subnets}}\t{{.Containers}}`

var networkHeader = networkRow{
	ID: "NETWORK ID", Name: "NAME", Bridge: "BRIDGE", Alias: "ALIAS", Subnets: "SUBNETS", Gateways: "GATEWAYS",
	Containers: "CONTAINERS", CreatedAt: "CREATED AT", Labels: "LABELS",
}

func networkLsCommand(a *App, f *pflag.FlagSet) action {
	quiet := f.BoolP("quiet", "q", false, "only names")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.ListNetworks(ctx)
		if err != nil {
			return err
		}
		rows := []networkRow{}
		for _, n := range list {
			rows = append(rows, newNetworkRow(n))
		}
		standard := networkTable
		if *quiet {
			standard = "{{.Name}}"
		}
		return printRows(a.Stdout, *format, standard, networkHeader, rows)
	}
}

func newNetworkRow(n api.Network) networkRow {
	var subnets, gateways []string
	for _, s := range n.Subnets {
		subnets = append(subnets, s.Prefix.String())
		if s.Gateway.IsValid() {
			gateways = append(gateways, s.Gateway.String())
		}
	}
	r := networkRow{
		ID: n.ID, Name: n.Name, Bridge: n.Bridge, Alias: n.Alias, Subnets: strings.Join(subnets, ","), Gateways: strings.Join(gateways, ","),
		Containers: fmt.Sprint(len(n.Containers)), CreatedAt: n.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), Labels: labelList(n.Labels),
	}
	if n.Own {
		r.Bridge += " (own)"
	}
	return r
}

func networkRmCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) { return name, e.RemoveNetwork(ctx, name) })
	}
}

func networkInspectCommand(a *App, f *pflag.FlagSet) action {
	format := inspectFormat(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return a.inspectAll(*format, args, func(name string) (any, error) { return e.InspectNetwork(ctx, name) })
	}
}

func networkPruneCommand(a *App, f *pflag.FlagSet) action {
	force := forceFlag(f)
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		if err := tryFormat(*format, somePruned.Networks); err != nil {
			return err
		}
		if err := a.sure(*force, unusedNetworks); err != nil {
			return err
		}
		pruned, err := e.PruneNetworks(ctx)
		if err != nil {
			return err
		}
		err = printObject(a.Stdout, *format, pruned, func(w io.Writer) error {
			for _, name := range pruned.Names {
				fmt.Fprintln(w, name)
			}
			return nil
		})
		return errors.Join(err, failures(pruned.Failed))
	}
}

// unusedNetworks are what a prune takes.
const unusedNetworks = "all networks that no container is connected to, but for default"

// networkFlags are those of a container's networks.
type networkFlags struct {
	networks     []string
	ip, ip6, mac string
	dns, hosts   []string
}

func (n *networkFlags) bind(f *pflag.FlagSet, spec *api.ContainerSpec) {
	f.Var((*repeated)(&n.networks), "network", "connect to NAME[:ADDRESS[,ADDRESS]] (may be repeated), or none (loopback only), or host (default: the network default if there is one, else none)")
	f.StringVar(&n.ip, "ip", "", "address on the first network")
	f.StringVar(&n.ip6, "ip6", "", "IPv6 address on the first network")
	f.StringVar(&n.mac, "mac-address", "", "MAC address of the interface on the first network")
	f.StringVar(&spec.Main, "main-address", "", "the network, or its address, that the container is known by and whose gateway it uses (the first)")
	f.Var((*repeated)(&spec.Aliases), "network-alias", "further name on its networks")
	f.Var((*repeated)(&n.dns), "dns", "address of a DNS server (instead of the host's)")
	f.Var((*repeated)(&spec.DNS.Search), "dns-search", "domain to look names up in; . for none")
	f.Var((*repeated)(&spec.DNS.Options), "dns-option", "an option of resolv.conf(5)")
	f.Var((*repeated)(&n.hosts), "add-host", "a line of /etc/hosts: NAME:ADDRESS; the address host-gateway is this host's on the container's networks")
	f.BoolVar(&spec.VNET, "vnet", false, "FreeBSD: a network stack of its own, also where networks have an alias interface")
}

// attachments reads --network and what belongs to the first one.
func (n *networkFlags) attachments() ([]api.Attachment, error) {
	var list []api.Attachment
	for _, text := range n.networks {
		name, addrs, given := strings.Cut(text, ":")
		a := api.Attachment{Network: name}
		if name == "" {
			return nil, fmt.Errorf("--network %q: expected NAME[:ADDRESS[,ADDRESS]]", text)
		}
		for addr := range strings.SplitSeq(addrs, ",") {
			if !given {
				break
			}
			ip, err := netip.ParseAddr(addr)
			if err != nil {
				return nil, fmt.Errorf("--network %s: %q is no address", text, addr)
			}
			a.Addrs = append(a.Addrs, ip)
		}
		list = append(list, a)
	}
	if n.ip == "" && n.ip6 == "" && n.mac == "" {
		return list, nil
	}
	if len(list) == 0 {
		list = []api.Attachment{{Network: api.NetworkDefault}}
	}
	for _, f := range []struct {
		flag, value string
		six         bool
	}{{"ip", n.ip, false}, {"ip6", n.ip6, true}} {
		if f.value == "" {
			continue
		}
		ip, err := netip.ParseAddr(f.value)
		if err != nil || ip.Is6() != f.six {
			return nil, fmt.Errorf("--%s %s: it is no address of IPv%d", f.flag, f.value, map[bool]int{false: 4, true: 6}[f.six])
		}
		list[0].Addrs = append(list[0].Addrs, ip)
	}
	list[0].MAC = n.mac
	return list, nil
}

// lookups reads --dns and --add-host.
func (n *networkFlags) lookups(spec *api.ContainerSpec) error {
	for _, text := range n.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--dns %s: it is no address", text)
		}
		spec.DNS.Servers = append(spec.DNS.Servers, a)
	}
	for _, text := range n.hosts {
		name, addr, found := strings.Cut(text, ":")
		h := api.HostEntry{Name: name}
		if !found || name == "" {
			return fmt.Errorf("--add-host %q: expected NAME:ADDRESS", text)
		}
		if addr != "host-gateway" {
			a, err := netip.ParseAddr(strings.Trim(addr, "[]"))
			if err != nil {
				return fmt.Errorf("--add-host %s: %q is no address", text, addr)
			}
			h.Addr = a
		}
		spec.Hosts = append(spec.Hosts, h)
	}
	return nil
}

// addresses are those of a container, the main one apart.
func addresses(c api.Container) (main string, all []string) {
	for _, conn := range c.Networks {
		if conn.Main.IsValid() {
			main = conn.Main.String()
		}
		for _, p := range conn.Addrs {
			all = append(all, p.Addr().String())
		}
	}
	return main, all
}
