package pf

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// rules writes an anchor in the language of pf.conf(5). A source is a rule of its
// own, as pfctl would make of a list; a table of the anchor's own would keep the
// anchor from going (pf_table.c, stable/14).
func rules(redirects []Redirect, nats []NAT) (string, error) {
	var text strings.Builder
	for i, r := range redirects {
		if err := r.check(); err != nil {
			return "", fmt.Errorf("redirect %d: %w", i, err)
		}
		for _, name := range r.Except {
			fmt.Fprintf(&text, "no rdr on %q %s\n", name, r.match("any"))
		}
		if len(r.From) == 0 {
			text.WriteString(r.rule("any"))
		}
		for _, p := range r.From {
			text.WriteString(r.rule(p.Masked().String()))
		}
	}
	for i, n := range nats {
		if err := n.check(); err != nil {
			return "", fmt.Errorf("translation %d: %w", i, err)
		}
		text.WriteString(n.rule())
	}
	return text.String(), nil
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "inet6"
	}
	return "inet"
}

func (r Redirect) rule(from string) string {
	on, target := "", strconv.Itoa(int(r.Port))
	if r.Interface != "" {
		on = fmt.Sprintf(" on %q", r.Interface)
	}
	if r.Last != r.First {
		target += ":*" // the same distance from the first
	}
	return fmt.Sprintf("rdr%s %s -> %s port %s\n", on, r.match(from), r.Target, target)
}

// match is what a packet has to be.
func (r Redirect) match(from string) string {
	to := "(self)" // all addresses of the host, as they come and go
	if r.Host.IsValid() {
		to = r.Host.String()
	}
	ports := strconv.Itoa(int(r.First))
	if r.Last != r.First {
		ports += ":" + strconv.Itoa(int(r.Last))
	}
	return fmt.Sprintf("%s proto %s from %s to %s port %s", family(r.Target), r.Proto, from, to, ports)
}

func (r Redirect) check() error {
	switch {
	case r.Proto != "tcp" && r.Proto != "udp" && r.Proto != "sctp":
		return fmt.Errorf("protocol %q: %w", r.Proto, fs.ErrInvalid)
	case r.First == 0 || r.Port == 0 || r.Last < r.First || int(r.Port)+int(r.Last-r.First) > 65535:
		return fmt.Errorf("ports %d to %d, from %d on: %w", r.First, r.Last, r.Port, fs.ErrInvalid)
	case r.Interface != "" && len(r.Except) > 0:
		return fmt.Errorf("interface %s but not %v: %w", r.Interface, r.Except, fs.ErrInvalid)
	}
	if err := checkAddr(r.Target); err != nil {
		return err
	}
	if r.Host.IsValid() {
		if err := checkAddr(r.Host); err != nil {
			return err
		}
		if r.Host.Is4() != r.Target.Is4() || r.Host.IsUnspecified() {
			return fmt.Errorf("address %s for %s: %w", r.Host, r.Target, fs.ErrInvalid)
		}
	}
	for _, p := range r.From {
		if !p.IsValid() || checkAddr(p.Addr()) != nil || p.Addr().Is4() != r.Target.Is4() {
			return fmt.Errorf("source %v for %s: %w", p, r.Target, fs.ErrInvalid)
		}
	}
	for _, name := range r.Except {
		if err := checkInterface(name); err != nil {
			return err
		}
	}
	if r.Interface == "" {
		return nil
	}
	return checkInterface(r.Interface)
}

func (n NAT) rule() string {
	from := n.From.Masked()
	return fmt.Sprintf("nat on %q %s from %s to ! %s -> (%s:0)\n", n.Interface, family(from.Addr()), from, from, n.Interface)
}

func (n NAT) check() error {
	if !n.From.IsValid() || checkAddr(n.From.Addr()) != nil {
		return fmt.Errorf("network %v: %w", n.From, fs.ErrInvalid)
	}
	return checkInterface(n.Interface)
}

// parseCounts reads what pfctl -s nat -v prints: a line for each rule, then lines
// in brackets with what it has counted. Rules that differ in their source only are
// those of one redirect.
func parseCounts(out string) ([]uint64, error) {
	var counts []uint64
	last, counting := "", false
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "[") {
			before, after, _ := strings.Cut(line, " from ")
			_, after, _ = strings.Cut(after, " to ")
			rule := before + " to " + after
			counting = strings.HasPrefix(line, "rdr ")
			if counting && rule != last {
				counts = append(counts, 0)
			}
			last = rule
			continue
		}
		_, rest, ok := strings.Cut(line, "State Creations:")
		if !ok || !counting {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "]")), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("pf: counts %q: %w", line, err)
		}
		counts[len(counts)-1] += n
	}
	return counts, nil
}
