package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/internal/testns"
)

func TestMain(m *testing.M) {
	testns.Enter()
	os.Exit(m.Run())
}

// need skips where the process cannot change rules, or the oracle is missing.
func need(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to change rules: sudo go test -run Integration ./linux/nft")
	}
	for _, p := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s(8) to compare with: apt-get install nftables iproute2", p)
		}
	}
}

func run(t *testing.T, name string, arg ...string) string {
	t.Helper()
	out, err := exec.Command(name, arg...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arg, " "), err, out)
	}
	return string(out)
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// foreign is another program's table, which looks a lot like ours.
const foreign = `table inet xc-other {
	set network-blue-4 { type ipv4_addr; flags interval; elements = { 10.1.0.0/24 } }
	chain site-c1-prerouting { tcp dport 1 counter dnat ip to 10.1.0.9; }
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump site-c1-prerouting; }
}
`

func addForeign(t *testing.T) (list func() string) {
	t.Helper()
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(foreign)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { run(t, "nft", "delete", "table", "inet", "xc-other") })
	return func() string { return run(t, "nft", "-a", "list", "ruleset") }
}

// TestIntegrationRules compares what nft(8) reads back with what its user would
// have written.
func TestIntegrationRules(t *testing.T) {
	need(t)
	list := addForeign(t)
	before := list()
	table := Table{Name: "xc-rules"}
	t.Cleanup(func() { table.Delete() })
	err := table.SetNetwork(Network{
		Name: "blue", Bridge: "xc0", Masquerade: true, Isolated: true,
		Prefixes: []netip.Prefix{prefix("10.1.0.0/24"), prefix("255.255.255.0/24"), prefix("fd01::/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	redirects := []Redirect{
		{Proto: "tcp", First: 8080, Last: 8080, Target: addr("10.1.0.2"), Port: 80},
		{Proto: "udp", First: 53, Last: 53, Host: addr("192.0.2.1"), Target: addr("10.1.0.2"), Port: 53, Interface: "eth0"},
		{Proto: "sctp", First: 1000, Last: 1010, Target: addr("fd01::2"), Port: 1000, Host: addr("2001:db8::1")},
		{Proto: "tcp", First: 8000, Last: 8002, Target: addr("10.1.0.2"), Port: 80, From: []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.0/25"), prefix("198.51.100.7/32")}},
		{Proto: "udp", First: 9000, Last: 9001, Target: addr("fd01::2"), Port: 90, From: []netip.Prefix{prefix("2001:db8::/33")}},
	}
	subnets := []netip.Prefix{prefix("10.1.0.0/25"), prefix("fd01::/64")}
	if err := table.SetSite(Site{Name: "c1", Redirects: redirects, Subnets: subnets}); err != nil {
		t.Fatal(err)
	}
	want := `table inet xc-rules {
	set network-blue-4 {
		type ipv4_addr
		flags interval
		elements = { 10.1.0.0/24, 255.255.255.0/24 }
	}

	set network-blue-6 {
		type ipv6_addr
		flags interval
		elements = { fd01::/64 }
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump site-c1-prerouting
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		jump network-blue-forward
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		jump network-blue-postrouting
		jump site-c1-postrouting
	}

	chain network-blue-forward {
		oifname "xc0" iifname != "xc0" ct state ! established,related ct status ! dnat counter packets 0 bytes 0 drop
	}

	chain network-blue-postrouting {
		ip saddr @network-blue-4 oifname != "xc0" masquerade
		ip6 saddr @network-blue-6 oifname != "xc0" masquerade
	}

	chain site-c1-prerouting {
		fib daddr type local tcp dport 8080 counter packets 0 bytes 0 dnat ip to 10.1.0.2:80 comment "tcp *:8080 > 10.1.0.2:80"
		iifname "eth0" ip daddr 192.0.2.1 udp dport 53 counter packets 0 bytes 0 dnat ip to 10.1.0.2 comment "udp 192.0.2.1:53 > 10.1.0.2:53 on eth0"
		ip6 daddr 2001:db8::1 sctp dport 1000-1010 counter packets 0 bytes 0 dnat ip6 to fd01::2 comment "sctp [2001:db8::1]:1000-1010 > [fd01::2]:1000-1010"
		ip saddr 10.0.0.0/8 fib daddr type local tcp dport 8000-8002 counter packets 0 bytes 0 dnat ip to tcp dport map { 8000 : 10.1.0.2 . 80, 8001 : 10.1.0.2 . 81, 8002 : 10.1.0.2 . 82 } comment "tcp *:8000-8002 > 10.1.0.2:80-82"
		ip saddr 192.0.2.0/25 fib daddr type local tcp dport 8000-8002 counter packets 0 bytes 0 dnat ip to tcp dport map { 8000 : 10.1.0.2 . 80, 8001 : 10.1.0.2 . 81, 8002 : 10.1.0.2 . 82 } comment "tcp *:8000-8002 > 10.1.0.2:80-82"
		ip saddr 198.51.100.7 fib daddr type local tcp dport 8000-8002 counter packets 0 bytes 0 dnat ip to tcp dport map { 8000 : 10.1.0.2 . 80, 8001 : 10.1.0.2 . 81, 8002 : 10.1.0.2 . 82 } comment "tcp *:8000-8002 > 10.1.0.2:80-82"
		ip6 saddr 2001:db8::/33 fib daddr type local udp dport 9000-9001 counter packets 0 bytes 0 dnat ip6 to udp dport map { 9000 : fd01::2 . 90, 9001 : fd01::2 . 91 } comment "udp *:9000-9001 > [fd01::2]:90-91"
	}

	chain site-c1-postrouting {
		ip saddr 10.1.0.0/25 ip daddr 10.1.0.0/25 ct status dnat masquerade
		ip6 saddr fd01::/64 ip6 daddr fd01::/64 ct status dnat masquerade
	}
}
`
	read := func() string { return run(t, "nft", "-y", "list", "table", "inet", table.Name) }
	got := strings.ReplaceAll(read(), "meta nfproto ipv4 ", "")
	got = strings.ReplaceAll(got, "meta nfproto ipv6 ", "")
	want = strings.NewReplacer("priority dstnat", "priority -100", "priority filter", "priority 0", "priority srcnat", "priority 100").Replace(want)
	if got != want {
		t.Errorf("nft list table:\n%s\nwant:\n%s", got, want)
	}
	parts, err := table.Parts()
	if err != nil || fmt.Sprint(parts) != "{[c1] [blue]}" {
		t.Errorf("parts %v, %v", parts, err)
	}
	// Both kinds again: the same table, whole.
	if err := table.SetSite(Site{Name: "c1", Redirects: redirects[:2]}); err != nil {
		t.Fatal(err)
	}
	if got := read(); strings.Contains(got, "map {") || strings.Count(got, "jump") != 3 || strings.Contains(got, "sctp") {
		t.Errorf("replaced by less:\n%s", got)
	}
	if err := table.SetNetwork(Network{Name: "blue", Bridge: "xc1", Prefixes: []netip.Prefix{prefix("10.2.0.0/24")}, Masquerade: true}); err != nil {
		t.Fatal(err)
	}
	if got := read(); strings.Contains(got, "xc0") || strings.Contains(got, "10.1.0.0/24") || strings.Contains(got, "network-blue-forward") {
		t.Errorf("network replaced:\n%s", got)
	}
	for _, step := range []error{table.DeleteSite("c1"), table.DeleteSite("c1"), table.DeleteNetwork("blue"), table.DeleteNetwork("blue"), table.SetSite(Site{Name: "c1"}), table.Delete()} {
		if step != nil {
			t.Error(step)
		}
	}
	if after := list(); after != before {
		t.Errorf("ruleset after:\n%s\nbefore:\n%s", after, before)
	}
}

// TestIntegrationErrors: what the kernel refuses changes nothing, and says what.
func TestIntegrationErrors(t *testing.T) {
	need(t)
	list := addForeign(t)
	before := list()
	table := Table{Name: "xc-errors"}
	err := table.SetNetwork(Network{Name: "twice", Bridge: "xc0", Masquerade: true, Prefixes: []netip.Prefix{prefix("10.0.0.0/8"), prefix("10.1.0.0/16")}})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) || !strings.Contains(err.Error(), "add elements to network-twice-4") {
		t.Errorf("overlapping prefixes: %v", err)
	}
	if after := list(); after != before {
		t.Errorf("ruleset after:\n%s\nbefore:\n%s", after, before)
	}
}

// TestIntegrationLarge: the largest range that can be, moved by one port.
func TestIntegrationLarge(t *testing.T) {
	need(t)
	table := Table{Name: "xc-large"}
	t.Cleanup(func() { table.Delete() })
	r := Redirect{Proto: "tcp", First: 1, Last: 65534, Target: addr("fd01::2"), Port: 2}
	if err := table.SetSite(Site{Name: "c1", Redirects: []Redirect{r}}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(run(t, "nft", "-n", "list", "table", "inet", table.Name), "fd01::2 . "); n != 65534 {
		t.Errorf("%d of 65534 ports", n)
	}
}

// TestIntegrationConcurrent: many sites come and go while another program changes
// rules of its own.
func TestIntegrationConcurrent(t *testing.T) {
	need(t)
	list := addForeign(t)
	before := list()
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		other := Table{Name: "xc-busy"}
		for {
			select {
			case <-stop:
				other.Delete()
				return
			default:
				_ = other.SetNetwork(Network{Name: "n", Bridge: "b", Prefixes: []netip.Prefix{prefix("10.0.0.0/8")}, Isolated: true})
			}
		}
	}()
	table := Table{Name: "xc-many"}
	errs := make(chan error)
	const sites = 8
	for i := range sites {
		go func() {
			var err error
			for range 10 {
				s := Site{Name: fmt.Sprintf("c%d", i), Redirects: []Redirect{{Proto: "tcp", First: 80, Last: 80, Target: addr("10.0.0.1"), Port: 8080}}}
				err = errors.Join(err, table.SetSite(s), table.SetSite(s), table.DeleteSite(s.Name))
			}
			errs <- err
		}()
	}
	for range sites {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
	if after := list(); after != before {
		t.Errorf("ruleset after:\n%s\nbefore:\n%s", after, before)
	}
}

// TestIntegrationTraffic sends real packets from an outside world, through the
// host, to two containers on one network and one on another.
func TestIntegrationTraffic(t *testing.T) {
	need(t)
	testns.Forward(t)
	testns.NoDAD()
	testns.IP(t, `link add xc0 type bridge
		link set xc0 up
		addr add 10.1.0.1/24 dev xc0
		addr add fd01::1/64 dev xc0 nodad
		link add xc1 type bridge
		link set xc1 up
		addr add 10.2.0.1/24 dev xc1`)
	t.Cleanup(func() { testns.IP(t, "link del xc0\nlink del xc1") })
	outside := testns.NewStack(t, "out0")
	testns.IP(t, `addr add 10.9.0.1/24 dev out0
		addr add 10.9.0.5/24 dev out0
		addr add fd09::1/64 dev out0 nodad`)
	outside.IP(t, `addr add 10.9.0.2/24 dev eth0
		addr add 10.9.0.3/24 dev eth0
		addr add fd09::2/64 dev eth0 nodad`)
	member := func(name, bridge, v4, gw4, v6 string) *testns.Stack {
		s := testns.NewStack(t, name)
		run(t, "ip", "link", "set", name, "master", bridge)
		// With br_netfilter what is for its sender is bridged, not routed.
		run(t, "ip", "link", "set", name, "type", "bridge_slave", "hairpin", "on")
		s.IP(t, "addr add "+v4+"/24 dev eth0\nroute add default via "+gw4)
		if v6 != "" {
			s.IP(t, "addr add "+v6+"/64 dev eth0 nodad\nroute add default via fd01::1")
		}
		for _, network := range []string{"tcp", "udp"} {
			for _, port := range []string{"80", "81", "82", "8000"} {
				s.Serve(t, network, ":"+port, name+" "+port)
			}
		}
		return s
	}
	a := member("a0", "xc0", "10.1.0.2", "10.1.0.1", "fd01::2")
	b := member("b0", "xc0", "10.1.0.3", "10.1.0.1", "fd01::3")
	c := member("c0", "xc1", "10.2.0.2", "10.2.0.1", "")
	outside.Serve(t, "tcp4", ":7", "outside")

	table := Table{Name: "xc-traffic"}
	t.Cleanup(func() { table.Delete() })
	blue := Network{Name: "blue", Bridge: "xc0", Prefixes: []netip.Prefix{prefix("10.1.0.0/24"), prefix("fd01::/64")}, Isolated: true}
	red := Network{Name: "red", Bridge: "xc1", Prefixes: []netip.Prefix{prefix("10.2.0.0/24")}, Masquerade: true}
	sites := []Site{
		{Name: "a", Subnets: blue.Prefixes, Redirects: []Redirect{
			{Proto: "tcp", First: 8080, Last: 8080, Target: addr("10.1.0.2"), Port: 80},
			{Proto: "tcp", First: 8080, Last: 8080, Target: addr("fd01::2"), Port: 80},
			{Proto: "udp", First: 8080, Last: 8080, Target: addr("10.1.0.2"), Port: 80},
			{Proto: "udp", First: 8080, Last: 8080, Target: addr("fd01::2"), Port: 80},
			{Proto: "tcp", First: 8000, Last: 8000, Target: addr("10.1.0.2"), Port: 8000, Host: addr("10.9.0.5")},
		}},
		{Name: "b", Redirects: []Redirect{
			{Proto: "tcp", First: 180, Last: 182, Target: addr("10.1.0.3"), Port: 80},
			{Proto: "udp", First: 180, Last: 182, Target: addr("fd01::3"), Port: 80},
			{Proto: "tcp", First: 80, Last: 82, Target: addr("10.1.0.3"), Port: 80, From: []netip.Prefix{prefix("10.9.0.2/32"), prefix("10.2.0.0/16")}},
			{Proto: "tcp", First: 90, Last: 90, Target: addr("10.1.0.3"), Port: 80, From: []netip.Prefix{prefix("10.9.0.3/32")}},
			{Proto: "tcp", First: 91, Last: 91, Target: addr("10.1.0.3"), Port: 80, Interface: "out0"},
			{Proto: "tcp", First: 92, Last: 92, Target: addr("10.1.0.3"), Port: 80, Interface: "xc1"},
		}},
	}
	for _, err := range []error{table.SetNetwork(blue), table.SetNetwork(red), table.SetSite(sites[0]), table.SetSite(sites[1])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name             string
		from             *testns.Stack
		network, address string
		want             string
	}{
		{"tcp v4", outside, "tcp", "10.9.0.1:8080", "a0 80 10.9.0.2"},
		{"tcp v6", outside, "tcp", "[fd09::1]:8080", "a0 80 fd09::2"},
		{"udp v4", outside, "udp", "10.9.0.1:8080", "a0 80 10.9.0.2"},
		{"udp v6", outside, "udp", "[fd09::1]:8080", "a0 80 fd09::2"},
		{"the host address", outside, "tcp", "10.9.0.5:8000", "a0 8000 10.9.0.2"},
		{"another host address", outside, "tcp", "10.9.0.1:8000", ""},
		{"a range, moved, first", outside, "tcp", "10.9.0.1:180", "b0 80 10.9.0.2"},
		{"a range, moved, last", outside, "tcp", "10.9.0.1:182", "b0 82 10.9.0.2"},
		{"behind a range", outside, "tcp", "10.9.0.1:183", ""},
		{"a range, moved, udp v6", outside, "udp", "[fd09::1]:181", "b0 81 fd09::2"},
		{"a range, in place", outside, "tcp", "10.9.0.1:81", "b0 81 10.9.0.2"},
		{"the wrong source", outside, "tcp", "10.9.0.1:90", ""},
		{"an interface", outside, "tcp", "10.9.0.1:91", "b0 80 10.9.0.2"},
		{"another interface", outside, "tcp", "10.9.0.1:92", ""},
		{"from its own network, hairpin", b, "tcp", "10.9.0.1:8080", "a0 80 10.1.0.1"},
		{"from itself", a, "tcp", "10.1.0.1:8080", "a0 80 10.1.0.1"},
		{"from itself, v6", a, "tcp", "[fd01::1]:8080", "a0 80 fd01::1"},
		{"from another network", c, "tcp", "10.2.0.1:80", "b0 80 10.1.0.1"},
		{"not what is published of another network", c, "tcp", "10.1.0.2:80", ""},
		{"its own network directly", b, "tcp", "10.1.0.2:80", "a0 80 10.1.0.3"},
		{"out, masqueraded", c, "tcp", "10.9.0.2:7", "outside 10.9.0.1"},
		{"out, without a way back", a, "tcp", "10.9.0.2:7", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.from.Call(t, tt.network, tt.address); got != tt.want {
				t.Errorf("%s %s: %q, want %q\n%s", tt.network, tt.address, got, tt.want, run(t, "nft", "list", "table", "inet", table.Name))
			}
		})
	}
	// What stays keeps its count; what goes is not to be reached any more.
	if err := table.SetSite(Site{Name: "a", Redirects: sites[0].Redirects[:1]}); err != nil {
		t.Fatal(err)
	}
	outside.Call(t, "tcp", "10.9.0.1:8080")
	counts, err := table.Counts("a")
	if err != nil || len(counts) != 1 || counts[0] != (Count{"tcp *:8080 > 10.1.0.2:80", 4}) {
		t.Errorf("counts %v, %v", counts, err)
	}
	if err := table.DeleteSite("a"); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"10.9.0.1:8080": "", "10.9.0.1:180": "b0 80 10.9.0.2"} {
		if got := outside.Call(t, "tcp", address); got != want {
			t.Errorf("after site a has gone: %s: %q", address, got)
		}
	}
}

func BenchmarkSetSite(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root")
	}
	table := Table{Name: "xc-bench"}
	defer table.Delete()
	redirect := []Redirect{{Proto: "tcp", First: 80, Last: 80, Target: addr("10.0.0.1"), Port: 8080}}
	for i := range 500 {
		if err := table.SetSite(Site{Name: fmt.Sprint("c", i), Redirects: redirect}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := errors.Join(table.SetSite(Site{Name: "x", Redirects: redirect}), table.DeleteSite("x")); err != nil {
			b.Fatal(err)
		}
	}
}
