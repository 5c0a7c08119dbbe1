package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const portSyntax = `A port is [HOSTADDR:][HOSTPORT[-END]:]PORT[-END][/PROTOCOL], with IPv6 addresses
in brackets, and optionally ,from=PREFIX and ,interface=NAME behind it: who may
call, and where on the host calls come in. Without HOSTPORT one that is free is
chosen; see xc port.`

func portCommands() []command {
	running := completer{names: containerNames(api.StateRunning)}
	return []command{
		{use: "port [FLAGS] CONTAINER [PORT[/PROTOCOL]]", short: "Show where ports of a container are published", args: cobra.RangeArgs(1, 2), complete: running, setup: portCommand},
		{use: "rdr", short: "Publish ports of containers that run", sub: []command{
			{
				use: "add CONTAINER PORT...", short: "Publish ports until the container ends, and print what was chosen", long: portSyntax,
				args: cobra.MinimumNArgs(2), complete: running, setup: rdrAddCommand,
			},
			{use: "ls [FLAGS] [CONTAINER...]", short: "List published ports, and how often they were called", args: cobra.ArbitraryArgs, complete: completer{names: containerNames(api.StateRunning), many: true}, setup: rdrLsCommand},
			{
				use: "rm CONTAINER [HOSTADDR:]HOSTPORT[/PROTOCOL]...", short: "End the publishing of ports", long: "Connections that there are go on.",
				args: cobra.MinimumNArgs(2), complete: running, setup: rdrRmCommand,
			},
		}},
	}
}

// bindPorts binds the flags of run and create.
func (s *specFlags) bindPorts(f *pflag.FlagSet) {
	f.VarP((*repeated)(&s.publish), "publish", "p", "publish a port: [[HOSTADDR:]HOSTPORT:]PORT[/PROTOCOL][,from=PREFIX]; see xc rdr add --help")
	f.BoolVarP(&s.spec.PublishAll, "publish-all", "P", false, "publish the ports that the image exposes, each on a free one")
	f.BoolVar(&s.spec.NoLocalProxy, "no-local-proxy", false, "do not serve published ports to the host itself")
}

func parsePorts(list []string) ([]api.Port, error) {
	var ports []api.Port
	for _, text := range list {
		p, err := parsePort(text)
		if err != nil {
			return nil, fmt.Errorf("port %s: %w", text, err)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// parsePort reads a port as Docker's users write it, with our options behind.
func parsePort(text string) (p api.Port, err error) {
	text, options, _ := strings.Cut(text, ",")
	if options != "" {
		if err := portOptions(&p, options); err != nil {
			return p, err
		}
	}
	if text, err = portProtocol(&p, text); err != nil {
		return p, err
	}
	host, ports := "", text
	if strings.HasPrefix(text, "[") {
		end := strings.Index(text, "]:")
		if end < 0 {
			return p, errors.New("expected [ADDRESS]:HOSTPORT:PORT")
		}
		host, ports = text[1:end], text[end+2:]
		if !strings.Contains(ports, ":") {
			return p, fmt.Errorf("the port of the host or of the container is missing: [%s]::%s chooses one", host, ports)
		}
	} else if strings.Count(text, ":") > 2 {
		return p, errors.New("an IPv6 address is written in brackets: [ADDRESS]:HOSTPORT:PORT")
	} else if i := strings.LastIndex(text, ":"); i >= 0 {
		if j := strings.LastIndex(text[:i], ":"); j >= 0 {
			host, ports = text[:j], text[j+1:]
			if host == "" {
				return p, errors.New("the address is missing before the colon")
			}
		}
	}
	if host != "" {
		if p.Host, err = netip.ParseAddr(host); err != nil {
			return p, fmt.Errorf("%q is no address", host)
		}
	}
	onHost, inside, both := strings.Cut(ports, ":")
	if !both {
		onHost, inside = "", ports
	}
	if p.Port, p.End, err = parseRange(inside); err != nil {
		return p, err
	}
	if onHost == "" {
		return p, nil
	}
	if p.HostPort, p.HostEnd, err = parseRange(onHost); err != nil && strings.ContainsAny(onHost, ".abcdefghijklmnopqrstuvwxyz") {
		return p, fmt.Errorf("%w: the port of the host or of the container is missing: %s::%s chooses one", err, onHost, inside)
	}
	return p, err
}

// portProtocol takes the protocol from the end.
func portProtocol(p *api.Port, text string) (string, error) {
	text, protocol, given := strings.Cut(text, "/")
	p.Protocol = strings.ToLower(protocol)
	switch {
	case !given:
		p.Protocol = "tcp"
	case p.Protocol != "tcp" && p.Protocol != "udp" && p.Protocol != "sctp":
		return text, fmt.Errorf("protocol %q is none of tcp, udp, sctp", protocol)
	}
	return text, nil
}

func portOptions(p *api.Port, options string) error {
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "from":
			source, err := netip.ParsePrefix(value)
			if err != nil {
				a, aerr := netip.ParseAddr(value)
				if aerr != nil {
					return fmt.Errorf("from=%s: expected a prefix, such as 10.0.0.0/8, or an address", value)
				}
				source = netip.PrefixFrom(a, a.BitLen())
			}
			p.Sources = append(p.Sources, source.Masked())
		case "interface":
			if value == "" || p.Interface != "" {
				return errors.New("interface=: expected the name of one")
			}
			p.Interface = value
		default:
			return fmt.Errorf("unknown option %q: from=PREFIX and interface=NAME are those there are", o)
		}
	}
	return nil
}

// parseRange reads PORT or FIRST-LAST. Last is 0 without one.
func parseRange(text string) (first, last uint16, err error) {
	a, b, ranged := strings.Cut(text, "-")
	if first, err = parsePortNumber(a); err != nil || !ranged {
		return first, 0, err
	}
	if last, err = parsePortNumber(b); err == nil && last < first {
		err = fmt.Errorf("%s is no range of ports", text)
	}
	return first, last, err
}

func parsePortNumber(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port, 1 to 65535", text)
	}
	return uint16(n), nil
}

// published is the host's side of a port, as ps shows it: "8080", "127.0.0.1:8080".
func published(p api.Port) string {
	if p.Host.IsValid() {
		return strings.TrimSuffix(net.JoinHostPort(p.Host.String(), ""), ":") + ":" + p.HostRange()
	}
	return p.HostRange()
}

// portWords are published ports as ps shows them.
func portWords(ports []api.Port) string {
	var words []string
	for _, p := range ports {
		inside := api.Port{Port: p.Port, End: p.End, Protocol: p.Protocol}.String()
		if p.HostPort != 0 {
			inside = published(p) + "->" + inside
		}
		words = append(words, inside)
	}
	return strings.Join(words, ", ")
}

// portRow is a line of xc port.
type portRow struct {
	Port     string // of the container
	Protocol string
	Host     string // address, in brackets when IPv6
	HostPort string
}

func portCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		c, err := e.InspectContainer(ctx, args[0])
		if err != nil {
			return err
		}
		rows := []portRow{}
		if c.State == api.StateRunning {
			rows = portRows(c.Ports)
		}
		standard := "{{.Port}}/{{.Protocol}} -> {{.Host}}:{{.HostPort}}"
		if len(args) == 2 {
			var want api.Port
			text, err := portProtocol(&want, args[1])
			if err == nil {
				want.Port, err = parsePortNumber(text)
			}
			if err != nil {
				return fmt.Errorf("port %s: %w", args[1], err)
			}
			var some []portRow
			for _, r := range rows {
				if r.Port == strconv.Itoa(int(want.Port)) && r.Protocol == want.Protocol {
					some = append(some, r)
				}
			}
			if len(some) == 0 {
				return fmt.Errorf("container %s does not publish port %d/%s", c.Name, want.Port, want.Protocol)
			}
			rows, standard = some, "{{.Host}}:{{.HostPort}}"
		}
		return printRows(a.Stdout, *format, standard, portRow{}, rows)
	}
}

// portRows has a line for each port and family.
func portRows(ports []api.Port) []portRow {
	rows := []portRow{}
	for _, p := range ports {
		hosts := []string{"0.0.0.0", "[::]"}
		if p.Host.IsValid() {
			hosts = []string{strings.TrimSuffix(net.JoinHostPort(p.Host.String(), ""), ":")}
		}
		for i := range p.Count() {
			for _, host := range hosts {
				rows = append(rows, portRow{
					Port: strconv.Itoa(int(p.Port) + i), Protocol: p.Proto(), Host: host, HostPort: strconv.Itoa(int(p.HostPort) + i),
				})
			}
		}
	}
	return rows
}

func rdrAddCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		ports, err := parsePorts(args[1:])
		if err != nil {
			return err
		}
		added, err := e.PublishPorts(ctx, args[0], ports)
		for _, p := range added {
			fmt.Fprintln(a.Stdout, p)
		}
		return err
	}
}

func rdrRmCommand(_ *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		var ports []api.Port
		for _, text := range args[1:] {
			p, err := parseHostPort(text)
			if err != nil {
				return fmt.Errorf("port %s: %w", text, err)
			}
			ports = append(ports, p)
		}
		return e.UnpublishPorts(ctx, args[0], ports)
	}
}

// parseHostPort reads the host's side of a port, [HOSTADDR:]HOSTPORT[/PROTOCOL], or
// all of it as it was given to add.
func parseHostPort(text string) (p api.Port, err error) {
	rest, err := portProtocol(&p, text)
	if err != nil {
		return p, err
	}
	if at, err := netip.ParseAddrPort(rest); err == nil {
		p.Host, p.HostPort = at.Addr(), at.Port()
		return p, nil
	}
	if strings.ContainsAny(rest, ":,") {
		whole, err := parsePort(text)
		if err == nil && whole.HostPort == 0 {
			err = errors.New("the port of the host is missing: see xc rdr ls")
		}
		return whole, err
	}
	p.HostPort, p.HostEnd, err = parseRange(rest)
	return p, err
}

// rdrRow is a line of xc rdr ls.
type rdrRow struct {
	Container  string
	Published  string
	Port       string
	Interface  string
	From       string
	Redirected string // calls from outside
	Local      string // and by the proxy
}

var rdrHeader = rdrRow{
	Container: "CONTAINER", Published: "PUBLISHED", Port: "PORT", Interface: "INTERFACE", From: "FROM", Redirected: "REDIRECTED", Local: "LOCAL",
}

func rdrLsCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		if len(args) == 0 {
			names, err := containerNames(api.StateRunning)(ctx, e)
			if err != nil {
				return err
			}
			args = names
		}
		rows := []rdrRow{}
		for _, name := range args {
			list, err := e.PublishedPorts(ctx, name)
			if err != nil {
				return err
			}
			for _, p := range list {
				rows = append(rows, newRdrRow(name, p))
			}
		}
		const table = `table {{.Container}}\t{{.Published}}\t{{.Port}}\t{{.Interface}}\t{{.From}}\t{{.Redirected}}\t{{.Local}}`
		return printRows(a.Stdout, *format, table, rdrHeader, rows)
	}
}

func newRdrRow(name string, p api.PublishedPort) rdrRow {
	var from []string
	for _, s := range p.Port.Sources {
		from = append(from, s.String())
	}
	return rdrRow{
		Container: name, Published: published(p.Port), Port: api.Port{Port: p.Port.Port, End: p.Port.End, Protocol: p.Port.Protocol}.String(),
		Interface: p.Port.Interface, From: strings.Join(from, ","),
		Redirected: strconv.FormatUint(p.Redirected, 10), Local: strconv.FormatUint(p.Local, 10),
	}
}
