package pf

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tool runs a program of the base system: the oracle.
func tool(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestIntegrationWithout runs before the module is loaded, in a fresh guest.
func TestIntegrationWithout(t *testing.T) {
	if Loaded() {
		t.Skip("pf is loaded: runs in a fresh guest")
	}
	if err := Load(t.Context(), "xc-test/a", samples); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "kldload pf") {
		t.Errorf("load: %v", err)
	}
	if err := Table("xc:test").Add(addr("10.0.0.1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("add: %v", err)
	}
	if err := errors.Join(Table("xc:test").Remove(addr("10.0.0.1")), Table("xc:test").Drop()); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// withPF loads and enables pf with rules of an operator, and looks afterwards
// that they are as they were.
func withPF(t *testing.T, conf string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for pf: run with go test -exec sudo")
	}
	tool(t, "", "kldload", "-n", "pf")
	if !Loaded() {
		t.Fatal("pf is not loaded")
	}
	if out := tool(t, "", "pfctl", "-s", "all"); strings.Contains(out, "Status: Enabled") {
		t.Skip("pf is enabled: this test would replace its rules")
	}
	tool(t, conf, "pfctl", "-f", "-")
	tool(t, "", "pfctl", "-e")
	state := func() string {
		return tool(t, "", "pfctl", "-s", "rules") + tool(t, "", "pfctl", "-s", "nat") + tool(t, "", "pfctl", "-s", "Tables", "-v") + tool(t, "", "pfctl", "-s", "Anchors", "-v")
	}
	before := state()
	t.Cleanup(func() {
		if after := state(); after != before {
			t.Errorf("pf has changed: before\n%s\nafter\n%s", before, after)
		}
		tool(t, "", "pfctl", "-d")
		tool(t, "", "pfctl", "-F", "all")
	})
}

func TestIntegrationRules(t *testing.T) {
	withPF(t, "table <theirs> persist { 192.0.2.1 }\nrdr-anchor \"xc-test/*\"\npass all\n")
	ctx := t.Context()
	if on, err := Enabled(ctx); err != nil || !on {
		t.Errorf("enabled %v, %v", on, err)
	}
	for parent, want := range map[string]bool{"xc-test": true, "xc-other": false} {
		if got, err := Calls(ctx, "rdr-anchor", parent); err != nil || got != want {
			t.Errorf("calls %s: %v, %v", parent, got, err)
		}
	}
	const anchor = "xc-test/abc"
	if err := Load(ctx, anchor, samples, NAT{"lo0", netip.MustParsePrefix("10.0.0.0/24")}); err != nil {
		t.Fatal(err)
	}
	out := tool(t, "", "pfctl", "-q", "-a", anchor, "-s", "nat")
	// pfctl prints translations first, and fills in what was left open.
	for _, want := range []string{
		"nat on lo0 inet from 10.0.0.0/24 to ! 10.0.0.0/24 -> (lo0:0)",
		"rdr inet proto tcp from any to (self) port = http-alt -> 10.0.0.2 port 80",
		"rdr on em0 inet6 proto udp from any to fd00::1 port = domain -> fd00::2 port 5353",
		"no rdr on lo0 inet proto tcp from any to 192.0.2.1 port 8000:8010",
		"no rdr on xc0 inet proto tcp from any to 192.0.2.1 port 8000:8010",
		"rdr inet proto tcp from 10.0.0.0/8 to 192.0.2.1 port 8000:8010 -> 10.0.0.2 port 80:90",
		"rdr inet proto sctp from 10.0.0.0/8 to (self) port = tcpmux -> 10.0.0.2 port 1",
		"rdr inet proto sctp from 192.0.2.7 to (self) port = tcpmux -> 10.0.0.2 port 1",
	} {
		if !strings.Contains(out, want+"\n") && !strings.Contains(out, want+" round-robin\n") {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if counts, err := Counts(ctx, anchor); err != nil || !slices.Equal(counts, make([]uint64, len(samples))) {
		t.Errorf("counts %v, %v", counts, err)
	}
	if list, err := Anchors(ctx, "xc-test"); err != nil || !slices.Equal(list, []string{anchor}) {
		t.Errorf("anchors %q, %v", list, err)
	}
	// The whole is replaced.
	if err := Load(ctx, anchor, samples[:1]); err != nil {
		t.Fatal(err)
	}
	if out := tool(t, "", "pfctl", "-q", "-a", anchor, "-s", "nat"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "http-alt") {
		t.Error(out)
	}
	for range 2 {
		if err := Clear(ctx, anchor); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Anchors(ctx, "xc-test"); err != nil || len(list) != 0 {
		t.Errorf("anchors %q, %v", list, err)
	}
	if counts, err := Counts(ctx, anchor); err != nil || len(counts) != 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	if list, err := Anchors(ctx, "nosuch"); err != nil || len(list) != 0 {
		t.Errorf("anchors of nothing %q, %v", list, err)
	}
}

func TestIntegrationTables(t *testing.T) {
	withPF(t, "table <theirs> persist { 192.0.2.1 }\npass from <used>\n")
	table := Table("xc:test:blue")
	if _, err := table.Addrs(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no table: %v", err)
	}
	a, b := addr("10.0.0.2"), addr("fd00::2")
	for range 2 {
		if err := table.Add(a, b); err != nil {
			t.Fatal(err)
		}
	}
	list, err := table.Addrs()
	if err != nil || !slices.Equal(list, prefixes("10.0.0.2/32", "fd00::2/128")) {
		t.Errorf("%v, %v", list, err)
	}
	if out := strings.Fields(tool(t, "", "pfctl", "-q", "-t", string(table), "-T", "show")); !slices.Equal(out, []string{"10.0.0.2", "fd00::2"}) {
		t.Errorf("pfctl says %q", out)
	}
	var many []netip.Addr
	for x := addr("10.1.0.1"); len(many) < 200; x = x.Next() {
		many = append(many, x)
	}
	if err := table.Add(many...); err != nil {
		t.Fatal(err)
	}
	if list, err := table.Addrs(); err != nil || len(list) != 202 {
		t.Errorf("%d addresses, %v", len(list), err)
	}
	for range 2 {
		if err := table.Remove(many...); err != nil {
			t.Fatal(err)
		}
	}
	// With something in it, it stays.
	if err := errors.Join(table.Drop(), table.Remove(a)); err != nil {
		t.Error(err)
	}
	if list, err := table.Addrs(); err != nil || !slices.Equal(list, prefixes("fd00::2/128")) {
		t.Errorf("%v, %v", list, err)
	}
	if err := errors.Join(table.Remove(b), table.Drop(), table.Drop(), table.Remove(b)); err != nil {
		t.Error(err)
	}
	if _, err := table.Addrs(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	// One that rules use stays as well.
	used := Table("used")
	if err := errors.Join(used.Add(a), used.Remove(a), used.Drop()); err != nil {
		t.Error(err)
	}
	if out := tool(t, "", "pfctl", "-s", "rules"); !strings.Contains(out, "<used>") {
		t.Error(out)
	}
	tool(t, "", "pfctl", "-t", "used", "-T", "kill")
}

// TestIntegrationTraffic calls redirected ports of this host from a jail on one
// side of it; what answers is in a jail on the other side.
func TestIntegrationTraffic(t *testing.T) {
	withPF(t, "rdr-anchor \"xc-test/*\"\npass all\n")
	tool(t, "", "kldload", "-n", "if_epair")
	forwarding := strings.TrimSpace(tool(t, "", "sysctl", "-n", "net.inet.ip.forwarding"))
	tool(t, "", "sysctl", "net.inet.ip.forwarding=1")
	t.Cleanup(func() { tool(t, "", "sysctl", "net.inet.ip.forwarding="+forwarding) })
	side := func(name, net string) (host string) {
		a := strings.TrimSpace(tool(t, "", "ifconfig", "epair", "create", "inet", net+".1/24", "up"))
		b := strings.TrimSuffix(a, "a") + "b"
		tool(t, "", "jail", "-c", "name="+name, "path=/", "persist", "vnet=new")
		t.Cleanup(func() {
			tool(t, "", "jail", "-r", name)
			tool(t, "", "ifconfig", a, "destroy")
		})
		tool(t, "", "ifconfig", b, "vnet", name)
		tool(t, "", "ifconfig", "-j", name, b, "inet", net+".2/24", "up")
		tool(t, "", "route", "-j", name, "add", "default", net+".1")
		return a
	}
	outside := side("xctestout", "10.90.0")
	side("xctestin", "10.91.0")
	server := exec.Command("jexec", "xctestin", "sh", "-c", "while :; do echo from the target | nc -N -l 80; done")
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		server.Wait()
	})
	call := func(port string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		out, _ := exec.CommandContext(ctx, "jexec", "xctestout", "nc", "-N", "-w", "3", "10.90.0.1", port).Output()
		return string(out)
	}
	const anchor = "xc-test/traffic"
	target := addr("10.91.0.2")
	r := Redirect{Proto: "tcp", First: 8000, Last: 8001, Target: target, Port: 79, From: prefixes("192.0.2.0/24", "10.90.0.0/24")}
	elsewhere := Redirect{Proto: "tcp", First: 8101, Last: 8101, Target: target, Port: 80, From: prefixes("192.0.2.0/24", "198.51.100.0/24")}
	except := Redirect{Proto: "tcp", First: 8201, Last: 8201, Target: target, Port: 80, Except: []string{outside}}
	if err := Load(t.Context(), anchor, []Redirect{r, elsewhere, except}); err != nil {
		t.Fatal(err)
	}
	served := 0
	for deadline := time.Now().Add(time.Minute); served < 3 && time.Now().Before(deadline); {
		if call("8001") == "from the target\n" { // not while nc is started again
			served++
		}
	}
	if served < 3 {
		t.Fatal("not redirected")
	}
	for _, port := range []string{"8101", "8201"} {
		if got := call(port); got != "" {
			t.Errorf("port %s: %q", port, got)
		}
	}
	counts, err := Counts(t.Context(), anchor)
	if err != nil || len(counts) != 3 || counts[0] < 3 || counts[1] != 0 || counts[2] != 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	if err := Clear(t.Context(), anchor); err != nil {
		t.Error(err)
	}
	if got := call("8001"); got != "" {
		t.Errorf("afterwards %q", got)
	}
}
