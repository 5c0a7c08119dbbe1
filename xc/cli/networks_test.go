package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func (f *fake) CreateNetwork(_ context.Context, spec api.NetworkSpec) (api.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := api.Network{
		ID: fmt.Sprintf("n%011d", len(f.networks)), Name: spec.Name, Bridge: spec.Bridge, Alias: spec.Alias,
		MTU: spec.MTU, Subnets: spec.Subnets, Labels: spec.Labels,
	}
	f.networks = append(f.networks, n)
	return n, nil
}

func (f *fake) ListNetworks(context.Context) ([]api.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.networks), nil
}

func (f *fake) InspectNetwork(_ context.Context, name string) (api.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.networks {
		if n.Name == name {
			return n, nil
		}
	}
	return api.Network{}, fmt.Errorf("network %q: %w", name, fs.ErrNotExist)
}

func (f *fake) RemoveNetwork(ctx context.Context, name string) error {
	if _, err := f.InspectNetwork(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks = slices.DeleteFunc(f.networks, func(n api.Network) bool { return n.Name == name })
	return nil
}

func (f *fake) PruneNetworks(context.Context) (api.PrunedNetworks, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pruned := api.PrunedNetworks{Names: []string{}}
	for _, n := range f.networks {
		pruned.Names = append(pruned.Names, n.Name)
	}
	f.networks = nil
	if f.stuck {
		pruned.Failed = []string{"remove network wan: it does not go"}
	}
	return pruned, nil
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func TestNetworkCreate(t *testing.T) {
	for _, c := range []struct {
		args string
		want api.Network
		says string
	}{
		{"web", api.Network{Name: "web"}, ""},
		{
			"--bridge xc0 --alias xc0 --subnet 172.16.0.0/24 --gateway 172.16.0.254 --subnet fd00::/64 --gateway fd00::1 --range 172.16.0.10-172.16.0.20 --range fd00::100/120 --mtu 1400 -l a=b web",
			api.Network{
				Name: "web", Bridge: "xc0", Alias: "xc0", MTU: 1400, Labels: map[string]string{"a": "b"},
				Subnets: []api.Subnet{
					{Prefix: prefix("172.16.0.0/24"), Gateway: addr("172.16.0.254"), First: addr("172.16.0.10"), Last: addr("172.16.0.20")},
					{Prefix: prefix("fd00::/64"), Gateway: addr("fd00::1"), First: addr("fd00::100"), Last: addr("fd00::1ff")},
				},
			}, "",
		},
		{"--subnet 172.16.0.0 web", api.Network{}, "expected a prefix"},
		{"--subnet 10.0.0.0/8 --gateway 11.0.0.1 web", api.Network{}, "in no --subnet"},
		{"--subnet 10.0.0.0/8 --gateway 10.0.0.1 --gateway 10.0.0.2 web", api.Network{}, "has one already"},
		{"--subnet 10.0.0.0/8 --gateway web web", api.Network{}, "no address"},
		{"--subnet 10.0.0.0/8 --range 10.0.0.1 web", api.Network{}, "FIRST-LAST"},
		{"--subnet 10.0.0.0/8 --range 10.0.0.1-x web", api.Network{}, "FIRST-LAST"},
	} {
		f := newFake(t)
		r := f.xc(t, append([]string{"network", "create"}, strings.Fields(c.args)...)...)
		if c.says != "" {
			if r.code != 125 || !strings.Contains(r.errout, c.says) || strings.Count(r.errout, "\n") != 1 {
				t.Errorf("%s: %+v", c.args, r)
			}
			continue
		}
		c.want.ID = "n00000000000"
		if r.code != 0 || r.out != c.want.ID+"\n" || len(f.networks) != 1 || !reflect.DeepEqual(f.networks[0], c.want) {
			t.Errorf("%s: %+v\n got %+v\nwant %+v", c.args, r, f.networks, c.want)
		}
	}
}

func TestNetworkCommands(t *testing.T) {
	f := newFake(t)
	f.networks = []api.Network{
		{ID: "n1", Name: "db", Bridge: "br0", Subnets: []api.Subnet{{Prefix: prefix("10.1.0.0/24"), Gateway: addr("10.1.0.1")}}, Containers: []api.Member{{ID: "c1", Name: "pg"}}},
		{ID: "n2", Name: "web", Bridge: "own", Own: true, Subnets: []api.Subnet{{Prefix: prefix("10.2.0.0/24")}, {Prefix: prefix("fd02::/64")}}},
	}
	for _, c := range []struct{ args, out string }{
		{"network ls", "NETWORK ID   NAME      BRIDGE      SUBNETS                 CONTAINERS\nn1           db        br0         10.1.0.0/24             1\nn2           web       own (own)   10.2.0.0/24,fd02::/64   0\n"},
		{"network ls -q", "db\nweb\n"},
		{"network ls --format {{.Name}}:{{.Gateways}}", "db:10.1.0.1\nweb:\n"},
		{"network inspect --format {{.ID}} web", "n2\n"},
		{"__complete network rm ", "db\nweb\n:4\n"},
		{"__complete run --network w", "web\n:4\n"},
		{"__complete run --network h", "host\n:4\n"},
		{"network rm db", "db\n"},
		{"network prune -f", "web\n"},
	} {
		if r := f.xc(t, strings.Split(c.args, " ")...); r.code != 0 || r.out != c.out {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	if r := f.xc(t, "network", "inspect", "nobody"); r.code != 125 || !strings.Contains(r.errout, "nobody") || r.out != "[]\n" {
		t.Errorf("inspect of none: %+v", r)
	}
}

// Networks are removed when somebody has said so.
func TestNetworkPruneAsks(t *testing.T) {
	for _, c := range []struct {
		args, stdin string
		gone        bool
	}{
		{"network prune", "", false}, {"network prune", "n\n", false}, {"network prune", "y\n", true}, {"network prune --force", "", true},
	} {
		f := newFake(t)
		f.networks = []api.Network{{ID: "n1", Name: "web"}}
		a, done := f.app(t, c.stdin)
		r := done(a.Run(t.Context(), strings.Fields(c.args)))
		asked := strings.Contains(r.errout, ", but for default. Go on? [y/N] ")
		if (r.code == 0) != c.gone || c.gone != (len(f.networks) == 0) || c.gone != (r.out == "web\n") || asked != !strings.Contains(c.args, "force") {
			t.Errorf("%s with %q: %+v", c.args, c.stdin, r)
		}
	}
}

func TestContainerNetworks(t *testing.T) {
	for _, c := range []struct {
		args string
		want []api.Attachment
		says string
	}{
		{"", nil, ""},
		{"--network none", []api.Attachment{{Network: "none"}}, ""},
		{"--network a:10.0.0.1,fd00::1 --network b", []api.Attachment{{Network: "a", Addrs: []netip.Addr{addr("10.0.0.1"), addr("fd00::1")}}, {Network: "b"}}, ""},
		{"--network a --network b --ip 10.0.0.2 --ip6 fd00::2 --mac-address 02:00:00:00:00:01", []api.Attachment{{Network: "a", Addrs: []netip.Addr{addr("10.0.0.2"), addr("fd00::2")}, MAC: "02:00:00:00:00:01"}, {Network: "b"}}, ""},
		{"--ip 10.0.0.2", []api.Attachment{{Network: "default", Addrs: []netip.Addr{addr("10.0.0.2")}}}, ""},
		{"--network a:x", nil, `"x" is no address`},
		{"--network :10.0.0.1", nil, "expected NAME"},
		{"--ip fd00::1", nil, "IPv4"},
		{"--ip6 10.0.0.1", nil, "IPv6"},
	} {
		f := newFake(t)
		r := f.xc(t, slices.Concat([]string{"create"}, strings.Fields(c.args), []string{"alpine:3"})...)
		if c.says != "" {
			if r.code != 125 || !strings.Contains(r.errout, c.says) {
				t.Errorf("%s: %+v", c.args, r)
			}
			continue
		}
		if got := f.first().Networks; r.code != 0 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %+v", c.args, r, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		args string
		want api.ContainerSpec
		says string
	}{
		{
			"--dns 10.0.0.1 --dns fd00::1 --dns-search a.example --dns-search b.example --dns-option ndots:2 --add-host db:10.0.0.9 --add-host six:fd00::9 --add-host host:host-gateway --network-alias www",
			api.ContainerSpec{
				DNS:     api.DNS{Servers: []netip.Addr{addr("10.0.0.1"), addr("fd00::1")}, Search: []string{"a.example", "b.example"}, Options: []string{"ndots:2"}},
				Hosts:   []api.HostEntry{{Name: "db", Addr: addr("10.0.0.9")}, {Name: "six", Addr: addr("fd00::9")}, {Name: "host"}},
				Aliases: []string{"www"},
			}, "",
		},
		{"--dns one", api.ContainerSpec{}, "no address"},
		{"--add-host db", api.ContainerSpec{}, "expected NAME:ADDRESS"},
		{"--add-host db:x", api.ContainerSpec{}, `"x" is no address`},
	} {
		f := newFake(t)
		r := f.xc(t, slices.Concat([]string{"create"}, strings.Fields(c.args), []string{"alpine:3"})...)
		if c.says != "" {
			if r.code != 125 || !strings.Contains(r.errout, c.says) {
				t.Errorf("%s: %+v", c.args, r)
			}
			continue
		}
		if got := f.first(); r.code != 0 || !reflect.DeepEqual(got.DNS, c.want.DNS) || !reflect.DeepEqual(got.Hosts, c.want.Hosts) || !reflect.DeepEqual(got.Aliases, c.want.Aliases) {
			t.Errorf("%s: %+v %+v", c.args, r, got)
		}
	}
}

func TestAddressesInPs(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "create", "--name", "web", "alpine:3"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	f.containers[0].Networks = []api.Connection{
		{Network: "a", Addrs: []netip.Prefix{prefix("10.0.0.1/8"), prefix("fd00::1/64")}},
		{Network: "b", Addrs: []netip.Prefix{prefix("10.9.0.1/16")}, Main: addr("10.9.0.1")},
	}
	if r := f.xc(t, "ps", "-a", "--format", "{{.Address}} {{.Addresses}}"); r.out != "10.9.0.1 10.0.0.1,fd00::1,10.9.0.1\n" {
		t.Errorf("%+v", r)
	}
	var list []api.Container
	if r := f.xc(t, "inspect", "web"); json.Unmarshal([]byte(r.out), &list) != nil || len(list) != 1 || len(list[0].Networks) != 2 {
		t.Errorf("%+v", r)
	}
}
