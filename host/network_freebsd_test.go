package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/freebsd/pf"
	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
)

// tool runs a program of the base system: the oracle.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// networkHost opens a host, and compares interfaces, addresses and routes of this
// machine before and after the test.
func networkHost(t testing.TB) *Host {
	t.Helper()
	needRoot(t)
	tool(t, "kldload", "-n", "if_epair")
	tool(t, "kldload", "-n", "if_bridge")
	state := func() string {
		out := tool(t, "ifconfig", "-a") + tool(t, "netstat", "-rnW") + tool(t, "jls", "-n")
		if pf.Loaded() {
			for _, args := range [][]string{{"rules"}, {"nat"}, {"Tables", "-v"}, {"Anchors", "-v"}} {
				out += tool(t, "pfctl", append([]string{"-q", "-s"}, args...)...)
			}
		}
		return out
	}
	before := state()
	t.Cleanup(func() {
		if after := state(); after != before {
			t.Errorf("the host has changed: before\n%s\nafter\n%s", before, after)
		}
	})
	c := testConfig(t)
	c.Tag = randomID()[:6] // as long as that of an engine
	return openHost(t, c)
}

// networked is a container as far as its network goes: a jail of the base system.
type networked struct {
	*site.Site
	id, jail string
}

func (h *Host) networked(t testing.TB, s Spec) (networked, error) {
	t.Helper()
	s.ID = randomID()
	c := networked{site.New(s.ID, &site.MemoryJournal{}, h.Table()), s.ID, h.jailName(s.ID)}
	t.Cleanup(func() {
		if err := c.Unwind(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(filepath.Join(h.cfg.SitesDir, s.ID), 0o700); err != nil {
		t.Fatal(err)
	}
	steps, err := h.networkSteps(s, c.jail)
	if err != nil {
		return c, err
	}
	steps = append([]site.Step{step(kindJail, thing{Name: c.jail}, func(context.Context) error {
		_, err := jail.Create(append(jailParams(s, c.jail, "/"), jail.Flag("allow.raw_sockets"))...)
		return err
	})}, append(steps, h.publishSteps(s)...)...)
	return c, c.Run.Acquire(t.Context(), steps)
}

// run runs a program of the base system in the jail.
func (c networked) run(args ...string) (string, error) {
	out, err := exec.Command("jexec", append([]string{c.jail}, args...)...).CombinedOutput()
	return string(out), err
}

func (c networked) mustRun(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.run(args...)
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return out
}

func (c networked) reaches(addr string) bool {
	_, err := c.run("ping", "-c1", "-t3", addr)
	return err == nil
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// makeNetwork makes a network with a bridge of our own, twice, and removes it as
// often.
func makeNetwork(t testing.TB, h *Host, name string, mtu int, addrs ...string) Network {
	t.Helper()
	n := Network{Name: name, Bridge: h.BridgeName(randomID()), Own: true, MTU: mtu, Addrs: prefixes(addrs...)}
	for range 2 {
		if err := h.MakeNetwork(n); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { removeNetwork(t, h, n) })
	return n
}

// removeNetwork removes what is ours of a network: where pf is loaded that is, of
// somebody else's interface, the table of addresses.
func removeNetwork(t testing.TB, h *Host, n Network) {
	t.Helper()
	for range 2 {
		if err := h.RemoveNetwork(n); err != nil {
			t.Error(err)
		}
	}
}

func TestIntegrationNetworkOwn(t *testing.T) {
	h := networkHost(t)
	testns.NoForward(t)
	red := makeNetwork(t, h, "red", 1400, "10.81.0.1/24", "fd81::1/64")
	blue := makeNetwork(t, h, "blue", 0, "10.82.0.1/24")
	out := tool(t, "ifconfig", red.Bridge)
	for _, want := range []string{"mtu 1400", "description: xc network red", "inet 10.81.0.1 ", "inet6 fd81::1 ", "groups: bridge", "UP", "ether " + MAC(red.Bridge).String()} {
		if !strings.Contains(out, want) {
			t.Errorf("bridge: no %q in\n%s", want, out)
		}
	}
	connect := func(n Network, mac string, addrs ...string) networked {
		i := Interface{Network: n.Name, Bridge: n.Bridge, Name: "eth0", MAC: MAC(mac), Addrs: prefixes(addrs...), Main: true}
		for _, a := range n.Addrs {
			i.Gateways = append(i.Gateways, a.Addr())
		}
		c, err := h.networked(t, Spec{Network: NetworkOwn, Interfaces: []Interface{i}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := connect(red, "one", "10.81.0.2/24", "fd81::2/64")
	two := connect(red, "two", "10.81.0.3/24", "fd81::3/64")
	three := connect(blue, "three", "10.82.0.3/24")
	out = one.mustRun(t, "ifconfig")
	for _, want := range []string{"eth0: ", "mtu 1400", "ether " + MAC("one").String(), "inet 10.81.0.2 netmask 0xffffff00", "inet6 fd81::2 prefixlen 64\n", "inet 127.0.0.1", "inet6 ::1"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := one.mustRun(t, "netstat", "-rnW"); !strings.Contains(out, "default            10.81.0.1 ") || !strings.Contains(out, "fd81::1") {
		t.Error(out)
	}
	for _, addr := range []string{"10.81.0.3", "fd81::3", "10.81.0.1", "fd81::1", "127.0.0.1", "::1", "10.82.0.1"} {
		if !one.reaches(addr) {
			t.Errorf("%s is not reached", addr)
		}
	}
	for _, c := range []struct {
		from networked
		to   string
	}{{one, "10.82.0.3"}, {three, "10.81.0.2"}, {three, "fd81::2"}} {
		if c.from.reaches(c.to) {
			t.Errorf("%s is reached from another network", c.to)
		}
	}
	if out := tool(t, "ifconfig", h.ifName(one.id, 0)); !strings.Contains(out, "description: xc "+one.id+" eth0") {
		t.Error(out)
	}
	left, err := h.Leftovers(map[string]bool{one.id: true, two.id: true})
	if err != nil || !slices.Contains(left, "interface "+h.ifName(three.id, 0)) || slices.Contains(left, "interface "+h.ifName(one.id, 0)) {
		t.Errorf("left: %q, %v", left, err)
	}
	if err := h.SweepNetworks(map[string]bool{red.Bridge: true}); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("ifconfig", blue.Bridge).CombinedOutput(); err == nil {
		t.Errorf("not swept: %s", out)
	}
	tool(t, "ifconfig", red.Bridge)
}

// TestIntegrationNetworkSeveral connects one container twice, with a bridge of the
// operator.
func TestIntegrationNetworkSeveral(t *testing.T) {
	h := networkHost(t)
	bridge := strings.TrimSpace(tool(t, "ifconfig", "bridge", "create", "inet", "10.84.0.1/24", "up"))
	t.Cleanup(func() { tool(t, "ifconfig", bridge, "destroy") })
	n := Network{Name: "theirs", Bridge: bridge}
	t.Cleanup(func() { removeNetwork(t, h, n) })
	if err := errors.Join(h.CheckNetwork(n), h.MakeNetwork(n), h.RemoveNetwork(n)); err != nil {
		t.Fatal(err)
	}
	own := makeNetwork(t, h, "own", 0, "10.83.0.1/24")
	c, err := h.networked(t, Spec{Network: NetworkOwn, Interfaces: []Interface{
		{Network: "own", Bridge: own.Bridge, Name: "eth0", Addrs: prefixes("10.83.0.2/24", "10.83.0.3/24")},
		{Network: "theirs", Bridge: bridge, Name: "eth1", Addrs: prefixes("10.84.0.2/24"), Gateways: []netip.Addr{netip.MustParseAddr("10.84.0.1")}, Main: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.83.0.1", "10.84.0.1"} {
		if !c.reaches(addr) {
			t.Errorf("%s is not reached", addr)
		}
	}
	if out := c.mustRun(t, "ifconfig", "eth0"); !strings.Contains(out, "10.83.0.2 ") || !strings.Contains(out, "10.83.0.3 ") {
		t.Error(out)
	}
	if out := c.mustRun(t, "route", "-n", "get", "default"); !strings.Contains(out, "gateway: 10.84.0.1") || !strings.Contains(out, "interface: eth1") {
		t.Error(out)
	}
}

func TestIntegrationNetworkAlias(t *testing.T) {
	h := networkHost(t)
	lo := strings.TrimSpace(tool(t, "ifconfig", "lo", "create", "inet", "10.85.0.1/24", "up"))
	t.Cleanup(func() { tool(t, "ifconfig", lo, "destroy") })
	n := Network{Name: "plain", Alias: lo}
	t.Cleanup(func() { removeNetwork(t, h, n) })
	if err := errors.Join(h.CheckNetwork(n), h.MakeNetwork(n), h.RemoveNetwork(n)); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Network: NetworkAlias, Interfaces: []Interface{
		{Network: "plain", Alias: lo, Addrs: prefixes("10.85.0.3/24")},
		{Network: "plain", Alias: lo, Addrs: prefixes("10.85.0.2/24", "fd85::2/64"), Main: true},
	}}
	c, err := h.networked(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	if out := strings.TrimSpace(tool(t, "jls", "-j", c.jail, "ip4.addr", "ip6.addr")); out != "10.85.0.2,10.85.0.3 fd85::2" {
		t.Errorf("addresses of the jail: %s", out)
	}
	if out := c.mustRun(t, "ifconfig", lo); !strings.Contains(out, "10.85.0.2") || !strings.Contains(out, "fd85::2") || strings.Contains(out, "10.85.0.1 ") {
		t.Error(out)
	}
	if !c.reaches("10.85.0.1") {
		t.Error("the host is not reached")
	}
	// What somebody has is neither taken nor removed.
	if _, err := h.networked(t, spec); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same addresses again: %v", err)
	}
	spec.Interfaces = []Interface{{Network: "plain", Alias: lo, Addrs: prefixes("10.85.0.1/24")}}
	if _, err := h.networked(t, spec); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the host's address: %v", err)
	}
	if out := tool(t, "ifconfig", lo); !strings.Contains(out, "10.85.0.1 ") || !strings.Contains(out, "10.85.0.2 ") {
		t.Error(out)
	}
}

// TestIntegrationAliasDetection uses an interface where IPv6 addresses have to be
// waited for.
func TestIntegrationAliasDetection(t *testing.T) {
	h := networkHost(t)
	a := strings.TrimSpace(tool(t, "ifconfig", "epair", "create", "up"))
	t.Cleanup(func() { tool(t, "ifconfig", a, "destroy") })
	tool(t, "ifconfig", strings.TrimSuffix(a, "a")+"b", "up")
	tool(t, "ifconfig", a, "inet6", "fd86::1/64")
	t.Cleanup(func() { removeNetwork(t, h, Network{Name: "plain", Alias: a}) })
	c, err := h.networked(t, Spec{Network: NetworkAlias, Interfaces: []Interface{{Network: "plain", Alias: a, Addrs: prefixes("fd86::2/64"), Main: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if out := c.mustRun(t, "ifconfig", a); !strings.Contains(out, "fd86::2 prefixlen 64\n") {
		t.Error(out)
	}
}

// TestIntegrationNetworkUndo undoes what is there in part, and what is not ours.
func TestIntegrationNetworkUndo(t *testing.T) {
	h := networkHost(t)
	var stack netif.Stack
	undo := func(kind string, th thing) error {
		s := site.New("undo", &site.MemoryJournal{}, h.Table())
		return errors.Join(s.Run.Push(t.Context(), step(kind, th, nil).Undo), s.Unwind(t.Context()))
	}
	id := randomID()
	name := h.ifName(id, 0)

	// An engine died before it could give the epair its name.
	_, a, err := makeInterface(&stack, "epair", name)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := undo(kindInterface, thing{Name: name}); err != nil {
			t.Error(err)
		}
	}
	if _, err := stack.Interface(a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", a, err)
	}

	// Somebody uses the epair of that number, and our own gets another one.
	unit, foreign, err := makeInterface(&stack, "epair", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Destroy(foreign); err != nil {
			t.Error(err)
		}
	})
	if err := stack.AddAddr(foreign, netip.MustParsePrefix("10.87.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := stack.Up(foreign); err != nil {
		t.Fatal(err)
	}
	other, a, err := makeInterface(&stack, "epair", name)
	if err != nil || other == unit {
		t.Fatalf("epair%d: %v", other, err)
	}
	if err := errors.Join(stack.Rename(a, name), undo(kindInterface, thing{Name: name})); err != nil {
		t.Error(err)
	}

	// Names and kinds that are not ours.
	bridge := h.BridgeName(id)
	if err := h.MakeNetwork(Network{Name: "n", Bridge: bridge, Own: true}); err != nil {
		t.Fatal(err)
	}
	for _, th := range []thing{{Name: foreign}, {Name: "lo0"}, {Name: bridge}, {Name: ""}} {
		if err := undo(kindInterface, th); err == nil {
			t.Errorf("%+v: undone", th)
		}
	}
	for _, th := range []thing{{Name: "nosuch0", Addr: "10.87.0.9"}, {Name: foreign, Addr: "10.87.0.9"}} {
		if err := undo(kindAlias, th); err != nil {
			t.Errorf("%+v: %v", th, err)
		}
	}
	if i, err := stack.Interface(foreign); err != nil || !i.Up || !slices.Contains(i.Addrs, netip.MustParsePrefix("10.87.0.1/24")) {
		t.Errorf("%+v, %v", i, err)
	}
	for _, n := range []Network{{Name: "x", Bridge: foreign, Own: true}, {Name: "x", Bridge: "lo0", Own: true}} {
		if err := h.RemoveNetwork(n); err == nil {
			t.Errorf("%+v: removed", n)
		}
	}
	if err := h.RemoveNetwork(Network{Name: "n", Bridge: bridge, Own: true}); err != nil {
		t.Error(err)
	}

	// A bridge that was left without its name is taken.
	_, left, err := makeInterface(&stack, "bridge", bridge)
	if err != nil {
		t.Fatal(err)
	}
	n := Network{Name: "n", Bridge: bridge, Own: true}
	if err := h.MakeNetwork(n); err != nil {
		t.Error(err)
	}
	if _, err := stack.Interface(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", left, err)
	}
	if err := h.RemoveNetwork(n); err != nil {
		t.Error(err)
	}
}

func TestIntegrationNetworkRefused(t *testing.T) {
	h := networkHost(t)
	for _, n := range []Network{{Name: "x"}, {Name: "x", Bridge: "nosuch0"}, {Name: "x", Bridge: "lo0"}, {Name: "x", Alias: "nosuch0"}} {
		if err := h.CheckNetwork(n); err == nil || !strings.HasPrefix(err.Error(), "network x: ") {
			t.Errorf("%+v: %v", n, err)
		}
	}
	bridge := strings.TrimSpace(tool(t, "ifconfig", "bridge", "create"))
	t.Cleanup(func() { tool(t, "ifconfig", bridge, "destroy") })
	for b, want := range map[string]string{bridge: "is down", "nosuch0": "no such interface", "lo0": "no bridge"} {
		_, err := h.networked(t, Spec{Network: NetworkOwn, Interfaces: []Interface{{Network: "x", Bridge: b, Name: "eth0", Addrs: prefixes("10.88.0.2/24")}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", b, err)
		}
	}
	// The second interface of a name fails with all made before it.
	if err := (&netif.Stack{}).Up(bridge); err != nil {
		t.Fatal(err)
	}
	i := Interface{Network: "x", Bridge: bridge, Name: "eth0", Addrs: prefixes("10.88.0.2/24")}
	if _, err := h.networked(t, Spec{Network: NetworkOwn, Interfaces: []Interface{i, i}}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two eth0: %v", err)
	}
}

// withPF loads pf, enables it with these rules, and lets this machine forward.
func withPF(t *testing.T, rules string) {
	t.Helper()
	needRoot(t)
	tool(t, "kldload", "-n", "pf")
	cmd := exec.Command("pfctl", "-q", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pfctl: %v: %s", err, out)
	}
	tool(t, "pfctl", "-q", "-e")
	testns.Forward(t)
	t.Cleanup(func() {
		tool(t, "pfctl", "-q", "-d")
		tool(t, "pfctl", "-q", "-F", "all")
	})
}

func TestIntegrationCanPublish(t *testing.T) {
	needRoot(t)
	h := openHost(t, testConfig(t))
	said := func(want string) {
		t.Helper()
		for _, v6 := range []bool{false, true} {
			if err := h.CanPublish(t.Context(), v6); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q: %v", want, err)
			}
		}
	}
	if !pf.Loaded() {
		said("pf is not loaded")
		if n, err := h.Redirected(randomID()); n != nil || err != nil {
			t.Errorf("redirected %v, %v", n, err)
		}
		if err := h.redirect(randomID(), nil); err != nil {
			t.Error(err)
		}
	}
	tool(t, "kldload", "-n", "pf")
	said("pf is not enabled")
	withPF(t, "pass all\n")
	said(`rdr-anchor "xc-rdr/*"`)
	cmd := exec.Command("pfctl", "-q", "-f", "-")
	cmd.Stdin = strings.NewReader("rdr-anchor \"xc-rdr/*\"\npass all\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pfctl: %v: %s", err, out)
	}
	for _, v6 := range []bool{false, true} {
		if err := h.CanPublish(t.Context(), v6); err != nil {
			t.Error(err)
		}
	}
	tool(t, "sysctl", "net.inet.ip.forwarding=0")
	if err := h.CanPublish(t.Context(), false); !errors.Is(err, ErrNotForwarding) || !strings.Contains(err.Error(), "sysctl net.inet.ip.forwarding=1") {
		t.Error(err)
	}
}

// TestIntegrationNetworkPublish calls published ports from a second stack, a jail
// on another interface of this machine.
func TestIntegrationNetworkPublish(t *testing.T) {
	withPF(t, "rdr-anchor \"xc-rdr/*\"\npass all\n")
	h := networkHost(t)
	red := makeNetwork(t, h, "red", 0, "10.81.0.1/24", "fd81::1/64")
	a := strings.TrimSpace(tool(t, "ifconfig", "epair", "create", "inet", "10.92.0.1/24", "up"))
	b := strings.TrimSuffix(a, "a") + "b"
	tool(t, "ifconfig", a, "inet6", "fd92::1/64", "no_dad")
	tool(t, "jail", "-c", "name=xctestout", "path=/", "persist", "vnet=new")
	t.Cleanup(func() {
		tool(t, "jail", "-r", "xctestout")
		tool(t, "ifconfig", a, "destroy")
	})
	tool(t, "ifconfig", b, "vnet", "xctestout")
	tool(t, "ifconfig", "-j", "xctestout", b, "inet", "10.92.0.2/24", "up")
	tool(t, "ifconfig", "-j", "xctestout", b, "inet6", "fd92::2/64", "no_dad")
	outside := networked{jail: "xctestout"}

	spec := Spec{Network: NetworkOwn, Interfaces: []Interface{{
		Network: "red", Bridge: red.Bridge, Name: "eth0", Addrs: prefixes("10.81.0.2/24", "fd81::2/64"),
		Gateways: []netip.Addr{netip.MustParseAddr("10.81.0.1"), netip.MustParseAddr("fd81::1")}, Main: true,
	}}}
	for _, target := range []string{"10.81.0.2", "fd81::2"} {
		spec.Publish = append(spec.Publish, Publish{Protocol: "tcp", First: 8080, Last: 8081, Target: netip.MustParseAddr(target), TargetFirst: 80,
			Sources: prefixes("10.92.0.0/24", "192.0.2.0/24")})
	}
	spec.Publish[1].Sources = nil
	spec.Publish[1].Addr = netip.MustParseAddr("fd92::1")
	c, err := h.networked(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(tool(t, "pfctl", "-q", "-t", "xc:network:red", "-T", "show")); !slices.Equal(got, []string{"10.81.0.2", "fd81::2"}) {
		t.Errorf("table: %q", got)
	}
	for _, family := range []string{"-4", "-6"} {
		server := exec.Command("jexec", c.jail, "sh", "-c", "while :; do echo hello | nc "+family+" -N -l 81; done")
		server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
			server.Wait()
		})
	}
	answers := func(from networked, addr string) bool {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			out, err := from.run("nc", "-N", "-w", "3", addr, "8081")
			if err == nil && out == "hello\n" {
				return true
			}
		}
		return false
	}
	for _, addr := range []string{"10.92.0.1", "fd92::1"} {
		if !answers(outside, addr) {
			t.Errorf("%s does not answer", addr)
		}
	}
	counts, err := h.Redirected(c.id)
	if err != nil || len(counts) != 2 || counts[0] == 0 || counts[1] == 0 {
		t.Errorf("redirected %v, %v", counts, err)
	}
	left, err := h.Leftovers(nil)
	if err != nil || !slices.Contains(left, "redirections "+h.anchor(c.id)) {
		t.Errorf("left %q, %v", left, err)
	}
	// Others can be put in their place, and none.
	if err := h.redirect(c.id, spec.Publish[:1]); err != nil {
		t.Error(err)
	}
	if after, err := h.Redirected(c.id); err != nil || len(after) != 1 || after[0] != counts[0] {
		t.Errorf("redirected %v, were %v: %v", after, counts, err)
	}
	if out, err := outside.run("nc", "-N", "-w", "3", "fd92::1", "8081"); err == nil {
		t.Errorf("fd92::1 answers %q", out)
	}
	if err := c.Unwind(t.Context()); err != nil {
		t.Error(err)
	}
	if out := tool(t, "pfctl", "-q", "-s", "Anchors", "-v"); strings.Contains(out, c.id) {
		t.Error(out)
	}
	// A target that is refused leaves nothing.
	spec.Publish[0].Interface = `em0" pass`
	if _, err := h.networked(t, spec); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a wrong interface: %v", err)
	}
}

func TestIntegrationTableUndo(t *testing.T) {
	withPF(t, "table <theirs> persist { 10.0.0.1 }\npass all\n")
	h := networkHost(t)
	if err := removeTable(t.Context(), thing{Name: "theirs", Addr: "10.0.0.1"}); err == nil {
		t.Error("an address of another table was removed")
	}
	if err := removeTable(t.Context(), thing{Name: "xc:network:nosuch", Addr: "10.0.0.1,fd00::1"}); err != nil {
		t.Error(err)
	}
	long := Network{Name: strings.Repeat("n", 21), Alias: "lo0"}
	if err := h.CheckNetwork(long); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a long name: %v", err)
	}
	long.Name = long.Name[1:]
	if err := h.CheckNetwork(long); err != nil {
		t.Error(err)
	}
}

func TestUnits(t *testing.T) {
	seen := map[int]bool{}
	for i := range 100 {
		for _, u := range units(fmt.Sprint("name", i)) {
			if u < 4096 || u > 0x7fff {
				t.Errorf("unit %d", u)
			}
			seen[u] = true
		}
	}
	if len(seen) < 390 || !slices.Equal(units("a"), units("a")) {
		t.Errorf("%d of 400 are different", len(seen))
	}
}
