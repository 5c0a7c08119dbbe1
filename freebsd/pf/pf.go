// Package pf keeps rules and addresses in FreeBSD's packet filter, in places that
// the operator has named: anchors and tables. It touches nothing else of pf(4):
// not the main rules, not the states of others, not whether pf is on.
//
// # Words
//
// An anchor is a place for rules with a path, such as "xc-rdr/web". Its rules are
// evaluated only if the main rules call it, with a line that the operator puts into
// pf.conf(5) once, before the first filter rule:
//
//	rdr-anchor "xc-rdr/*"
//
// [Calls] tells whether that line is there. A table is a set of addresses with a
// name that rules use as <name>.
//
// # One story
//
//	err := pf.Load(ctx, "xc-rdr/web", []pf.Redirect{{
//		Proto: "tcp", First: 8080, Last: 8080, Target: netip.MustParseAddr("10.0.0.2"), Port: 80,
//		Except: []string{"lo0", "xc0"},
//	}})
//	counts, err := pf.Counts(ctx, "xc-rdr/web") // connections so far, a number for each redirect
//	err = pf.Clear(ctx, "xc-rdr/web")
//
//	t := pf.Table("xc:network:blue")
//	err = t.Add(netip.MustParseAddr("10.0.0.2"))
//	err = t.Remove(netip.MustParseAddr("10.0.0.2"))
//
// # How
//
// Rules go through pfctl(8), which loads an anchor whole, in one transaction: an
// error leaves the old rules, and packets meet the old or the new ones. The kernel
// takes a rule as an nvlist of some 90 fields (DIOCADDRULENV, sys/netpfil/pf/pf_nv.c)
// that grows with each release; and before 14 as struct pfioc_rule. The interface
// that is stable is pf.conf's language. Tables are another matter: struct pfioc_table
// and struct pfr_addr are those of OpenBSD 3.9, the same on FreeBSD 9 to 14, and their
// sizes are part of each call (the number of the ioctl, pfrio_esize), so that a kernel
// with others refuses them; then pfctl serves as well.
//
// On other systems every call returns [errors.ErrUnsupported].
package pf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
)

// Redirect sends what comes in for ports of this host to another address. A packet
// cannot leave by the interface it has come in by.
type Redirect struct {
	Proto       string         // tcp, udp, sctp
	Host        netip.Addr     // the address that was called; invalid: any that the host has
	First, Last uint16         // ports that were called, both included
	Target      netip.Addr     // its family is that of the redirect
	Port        uint16         // of Target, for First; the others follow in order
	From        []netip.Prefix // who may call; empty: anyone
	Interface   string         // where calls come in; "": any
	// Except are interfaces where calls that come in are left alone: lo0, by which
	// this host calls itself, and the one behind which Target is. Only without
	// Interface.
	Except []string
}

// NAT gives what leaves by an interface that interface's first address, if it
// comes from a network and does not stay in it.
type NAT struct {
	Interface string
	From      netip.Prefix
}

// Load puts these redirects, then these translations, into an anchor, in place of
// all rules that are in there. Translations need nat-anchor in pf.conf.
func Load(ctx context.Context, anchor string, redirects []Redirect, nats ...NAT) error {
	text, err := rules(redirects, nats)
	if err == nil {
		err = checkAnchor(anchor)
	}
	if err != nil {
		return fmt.Errorf("pf: anchor %s: %w", anchor, err)
	}
	_, err = pfctl(ctx, text, "-a", anchor, "-f", "-")
	return err
}

// Clear empties an anchor. With its rules the anchor goes; one that is not there is
// no error. Connections that came by them go on, until they end or fall silent.
func Clear(ctx context.Context, anchor string) error { return Load(ctx, anchor, nil) }

// Counts tells for each redirect of an anchor, in their order, how many connections
// (or, for UDP, sessions) came by it. Neighbours that differ in From only count as
// one. An anchor that is not there has none.
func Counts(ctx context.Context, anchor string) ([]uint64, error) {
	if err := checkAnchor(anchor); err != nil {
		return nil, fmt.Errorf("pf: anchor %s: %w", anchor, err)
	}
	out, err := pfctl(ctx, "", "-a", anchor, "-s", "nat", "-v")
	if err != nil {
		return nil, unlessMissing(err)
	}
	return parseCounts(out)
}

// Anchors returns the paths of the anchors right below one.
func Anchors(ctx context.Context, parent string) ([]string, error) {
	if err := checkAnchor(parent); err != nil {
		return nil, fmt.Errorf("pf: anchor %s: %w", parent, err)
	}
	out, err := pfctl(ctx, "", "-a", parent, "-s", "Anchors")
	if err != nil {
		return nil, unlessMissing(err)
	}
	var list []string
	for _, f := range strings.Fields(out) {
		if strings.HasPrefix(f, parent+"/") {
			list = append(list, f)
		}
	}
	return list, nil
}

// unlessMissing is nil for the error of an anchor that is not there.
func unlessMissing(err error) error {
	var e *Error
	if errors.As(err, &e) && (strings.HasSuffix(e.Msg, "No such file or directory") || strings.Contains(e.Msg, "does not exist")) {
		return nil
	}
	return err
}

// Loaded reports whether the kernel has pf.
func Loaded() bool { return loaded() }

// Enabled reports whether pf filters.
func Enabled(ctx context.Context) (bool, error) {
	out, err := pfctl(ctx, "", "-s", "info")
	return strings.Contains(out, "Status: Enabled"), err
}

// Calls reports whether the main rules evaluate what is below an anchor, as the
// line `kind "parent/*"` of pf.conf makes them. The kind is rdr-anchor or
// nat-anchor.
func Calls(ctx context.Context, kind, parent string) (bool, error) {
	out, err := pfctl(ctx, "", "-s", "nat")
	return calls(out, kind, parent), err
}

// calls looks for the line in what pfctl -s nat prints. One that is limited to an
// interface, a protocol or addresses counts: the operator means it.
func calls(rules, kind, parent string) bool {
	for line := range strings.Lines(rules) {
		if strings.HasPrefix(line, kind+` "`+parent+`/*"`) {
			return true
		}
	}
	return false
}

// Error is a program or an ioctl that failed.
type Error struct {
	Op    string // "pfctl -a xc-rdr/web -f -", "add to table x"
	Errno syscall.Errno
	Msg   string // what it said
}

func (e *Error) Error() string {
	s := "pf: " + e.Op
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Errno != 0 {
		s += ": " + e.Errno.Error()
	}
	return s
}

// Unwrap returns the errno, if there is one: ENOENT says that pf is not loaded.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

var (
	anchorRule    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,62})*$`)
	interfaceRule = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,14}$`)
	tableRule     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,30}$`)
)

func checkAnchor(name string) error {
	if !anchorRule.MatchString(name) || len(name) > 1000 {
		return fmt.Errorf("%w: not a path of an anchor: letters, digits, '_', '.' and '-', 63 at the most between slashes", fs.ErrInvalid)
	}
	return nil
}

func checkInterface(name string) error {
	if !interfaceRule.MatchString(name) {
		return fmt.Errorf("interface %q: %w", name, fs.ErrInvalid)
	}
	return nil
}

func checkAddr(a netip.Addr) error {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
		return fmt.Errorf("address %v: %w", a, fs.ErrInvalid)
	}
	return nil
}
