package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/testns"
)

// Containers without a network stack of their own have addresses on an interface
// of the host, and no others; they know each other by name and publish ports.
func TestIntegrationAliasNetwork(t *testing.T) {
	needRoot(t)
	e := openBare(t, shortTempDir(t))
	t.Cleanup(func() { closeClean(t, e) })
	world := outside(t)
	importRoot(t, e, "root")
	iface := testns.Run(t, "ifconfig", "lo", "create", "up")
	t.Cleanup(func() { testns.Run(t, "ifconfig", iface, "destroy") })
	before := hostState(t)
	createNetwork(t, e, api.NetworkSpec{Name: "plain", Alias: iface, Subnets: []api.Subnet{{Prefix: prefix("10.73.0.0/24")}, {Prefix: prefix("fd73::/64")}}})
	defer removeNetworks(t, e)
	start := func(name string, ports ...api.Port) api.Container {
		t.Helper()
		return running(t, e, api.ContainerSpec{
			Name: name, Image: "root", Command: []string{"sleep", "1000"}, Networks: []api.Attachment{{Network: "plain"}},
			Params: []string{"allow.raw_sockets"}, Publish: ports,
		})
	}
	a := start("a", api.Port{HostPort: 8080, Port: 80}, api.Port{HostPort: 5353, Port: 53, Protocol: "udp"})
	start("b")
	if got := testns.Run(t, "jls", "-j", fmt.Sprint(a.JID), "ip4.addr", "ip6.addr"); got != "10.73.0.1 fd73::1" {
		t.Errorf("addresses of its jail: %s", got)
	}
	for pair, want := range map[string]bool{"a b": true, "b a": true, "b localhost": true, "a c": false} {
		from, to, _ := strings.Cut(pair, " ")
		if reachesName(t, e, from, to) != want {
			t.Errorf("%s: not %v", pair, want)
		}
	}
	if out, _ := execIn(t, e, "b", "env"); !strings.Contains(out, "XC_MAIN_IP=10.73.0.2\n") || !strings.Contains(out, "XC_MAIN_IFACE="+iface+"\n") {
		t.Errorf("environment: %s", out)
	}
	in := testns.StackOf(t, a.Pid)
	in.Serve(t, "tcp", ":80", "web")
	in.Serve(t, "udp", ":53", "dns")
	calls(t, world, map[string]string{
		"tcp 10.79.0.1:8080": "web 10.79.0.2", "tcp [fd79::1]:8080": "web fd79::2",
		"udp 10.79.0.1:5353": "dns 10.79.0.2", "udp [fd79::1]:5353": "dns fd79::2",
	})
	for at, who := range map[string]string{"tcp 127.0.0.1:8080": "web ", "tcp [::1]:8080": "web ", "udp 127.0.0.1:5353": "dns ", "tcp 10.79.0.1:8080": "web "} {
		network, address, _ := strings.Cut(at, " ")
		if got := here.Call(t, network, address); !strings.HasPrefix(got, who) {
			t.Errorf("%s from the host: %q", at, got)
		}
	}
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", VNET: true, Networks: []api.Attachment{{Network: "plain"}}}); err == nil || !strings.Contains(err.Error(), "it has no bridge") {
		t.Errorf("with a network stack of its own: %v", err)
	}
	removeNetworks(t, e)
	checkHost(t, before)
}

// An address that a running container has on an interface of the host is free again
// once it is gone, also for an engine that has found it there.
func TestIntegrationAliasAddressAfterRestart(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	iface := testns.Run(t, "ifconfig", "lo", "create", "up")
	t.Cleanup(func() { testns.Run(t, "ifconfig", iface, "destroy") })
	createNetwork(t, e, api.NetworkSpec{Name: "plain", Alias: iface, Subnets: []api.Subnet{{Prefix: prefix("10.73.0.0/24")}}})
	at := api.Attachment{Network: "plain", Addrs: []netip.Addr{netip.MustParseAddr("10.73.0.5")}}
	sleeper(t, e, "a", at)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	defer removeNetworks(t, e)
	if err := e.RemoveContainer(t.Context(), "a", api.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	sleeper(t, e, "a", at)
}

// The addresses of those that run are in a table of their network, for rules of
// the operator's.
func TestIntegrationNetworkTable(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openBare(t, dir)
	withFilter(t)
	importRoot(t, e, "root")
	before := hostState(t)
	createNetwork(t, e, twoFamilies("web", "1"))
	web := api.Attachment{Network: "web"}
	sleeper(t, e, "a", web)
	sleeper(t, e, "b", web)
	in := func() []string {
		t.Helper()
		list := strings.Fields(testns.Run(t, "pfctl", "-q", "-t", "xc:network:web", "-T", "show"))
		slices.Sort(list)
		return list
	}
	if got := in(); !slices.Equal(got, []string{"10.70.1.2", "10.70.1.3", "fd70:1::2", "fd70:1::3"}) {
		t.Errorf("%q", got)
	}
	// A rule of the operator's holds for containers as they come and go.
	loadRules(t, strings.Replace(operatorsRules, "pass all\n", "block drop in quick inet from <xc:network:web> to 10.70.1.1\npass all\n", 1), "-f", "-")
	if pings(t, e, "a", "10.70.1.1") || !pings(t, e, "a", "fd70:1::1") || !pings(t, e, "a", "10.70.1.3") {
		t.Error("the rule does not hold, or not alone")
	}
	now := 0
	if err := e.StopContainer(t.Context(), "a", api.StopOptions{Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	if got := in(); !slices.Equal(got, []string{"10.70.1.3", "fd70:1::3"}) {
		t.Errorf("one has stopped: %q", got)
	}
	if err := e.StartContainer(t.Context(), "a", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if pings(t, e, "a", "10.70.1.1") || !slices.Contains(in(), "10.70.1.4") {
		t.Errorf("it has come again: %q", in())
	}
	// What an operator has flushed is there again with the next engine.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	testns.Run(t, "pfctl", "-q", "-t", "xc:network:web", "-T", "flush")
	e = openBare(t, dir)
	if got := in(); !slices.Equal(got, []string{"10.70.1.3", "10.70.1.4", "fd70:1::3", "fd70:1::4"}) {
		t.Errorf("after a restart: %q", got)
	}
	// A table that a rule uses stays, and pf lets go of rules later.
	loadRules(t, operatorsRules, "-f", "-")
	for deadline := time.Now().Add(time.Minute); strings.Contains(testns.Run(t, "pfctl", "-q", "-vvs", "Tables"), "Rules: 1"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the table is still used")
		}
	}
	removeNetworks(t, e)
	checkHost(t, before)
	closeClean(t, e)
}
