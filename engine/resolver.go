package engine

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/joyboyid/xc/engine/api"
)

// resolver is what resolv.conf(5) says.
type resolver struct{ servers, search, options []string }

func parseResolver(text string) (r resolver) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			r.servers = append(r.servers, words[1])
		case "search", "domain": // the last one holds
			r.search = words[1:]
		case "options":
			r.options = append(r.options, words[1:]...)
		}
	}
	return r
}

// Where the host's resolv.conf only names a server on the host itself, that one's
// own configuration has the servers that it asks.
const (
	resolvedFile = "/run/systemd/resolve/resolv.conf" // systemd-resolved(8)
	unboundFile  = "/var/unbound/forward.conf"        // FreeBSD's local_unbound: unbound.conf(5)
)

// parseForwards reads the servers that unbound forwards to. What speaks TLS, or has
// a port of its own, is none for resolv.conf.
func parseForwards(text string) (servers []string) {
	for line := range strings.Lines(text) {
		switch words := strings.Fields(line); {
		case len(words) < 2:
		case words[0] == "forward-tls-upstream:" && words[1] == "yes":
			return nil
		case words[0] == "forward-addr:" && !strings.Contains(words[1], "@"):
			servers = append(servers, words[1])
		}
	}
	return servers
}

// resolverText is the resolv.conf of a container: the host's, with what the user
// says instead. In a network stack of its own a server on a loopback address is
// not the host's, and left out.
func resolverText(own bool, d api.DNS, read func(string) (string, error)) (string, error) {
	text, err := read(resolvFile)
	if err != nil {
		return "", err
	}
	r := parseResolver(text)
	if own {
		if r.servers = reachable(r.servers); len(r.servers) == 0 {
			if r.servers, err = asked(read); err != nil {
				return "", err
			}
		}
	}
	if len(d.Servers) > 0 {
		r.servers = nil
		for _, a := range d.Servers {
			r.servers = append(r.servers, a.String())
		}
	}
	if len(d.Search) > 0 {
		r.search = slices.DeleteFunc(slices.Clone(d.Search), func(s string) bool { return s == "." })
	}
	if len(d.Options) > 0 {
		r.options = d.Options
	}
	var b strings.Builder
	for _, s := range r.servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(r.search) > 0 {
		b.WriteString("search " + strings.Join(r.search, " ") + "\n")
	}
	if len(r.options) > 0 {
		b.WriteString("options " + strings.Join(r.options, " ") + "\n")
	}
	return b.String(), nil
}

// asked are the servers that a server on the host itself asks.
func asked(read func(string) (string, error)) ([]string, error) {
	text, err := read(resolvedFile)
	if err != nil {
		return nil, err
	}
	if servers := reachable(parseResolver(text).servers); len(servers) > 0 {
		return servers, nil
	}
	text, err = read(unboundFile)
	return reachable(parseForwards(text)), err
}

// reachable are the servers that are the same from everywhere.
func reachable(servers []string) []string {
	return slices.DeleteFunc(servers, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != ""
	})
}
