package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/testns"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// twoFamilies is a network of xc's own.
func twoFamilies(name, n string) api.NetworkSpec {
	return api.NetworkSpec{Name: name, Subnets: []api.Subnet{{Prefix: prefix("10.70." + n + ".0/24")}, {Prefix: prefix("fd70:" + n + "::/64")}}}
}

func createNetwork(t *testing.T, e *engine.Engine, spec api.NetworkSpec) api.Network {
	t.Helper()
	needNetworks(t)
	n, err := e.CreateNetwork(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sleeper is a container that waits, on networks.
func sleeper(t *testing.T, e *engine.Engine, name string, networks ...api.Attachment) api.Container {
	t.Helper()
	return running(t, e, api.ContainerSpec{Name: name, Image: "root", Command: []string{"sleep", "1000"}, Networks: networks})
}

// running is a container that was created and started.
func running(t *testing.T, e *engine.Engine, spec api.ContainerSpec) api.Container {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), spec)
	if err == nil {
		err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
	}
	if err == nil {
		c, err = e.InspectContainer(t.Context(), c.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// execIn runs a script in a container, and returns its output and exit code.
func execIn(t *testing.T, e *engine.Engine, name, script string) (string, int) {
	t.Helper()
	out := tempFile(t)
	x, err := e.ExecContainer(t.Context(), name, api.ExecOptions{Args: []string{"sh", "-c", script}, Stdio: api.Stdio{Stdout: out, Stderr: out}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), x.Code
}

// pings tells whether one container reaches an address.
func pings(t *testing.T, e *engine.Engine, from, to string) bool {
	t.Helper()
	out, code := execIn(t, e, from, ping+to)
	if code != 0 && testing.Verbose() {
		t.Logf("%s to %s: %s", from, to, out)
	}
	return code == 0
}

func TestIntegrationNetwork(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	before := interfaces(t)
	n := createNetwork(t, e, twoFamilies("web", "1"))
	if !n.Own || n.Subnets[0].Gateway != addr("10.70.1.1") || n.Subnets[1].Gateway != addr("fd70:1::1") {
		t.Errorf("network: %+v", n)
	}
	a := sleeper(t, e, "a", api.Attachment{Network: "web"})
	b := sleeper(t, e, "b", api.Attachment{Network: "web", Addrs: []netip.Addr{addr("10.70.1.77")}, MAC: "02:00:00:00:00:77"})
	if len(a.Networks) != 1 || a.Network != "web" || !slices.Equal(a.Networks[0].Addrs, []netip.Prefix{prefix("10.70.1.2/24"), prefix("fd70:1::2/64")}) || a.Networks[0].Main != addr("10.70.1.2") {
		t.Errorf("a: %+v", a.Networks)
	}
	if b.Networks[0].Addrs[0] != prefix("10.70.1.77/24") || b.Networks[0].MAC != "02:00:00:00:00:77" {
		t.Errorf("b: %+v", b.Networks)
	}
	for _, to := range []string{"10.70.1.77", b.Networks[0].Addrs[1].Addr().String(), "10.70.1.1", "fd70:1::1"} {
		if !pings(t, e, "a", to) {
			t.Errorf("a does not reach %s", to)
		}
	}
	out, _ := execIn(t, e, "b", "env; "+showNetwork)
	for _, want := range []string{
		"XC_ID=" + b.ID, "XC_MAIN_IP=10.70.1.77\n", "XC_MAIN_IFACE=eth0\n", "XC_NETWORKS_COUNT=1\n", "XC_NETWORK_web_ADDR_COUNT=2\n",
		"XC_NETWORK_web_IFACE=eth0\n", "XC_NETWORK_web_ADDR_0=10.70.1.77/24\n", "XC_NETWORK_web_ADDR_1=fd70:1::",
		"02:00:00:00:00:77",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if !defaultRoute(out, "10.70.1.1", "eth0") || !defaultRoute(out, "fd70:1::1", "eth0") {
		t.Errorf("default routes: %s", out)
	}
	if got, err := e.InspectNetwork(t.Context(), "web"); err != nil || len(got.Containers) != 2 || got.Containers[0].Name != "a" || len(got.Containers[1].Addrs) != 2 {
		t.Errorf("inspect: %+v %v", got, err)
	}
	if err := e.RemoveNetwork(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "connected to it: a, b") {
		t.Errorf("removed while in use: %v", err)
	}
	now := 0
	for _, name := range []string{"a", "b"} {
		if err := e.StopContainer(t.Context(), name, api.StopOptions{Timeout: &now}); err != nil {
			t.Error(err)
		}
	}
	if c, err := e.InspectContainer(t.Context(), "b"); err != nil || len(c.Networks[0].Addrs) != 1 || c.Networks[0].Addrs[0] != prefix("10.70.1.77/24") {
		t.Errorf("b keeps what it asked for: %+v %v", c.Networks, err)
	}
	if err := e.StartContainer(t.Context(), "a", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if c, err := e.InspectContainer(t.Context(), "a"); err != nil || c.Networks[0].Addrs[0] != prefix("10.70.1.3/24") {
		t.Errorf("a's last address rests: %+v %v", c.Networks, err)
	}
	for _, name := range []string{"a", "b"} {
		if err := e.RemoveContainer(t.Context(), name, api.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
	if removed, err := e.PruneNetworks(t.Context()); err != nil || !slices.Equal(removed.Names, []string{"web"}) {
		t.Errorf("pruned: %v %v", removed, err)
	}
	if after := interfaces(t); after != before {
		t.Errorf("interfaces before:\n%s\nafter:\n%s", before, after)
	}
}

// Networks do not reach each other where the host does not forward between them.
func TestIntegrationTwoNetworks(t *testing.T) {
	e := testEngine(t)
	testns.NoForward(t)
	importRoot(t, e, "root")
	defer removeNetworks(t, e)
	createNetwork(t, e, twoFamilies("web", "1"))
	createNetwork(t, e, twoFamilies("db", "2"))
	sleeper(t, e, "front", api.Attachment{Network: "web"})
	sleeper(t, e, "store", api.Attachment{Network: "db"})
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{
		Name: "both", Image: "root", Command: []string{"sleep", "1000"}, Main: "db",
		Networks: []api.Attachment{{Network: "web"}, {Network: "db"}},
	})
	if err == nil {
		err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		from, to string
		want     bool
	}{
		{"both", "10.70.1.2", true}, {"both", "10.70.2.2", true}, {"both", "fd70:1::2", true}, {"both", "fd70:2::2", true},
		{"front", "10.70.2.2", false}, {"front", "fd70:2::2", false}, {"store", "10.70.1.2", false}, {"store", "fd70:1::2", false},
	} {
		if pings(t, e, r.from, r.to) != r.want {
			t.Errorf("%s reaches %s: not %v", r.from, r.to, r.want)
		}
	}
	out, _ := execIn(t, e, "both", "env; "+showNetwork)
	for _, want := range []string{"XC_MAIN_IP=10.70.2.3\n", "XC_MAIN_IFACE=eth1\n", "XC_NETWORKS_COUNT=2\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if !defaultRoute(out, "10.70.2.1", "eth1") {
		t.Errorf("default route: %s", out)
	}
}

// removeNetworks removes all networks, and the containers that are on them.
func removeNetworks(t *testing.T, e *engine.Engine) {
	t.Helper()
	removeContainers(t, e)
	ctx := context.Background()
	list, err := e.ListNetworks(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, n := range list {
		if err := e.RemoveNetwork(ctx, n.Name); err != nil {
			t.Error(err)
		}
	}
}

func removeContainers(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx := context.Background()
	containers, err := e.ListContainers(ctx, api.ListOptions{All: true})
	if err != nil {
		t.Error(err)
	}
	for _, c := range containers {
		if err := e.RemoveContainer(ctx, c.ID, api.RemoveOptions{Force: true}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// A container that names no network is on the one called default.
func TestIntegrationDefaultNetwork(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	defer removeNetworks(t, e)
	if c := sleeper(t, e, "none"); c.Network != api.NetworkNone || len(c.Networks) != 0 {
		t.Errorf("without a default: %+v", c)
	}
	createNetwork(t, e, api.NetworkSpec{Name: api.NetworkDefault})
	if c := sleeper(t, e, "some"); c.Network != api.NetworkDefault || len(c.Networks) != 1 || len(c.Networks[0].Addrs) != 2 {
		t.Errorf("with a default: %+v", c)
	}
	if c := sleeper(t, e, "no", api.Attachment{Network: api.NetworkNone}); c.Network != api.NetworkNone {
		t.Errorf("none: %+v", c)
	}
}

// The operator's bridge stays what it is.
func TestIntegrationForeignBridge(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	spec := api.NetworkSpec{Name: "lan", Bridge: "opbr0", Subnets: []api.Subnet{{Prefix: prefix("10.71.0.0/24"), First: addr("10.71.0.9"), Last: addr("10.71.0.11")}}}
	if _, err := e.CreateNetwork(t.Context(), spec); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bridge that is missing: %v", err)
	}
	addBridge(t, "opbr0", "10.71.0.10/24")
	createNetwork(t, e, spec)
	defer removeNetworks(t, e)
	before := interfaces(t)
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}, Networks: []api.Attachment{{Network: "lan", Addrs: []netip.Addr{addr("10.71.0.10")}}}}); err == nil {
		t.Error("the host's own address was given away")
	}
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "x", Image: "root", Command: []string{"true"}, Networks: []api.Attachment{{Network: "lan"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err == nil || !strings.Contains(err.Error(), bridgeUp) {
		t.Errorf("a bridge that is down: %v", err)
	}
	setUp(t, "opbr0", true)
	a := sleeper(t, e, "a", api.Attachment{Network: "lan"})
	b := sleeper(t, e, "b", api.Attachment{Network: "lan"})
	if a.Networks[0].Addrs[0] != prefix("10.71.0.11/24") || b.Networks[0].Addrs[0] != prefix("10.71.0.9/24") {
		t.Errorf("addresses: %v %v", a.Networks, b.Networks) // the first ones rest after what failed
	}
	if out, _ := execIn(t, e, "a", showNetwork); strings.Contains(out, "default") || !pings(t, e, "a", "10.71.0.9") {
		t.Errorf("routes: %s", out)
	}
	removeNetworks(t, e)
	setUp(t, "opbr0", false)
	if after := interfaces(t); after != before {
		t.Errorf("interfaces before:\n%s\nafter:\n%s", before, after)
	}
}

func TestIntegrationNetworkRefusals(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	sub := func(s api.Subnet) api.NetworkSpec { return api.NetworkSpec{Name: "x", Subnets: []api.Subnet{s}} }
	for says, spec := range map[string]api.NetworkSpec{
		"there is one":                        {Name: "web"},
		"there is always one":                 {Name: "none"},
		"letter or digit":                     {Name: "a b"},
		"network web has":                     sub(api.Subnet{Prefix: prefix("10.70.1.128/25")}),
		"interface " + loopback + " has":      sub(api.Subnet{Prefix: prefix("126.0.0.0/7")}),
		"do you mean":                         sub(api.Subnet{Prefix: netip.PrefixFrom(addr("10.9.0.1"), 24)}),
		"one address only":                    sub(api.Subnet{Prefix: prefix("10.9.0.0/32")}),
		"no address of a host in 10.9.0.0/24": sub(api.Subnet{Prefix: prefix("10.9.0.0/24"), Gateway: addr("10.9.0.255")}),
		"not in 10.9.0.0/24":                  sub(api.Subnet{Prefix: prefix("10.9.0.0/24"), First: addr("10.9.0.9"), Last: addr("10.9.0.8")}),
		"cannot have such":                    sub(api.Subnet{Prefix: prefix("224.0.0.0/24")}),
		"not a prefix":                        sub(api.Subnet{}),
		"the network itself":                  {Name: "x", Subnets: []api.Subnet{{Prefix: prefix("10.9.0.0/24")}, {Prefix: prefix("10.9.0.0/25")}}},
		"1280 to":                             {Name: "x", MTU: 1000, Subnets: []api.Subnet{{Prefix: prefix("fd09::/64")}}},
		refusedAlias:                          {Name: "x", Alias: loopback + "9", Subnets: []api.Subnet{{Prefix: prefix("10.9.0.0/24")}}},
		"it is no bridge":                     {Name: "x", Bridge: loopback, Subnets: []api.Subnet{{Prefix: prefix("10.9.0.0/24")}}},
		"0 subnets":                           {Name: "x", Bridge: loopback},
	} {
		if n, err := e.CreateNetwork(t.Context(), spec); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v %v", says, n, err)
		}
	}
	web := api.Attachment{Network: "web"}
	fixed := func(text ...string) api.ContainerSpec {
		a := web
		for _, s := range text {
			a.Addrs = append(a.Addrs, addr(s))
		}
		return api.ContainerSpec{Networks: []api.Attachment{a}}
	}
	sleeper(t, e, "holder", fixed("10.70.1.9").Networks...)
	for says, spec := range map[string]api.ContainerSpec{
		`network "no"`:             {Networks: []api.Attachment{{Network: "no"}}},
		"named twice":              {Networks: []api.Attachment{web, web}},
		"neither addresses":        {Networks: []api.Attachment{web, {Network: "host"}}},
		"in no subnet":             fixed("10.99.0.1"),
		"a second one":             fixed("10.70.1.4", "10.70.1.5"),
		"address is reserved":      fixed("10.70.1.1"),
		"it is container holder's": fixed("10.70.1.9"),
		"MAC address":              {Networks: []api.Attachment{{Network: "web", MAC: "01:00:00:00:00:01"}}},
		"neither a network":        {Networks: []api.Attachment{web}, Main: "10.70.1.200"},
		"is on no network":         {Main: "web"},
		"alias www: invalid argument: the container is on no network": {Aliases: []string{"www"}},
		"alias own: invalid argument: the container is on no network": {Aliases: []string{"own"}, Networks: []api.Attachment{{Network: "host"}}},
		"no port of it can be published":                              {NoLocalProxy: true},
		"with a network stack of ":                                    {Networks: []api.Attachment{{Network: "host"}}, VNET: true},
	} {
		spec.Image, spec.Command = "root", []string{"true"}
		if c, err := e.CreateContainer(t.Context(), spec); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v %v", says, c.Networks, err)
		}
	}
	if n, err := e.InspectNetwork(t.Context(), "web"); err != nil || len(n.Containers) != 1 {
		t.Errorf("what was refused is connected: %+v %v", n, err)
	}
}

// Who wants a network, or an address, of a container that is removing itself waits
// until it has.
func TestIntegrationNetworkOfAutoRemoved(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for range 5 {
		createNetwork(t, e, twoFamilies("web", "1"))
		for range 3 {
			at := []api.Attachment{{Network: "web", Addrs: []netip.Addr{addr("10.70.1.9"), addr("fd70:1::9")}}}
			if out, exit := sh(t, e, api.ContainerSpec{AutoRemove: true, Networks: at}, "echo $XC_MAIN_IP"); out != "10.70.1.9\n" {
				t.Fatalf("%q, %+v", out, exit)
			}
		}
		if err := e.RemoveNetwork(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
	}
}

// Another engine finds what the last one left running, and gives back what it
// had taken.
func TestIntegrationNetworkRestart(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	a := sleeper(t, e, "a", api.Attachment{Network: "web"})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	defer removeNetworks(t, e)
	again, err := e.InspectContainer(t.Context(), "a")
	if err != nil || len(again.Networks) != 1 || !slices.Equal(again.Networks[0].Addrs, a.Networks[0].Addrs) {
		t.Errorf("%+v, was %+v: %v", again.Networks, a.Networks, err)
	}
	b := sleeper(t, e, "b", api.Attachment{Network: "web"})
	if b.Networks[0].Addrs[0] == a.Networks[0].Addrs[0] || !pings(t, e, "b", a.Networks[0].Addrs[0].Addr().String()) || !pings(t, e, "a", b.Networks[0].Addrs[1].Addr().String()) {
		t.Errorf("a %+v b %+v", a.Networks, b.Networks)
	}
	if out, _ := execIn(t, e, "a", "env"); !strings.Contains(out, "XC_MAIN_IP="+a.Networks[0].Main.String()+"\n") {
		t.Errorf("environment: %s", out)
	}
}

// A pool that is full says so, and nothing is kept of what was tried.
func TestIntegrationFullNetwork(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	createNetwork(t, e, api.NetworkSpec{Name: "tiny", Subnets: []api.Subnet{{Prefix: prefix("fd71::/64")}, {Prefix: prefix("10.71.9.0/30")}}})
	defer removeNetworks(t, e)
	sleeper(t, e, "a", api.Attachment{Network: "tiny"})
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "b", Image: "root", Command: []string{"true"}, Networks: []api.Attachment{{Network: "tiny"}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err == nil || !strings.Contains(err.Error(), "network tiny: take address of 10.71.9.0/30: no address left") {
			t.Errorf("started: %v", err)
		}
	}
	now := 0
	if err := e.StopContainer(t.Context(), "a", api.StopOptions{Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err = e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after the other has stopped: %v", err)
	}
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
