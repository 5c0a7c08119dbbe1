package netif

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make interfaces: run with go test -exec sudo")
	}
}

// tool runs a program of the base system: the oracle.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func load(t testing.TB, modules ...string) {
	t.Helper()
	for _, m := range modules {
		tool(t, "kldload", "-n", m)
	}
}

// unchanged fails the test if the host's interfaces and routes are others
// afterwards.
func unchanged(t testing.TB) {
	t.Helper()
	state := func() string { return tool(t, "ifconfig", "-a") + tool(t, "netstat", "-rnW") }
	before := state()
	t.Cleanup(func() {
		if after := state(); after != before {
			t.Errorf("the host has changed: before\n%s\nafter\n%s", before, after)
		}
	})
}

// newJail makes a VNET jail of the base system.
func newJail(t testing.TB, suffix string) int {
	t.Helper()
	name := fmt.Sprintf("xctest%d%s", os.Getpid(), suffix)
	jid, err := strconv.Atoi(strings.TrimSpace(tool(t, "jail", "-i", "-c", "name="+name, "path=/", "persist", "vnet=new", "allow.raw_sockets")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tool(t, "jail", "-r", name) })
	return jid
}

func mustEnter(t testing.TB, jid int) *Stack {
	t.Helper()
	s, err := Enter(jid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// must takes the results of calls in a row.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func find(t testing.TB, s *Stack, name string) (Interface, bool) {
	t.Helper()
	all, err := s.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(i Interface) bool { return i.Name == name })
	if i < 0 {
		return Interface{}, false
	}
	return all[i], true
}

// TestIntegrationInterfaces goes through all that can be done to an interface of
// the host, with ifconfig(8) as the oracle.
func TestIntegrationInterfaces(t *testing.T) {
	requireRoot(t)
	load(t, "if_epair", "if_bridge")
	unchanged(t)
	var s Stack
	a, err := s.Create("epair")
	if err != nil {
		t.Fatal(err)
	}
	b := strings.TrimSuffix(a, "a") + "b"
	if !strings.HasPrefix(a, "epair") || a == b {
		t.Fatalf("name %q", a)
	}
	must(t, s.Rename(a, "xctest0"), s.SetMAC("xctest0", net.HardwareAddr{2, 0x16, 3, 4, 5, 6}), s.SetMTU("xctest0", 1400), s.Describe("xctest0", "one of ours"))
	if d, err := s.Description("xctest0"); err != nil || d != "one of ours" {
		t.Errorf("description %q, %v", d, err)
	}
	if d, err := s.Description(b); err != nil || d != "" {
		t.Errorf("no description: %q, %v", d, err)
	}
	must(t, s.Up("xctest0"), s.AddAddr("xctest0", netip.MustParsePrefix("10.77.0.1/24")), s.AddAddr("xctest0", netip.MustParsePrefix("10.77.0.1/24")),
		s.AddAddr("xctest0", netip.MustParsePrefix("fd77::1/64")))
	out := tool(t, "ifconfig", "xctest0")
	for _, want := range []string{"UP", "mtu 1400", "ether 02:16:03:04:05:06", "description: one of ours", "inet 10.77.0.1 netmask 0xffffff00 broadcast 10.77.0.255", "inet6 fd77::1 prefixlen 64"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	i, ok := find(t, &s, "xctest0")
	if !ok || !i.Up || i.MTU != 1400 || i.MAC.String() != "02:16:03:04:05:06" || i.Index == 0 || !slices.Contains(i.Addrs, netip.MustParsePrefix("10.77.0.1/24")) || !slices.Contains(i.Addrs, netip.MustParsePrefix("fd77::1/64")) {
		t.Errorf("%+v", i)
	}
	if g, err := s.Groups("xctest0"); err != nil || !slices.Equal(g, []string{"epair"}) {
		t.Errorf("groups %q, %v", g, err)
	}
	if one, err := s.Interface("xctest0"); err != nil || !reflect.DeepEqual(one, i) {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := s.Interface("nosuch0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	must(t, s.Describe("xctest0", ""), s.RemoveAddr("xctest0", netip.MustParseAddr("10.77.0.1")), s.RemoveAddr("xctest0", netip.MustParseAddr("fd77::1")), s.Down("xctest0"))
	for _, gone := range []string{"10.77.0.1", "fd77::1"} {
		if err := s.RemoveAddr("xctest0", netip.MustParseAddr(gone)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("remove %s twice: %v", gone, err)
		}
	}
	if out := tool(t, "ifconfig", "xctest0"); strings.Contains(out, "inet ") || strings.Contains(out, "fd77") || strings.Contains(out, "UP,") || strings.Contains(out, "description") {
		t.Errorf("afterwards:\n%s", out)
	}
	must(t, s.Destroy("xctest0"))
	if err := s.Destroy(b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the other end: %v", err)
	}
}

func TestIntegrationBridgeAndTap(t *testing.T) {
	requireRoot(t)
	load(t, "if_epair", "if_bridge")
	unchanged(t)
	var s Stack
	var made []string
	for _, kind := range []string{"bridge", "tap", "tun", "epair4711"} {
		name, err := s.Create(kind)
		if err != nil {
			t.Fatal(err)
		}
		if out := tool(t, "ifconfig", name); !strings.HasPrefix(out, name+": ") {
			t.Errorf("%s: %s", name, out)
		}
		made = append(made, name)
	}
	bridge, tap, epair := made[0], made[1], made[3]
	if epair != "epair4711a" {
		t.Errorf("epair %s", epair)
	}
	if _, err := s.Create("epair4711"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same epair again: %v", err)
	}
	if _, err := s.Create("nosuchkind"); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "kldload if_nosuchkind") {
		t.Errorf("unknown kind: %v", err)
	}
	must(t, s.AddMember(bridge, tap), s.AddMember(bridge, tap), s.AddMember(bridge, epair))
	members, err := s.Members(bridge)
	if slices.Sort(members); err != nil || !slices.Equal(members, []string{epair, tap}) {
		t.Errorf("members %q, %v", members, err)
	}
	if out := tool(t, "ifconfig", bridge); !strings.Contains(out, "member: "+tap) || !strings.Contains(out, "member: "+epair) {
		t.Error(out)
	}
	must(t, s.RemoveMember(bridge, tap))
	if err := s.RemoveMember(bridge, tap); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove twice: %v", err)
	}
	if err := s.AddMember(bridge, "nosuch0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing member: %v", err)
	}
	if err := s.AddMember("nosuch0", tap); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing bridge: %v", err)
	}
	for _, name := range made {
		must(t, s.Destroy(name))
	}
}

func TestIntegrationMembersMany(t *testing.T) {
	requireRoot(t)
	load(t, "if_bridge")
	var s Stack
	bridge, err := s.Create("bridge")
	must(t, err)
	defer s.Destroy(bridge)
	for range 70 {
		tap, err := s.Create("tap")
		must(t, err)
		defer s.Destroy(tap)
		must(t, s.AddMember(bridge, tap))
	}
	if members, err := s.Members(bridge); err != nil || len(members) != 70 {
		t.Errorf("%d members, %v", len(members), err)
	}
}

// TestIntegrationVnet cables two jails by hand of Enter: addresses, routes, and
// programs of the base system inside as the oracle.
func TestIntegrationVnet(t *testing.T) {
	requireRoot(t)
	load(t, "if_epair")
	dir, err := os.Open("/") // jail_attach(2) minds a directory in the process
	must(t, err)
	defer dir.Close()
	unchanged(t)
	var host Stack
	one, two := newJail(t, "one"), newJail(t, "two")
	a, err := host.Create("epair")
	must(t, err)
	b := strings.TrimSuffix(a, "a") + "b"
	t.Cleanup(func() { must(t, host.Destroy(a)) })
	must(t, host.Move(a, one), host.Move(b, two))
	if _, ok := find(t, &host, a); ok {
		t.Errorf("%s is still here", a)
	}
	if err := host.Move(a, one); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved twice: %v", err)
	}
	for n, side := range []struct {
		jid  int
		name string
	}{{one, a}, {two, b}} {
		in := mustEnter(t, side.jid)
		must(t, in.Loopback(), in.Loopback(), in.Rename(side.name, "eth0"), in.SkipDAD("eth0"), in.Up("eth0"),
			in.AddAddr("eth0", netip.MustParsePrefix(fmt.Sprintf("10.78.0.%d/24", n+1))),
			in.AddAddr("eth0", netip.MustParsePrefix(fmt.Sprintf("fd78::%d/64", n+1))))
		if tentative, err := in.Tentative("eth0", netip.MustParseAddr(fmt.Sprintf("fd78::%d", n+1))); tentative || err != nil {
			t.Errorf("tentative %v, %v", tentative, err)
		}
	}
	in := mustEnter(t, one)
	must(t, in.AddRoute(Default(netip.MustParseAddr("10.78.0.2"))), in.AddRoute(Default(netip.MustParseAddr("fd78::2"))),
		in.AddRoute(Route{Dst: netip.MustParsePrefix("10.79.0.0/16"), Interface: "eth0"}),
		in.AddRoute(Route{Dst: netip.MustParsePrefix("10.80.0.1/32"), Gateway: netip.MustParseAddr("10.78.0.2")}),
		in.AddRoute(Route{Dst: netip.MustParsePrefix("fd79::/48"), Gateway: netip.MustParseAddr("fe80::1"), Interface: "eth0"}))
	if err := in.AddRoute(Default(netip.MustParseAddr("10.78.0.2"))); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the same default route: %v", err)
	}
	routes, err := in.Routes()
	must(t, err)
	for _, want := range []Route{
		{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.78.0.2"), "eth0"},
		{netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd78::2"), "eth0"},
		{netip.MustParsePrefix("10.78.0.0/24"), netip.Addr{}, "eth0"},
		{netip.MustParsePrefix("fd78::/64"), netip.Addr{}, "eth0"},
		{netip.MustParsePrefix("10.79.0.0/16"), netip.Addr{}, "eth0"},
		{netip.MustParsePrefix("10.80.0.1/32"), netip.MustParseAddr("10.78.0.2"), "eth0"},
		{netip.MustParsePrefix("fd79::/48"), netip.MustParseAddr("fe80::1%eth0"), "eth0"},
	} {
		if !slices.Contains(routes, want) {
			t.Errorf("no route %v among %v", want, routes)
		}
	}
	table := tool(t, "jexec", strconv.Itoa(one), "netstat", "-rnW")
	for _, want := range []string{"default            10.78.0.2          UGS", "fd78::2", "10.79.0.0/16       link#", "10.80.0.1          10.78.0.2          UGHS", "fe80::1%eth0"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	i, _ := find(t, in, "eth0")
	if !i.Up || !slices.Contains(i.Addrs, netip.MustParsePrefix("10.78.0.1/24")) || !slices.Contains(i.Addrs, netip.MustParsePrefix("fd78::1/64")) {
		t.Errorf("%+v", i)
	}
	if out := tool(t, "jexec", strconv.Itoa(one), "ifconfig", "eth0"); !strings.Contains(out, "inet 10.78.0.1") || !strings.Contains(out, "inet6 fd78::1 prefixlen 64\n") {
		t.Error(out)
	}
	if _, ok := find(t, &host, "eth0"); ok {
		t.Error("the host has an eth0")
	}
	for _, args := range [][]string{{"ping", "-c1", "-t3", "10.78.0.2"}, {"ping", "-6", "-c1", "-t3", "fd78::2"}, {"ping", "-c1", "-t3", "127.0.0.1"}, {"ping", "-6", "-c1", "-t3", "::1"}} {
		tool(t, "jexec", append([]string{strconv.Itoa(one)}, args...)...)
	}
	must(t, in.RemoveRoute(Route{Dst: netip.MustParsePrefix("10.80.0.1/32"), Gateway: netip.MustParseAddr("10.78.0.2")}), in.RemoveRoute(Default(netip.MustParseAddr("fd78::2"))))
	if err := in.RemoveRoute(Default(netip.MustParseAddr("fd78::2"))); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("remove twice: %v", err)
	}
	must(t, in.Rename("eth0", a), host.Return(a, one))
	if _, ok := find(t, &host, a); !ok {
		t.Errorf("%s did not return", a)
	}
	must(t, in.Close())
	if err := in.Up("lo0"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestIntegrationEnterErrors also makes sure that no child and no descriptor is
// left.
func TestIntegrationEnterErrors(t *testing.T) {
	requireRoot(t)
	open := func() int { return strings.Count(tool(t, "procstat", "-f", strconv.Itoa(os.Getpid())), "\n") }
	before := open()
	if _, err := Enter(999999); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no jail: %v", err)
	}
	jid := newJail(t, "many")
	for range 20 {
		s, err := Enter(jid)
		must(t, err)
		_, err = s.Interfaces()
		must(t, err, s.Close())
	}
	if after := open(); after != before {
		t.Errorf("%d lines of descriptors before, %d after", before, after)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// TestIntegrationEnterWhileBusy enters beside goroutines that allocate, collect
// and open directories.
func TestIntegrationEnterWhileBusy(t *testing.T) {
	requireRoot(t)
	jid := newJail(t, "busy")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for range 4 {
		go func() {
			for ctx.Err() == nil {
				if _, err := os.ReadDir("/etc"); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	n := 0
	for ; ctx.Err() == nil; n++ {
		s, err := Enter(jid)
		must(t, err)
		must(t, s.Up("lo0"), s.Close())
	}
	t.Logf("entered %d times", n)
}

// TestIntegrationTentative waits for duplicate address detection.
func TestIntegrationTentative(t *testing.T) {
	requireRoot(t)
	load(t, "if_epair")
	unchanged(t)
	var s Stack
	a, err := s.Create("epair")
	must(t, err)
	defer func() { must(t, s.Destroy(a)) }()
	addr := netip.MustParsePrefix("fd77::9/64")
	// The first address enables IPv6, and is taken as it is.
	must(t, s.Up(a), s.Up(strings.TrimSuffix(a, "a")+"b"), s.AddAddr(a, netip.MustParsePrefix("fd77::8/64")), s.AddAddr(a, addr))
	first, err := s.Tentative(a, addr.Addr())
	if must(t, err); !first {
		t.Error("usable at once")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		still, err := s.Tentative(a, addr.Addr())
		if must(t, err); !still {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still tentative")
		}
	}
	if l, err := net.Listen("tcp", "[fd77::9]:0"); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}

// TestIntegrationOwnLists compares the lists of the caller's stack with what net
// says.
func TestIntegrationOwnLists(t *testing.T) {
	var s Stack
	theirs, err := net.Interfaces()
	must(t, err)
	ours, err := s.Interfaces()
	must(t, err)
	if len(ours) != len(theirs) {
		t.Fatalf("%d interfaces, net has %d", len(ours), len(theirs))
	}
	for n, i := range theirs {
		o := ours[n]
		if o.Name != i.Name || o.Index != i.Index || o.MTU != i.MTU || o.Up != (i.Flags&net.FlagUp != 0) || o.MAC.String() != i.HardwareAddr.String() {
			t.Errorf("%+v, net has %+v", o, i)
		}
		addrs, err := i.Addrs()
		must(t, err)
		if len(addrs) != len(o.Addrs) {
			t.Errorf("%s: %v, net has %v", i.Name, o.Addrs, addrs)
			continue
		}
		for k, a := range addrs {
			if a.String() != o.Addrs[k].String() {
				t.Errorf("%s: %v, net has %v", i.Name, o.Addrs[k], a)
			}
		}
	}
}

// BenchmarkVnet sets up what a container gets: an epair on a bridge, one end
// renamed in the jail, lo0, two addresses, two default routes.
func BenchmarkVnet(b *testing.B) {
	requireRoot(b)
	load(b, "if_epair", "if_bridge")
	var host Stack
	bridge, err := host.Create("bridge")
	must(b, err, host.Up(bridge))
	defer host.Destroy(bridge)
	jid := newJail(b, "bench")
	b.Run("netif", func(b *testing.B) {
		for b.Loop() {
			a, err := host.Create("epair")
			must(b, err, host.AddMember(bridge, a), host.Up(a), host.Move(strings.TrimSuffix(a, "a")+"b", jid))
			in, err := Enter(jid)
			must(b, err, in.Loopback(), in.Rename(strings.TrimSuffix(a, "a")+"b", "eth0"), in.SkipDAD("eth0"), in.Up("eth0"),
				in.AddAddr("eth0", netip.MustParsePrefix("10.78.0.2/24")), in.AddAddr("eth0", netip.MustParsePrefix("fd78::2/64")),
				in.AddRoute(Default(netip.MustParseAddr("10.78.0.1"))), in.AddRoute(Default(netip.MustParseAddr("fd78::1"))), in.Close())
			b.StopTimer()
			must(b, host.Destroy(a))
			b.StartTimer()
		}
	})
	b.Run("commands", func(b *testing.B) {
		j := strconv.Itoa(jid)
		for b.Loop() {
			a := strings.TrimSpace(tool(b, "ifconfig", "epair", "create"))
			e := strings.TrimSuffix(a, "a") + "b"
			tool(b, "ifconfig", bridge, "addm", a)
			tool(b, "ifconfig", a, "up")
			tool(b, "ifconfig", e, "vnet", j)
			tool(b, "ifconfig", "-j", j, "lo0", "inet", "127.0.0.1/8", "up")
			tool(b, "ifconfig", "-j", j, e, "name", "eth0")
			tool(b, "ifconfig", "-j", j, "eth0", "inet", "10.78.0.2/24", "up")
			tool(b, "ifconfig", "-j", j, "eth0", "inet6", "fd78::2/64", "no_dad")
			tool(b, "route", "-j", j, "add", "default", "10.78.0.1")
			tool(b, "route", "-j", j, "add", "-inet6", "default", "fd78::1")
			b.StopTimer()
			must(b, host.Destroy(a))
			b.StartTimer()
		}
	})
}
