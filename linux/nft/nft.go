// Package nft keeps one table of nftables: it redirects ports of the host to
// containers, and treats the traffic of their networks. It talks to the kernel in
// nf_tables messages of its own; there is no nft(8) and no library in between.
//
// A table of family inet has three base chains, and parts: a site, with the ports
// it publishes, and a network. Each part has chains of its own that the base
// chains jump to, and sets. A part is set whole and deleted whole, in one
// transaction: packets meet the old rules or the new ones. The last part takes the
// table along. No other table is ever looked at.
//
//	t := nft.Table{Name: "xc-3f9a"}
//	err := t.SetNetwork(nft.Network{Name: "blue", Bridge: "xc0", Prefixes: subnets, Masquerade: true})
//	err = t.SetSite(nft.Site{Name: id, Redirects: []nft.Redirect{{
//		Proto: "tcp", First: 8080, Last: 8080, Target: netip.MustParseAddr("10.1.0.2"), Port: 80,
//	}}})
//	...
//	err = t.DeleteSite(id) // nil also when there is none
//
// Connections that the host itself makes do not pass prerouting: they are not
// redirected. Forwarding (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding) is
// the operator's to allow.
//
// Linux 5.2 (NAT in family inet), with nft_nat, nft_masq and nft_fib_inet. Without
// nf_tables, and on other systems, every call returns [errors.ErrUnsupported].
package nft

import (
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
)

// Table is a table of family inet, by its name. Its methods may be called by
// several goroutines and processes at once: a transaction that met another's is
// made again.
type Table struct{ Name string }

// Site is what publishes ports. Without redirects it has none of the table.
type Site struct {
	Name      string
	Redirects []Redirect
	// Subnets are those that targets are in, disjoint. Who calls from the target's
	// own subnet would get the answer from a stranger, the target itself, so such
	// a call gets the host's address as its source.
	Subnets []netip.Prefix
}

// Redirect sends what comes from outside to ports of the host to a container.
// When several match, the first of the site's does.
type Redirect struct {
	Proto       string         // tcp, udp, sctp
	Host        netip.Addr     // the address that was called; invalid: any of the host's
	First, Last uint16         // ports that were called
	Target      netip.Addr     // its family is that of the redirect
	Port        uint16         // of Target, for First; the others follow in order
	From        []netip.Prefix // who may call; empty: anyone
	Interface   string         // where calls come in; "": anywhere
}

// String names the redirect, as in "tcp [::1]:8000-8010 > [fd00::2]:80-90".
func (r Redirect) String() string {
	host := "*"
	if r.Host.IsValid() {
		host = bracket(r.Host)
	}
	s := fmt.Sprintf("%s %s:%s > %s:%s", r.Proto, host, ports(r.First, r.Last), bracket(r.Target), ports(r.Port, r.Port+(r.Last-r.First)))
	if r.Interface != "" {
		s += " on " + r.Interface
	}
	return s
}

func bracket(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

func ports(first, last uint16) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// Network is a bridge with the addresses behind it.
type Network struct {
	Name     string
	Bridge   string         // interface
	Prefixes []netip.Prefix // disjoint
	// Masquerade gives what leaves by another interface the address of that
	// interface.
	Masquerade bool
	// Isolated lets in only answers, what its own bridge sends, and what comes
	// by a redirect. The host itself is not kept out.
	Isolated bool
}

// Count is what came by a redirect.
type Count struct {
	Redirect    string // [Redirect.String]
	Connections uint64 // or, for UDP, sessions
}

// Parts are the names of what a table has.
type Parts struct{ Sites, Networks []string }

// Error is a transaction or a look that the kernel refused.
type Error struct {
	Op    string // "set site c1", "add rule"
	Table string
	Errno syscall.Errno
	Msg   string // the kernel's own words, if it had any
}

func (e *Error) Error() string {
	s := "nftables: table " + e.Table + ": " + e.Op + ": "
	if e.Msg != "" {
		s += e.Msg + ": "
	}
	return s + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// SetSite gives a site its redirects, in place of those it had. Counts of those
// that stay go on.
func (t Table) SetSite(s Site) error {
	p, err := s.part()
	if err != nil {
		return fmt.Errorf("table %s: site %s: %w", t.Name, s.Name, err)
	}
	return t.set(p)
}

// DeleteSite takes away what a site has. A site that is not there is no error.
func (t Table) DeleteSite(name string) error { return t.set(part{kind: kindSite, name: name}) }

// SetNetwork gives a network its rules, in place of those it had.
func (t Table) SetNetwork(n Network) error {
	p, err := n.part()
	if err != nil {
		return fmt.Errorf("table %s: network %s: %w", t.Name, n.Name, err)
	}
	return t.set(p)
}

// DeleteNetwork takes away what a network has. One that is not there is no error.
func (t Table) DeleteNetwork(name string) error { return t.set(part{kind: kindNetwork, name: name}) }

// Parts lists what the table has; nothing when there is no table.
func (t Table) Parts() (Parts, error) { return t.parts() }

// Counts tells what came by a site's redirects, in their order.
func (t Table) Counts(site string) ([]Count, error) { return t.counts(site) }

// Delete deletes the table, whatever is in it. No table is no error.
func (t Table) Delete() error { return t.delete() }

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// Check tells what is wrong with a redirect.
func (r Redirect) Check() error {
	_, known := protocols[r.Proto]
	bad := func(format string, a ...any) error {
		return fmt.Errorf("redirect %s: "+format+": %w", append(append([]any{r}, a...), fs.ErrInvalid)...)
	}
	switch {
	case !known:
		return bad("protocol is none of tcp, udp, sctp")
	case r.First == 0 || r.Last < r.First || r.Port == 0 || int(r.Port)+int(r.Last-r.First) > 65535:
		return bad("ports are no range")
	case !r.Target.IsValid() || r.Target.Is4In6() || r.Target.Zone() != "":
		return bad("target is no address")
	case r.Host.IsValid() && (r.Host.Is4() != r.Target.Is4() || r.Host.Is4In6() || r.Host.Zone() != ""):
		return bad("host address and target are of different families")
	case len(r.Interface) >= ifnameSize || strings.ContainsAny(r.Interface, "/ \x00"):
		return bad("interface has no name of one")
	}
	for _, p := range r.From {
		if !p.IsValid() || p.Addr().Is4() != r.Target.Is4() {
			return bad("source %s is of another family", p)
		}
	}
	return nil
}
