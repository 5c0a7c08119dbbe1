package tenant

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/joyboyid/xc/linux/netif"
)

// testBridge makes a bridge with an address of each family.
func testBridge(t *testing.T) *netif.Conn {
	t.Helper()
	c, err := netif.Open()
	must(t, err)
	t.Cleanup(func() {
		must(t, c.Delete("tbr0"))
		must(t, c.Close())
	})
	must(t, c.AddBridge(netif.Bridge{Name: "tbr0", MTU: 1400}))
	must(t, c.AddAddr("tbr0", netip.MustParsePrefix("10.77.0.1/24")))
	must(t, c.AddAddr("tbr0", netip.MustParsePrefix("fd77::1/64")))
	must(t, c.Set("tbr0", netif.Change{Up: netif.Yes}))
	return c
}

func onBridge(t *testing.T, list ...Interface) Config {
	t.Helper()
	return Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: makeRoot(t)}, Interfaces: list}
}

func TestIntegrationInterfaces(t *testing.T) {
	need(t)
	c := testBridge(t)
	s := openTenant(t, onBridge(t, Interface{
		Name: "eth0", Peer: "tpeer0", Bridge: "tbr0", MAC: "02:00:00:00:00:09",
		Addrs:    []netip.Prefix{netip.MustParsePrefix("10.77.0.9/24"), netip.MustParsePrefix("fd77::9/64")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")},
	}, Interface{Name: "lan", Peer: "tpeer1", Bridge: "tbr0", MTU: 1300}))
	out := sh(t, s, "ip link; ip addr; ip route; ip -6 route; busybox ping -c1 -W5 10.77.0.1; busybox ping -c1 -W5 fd77::1")
	for _, want := range []string{
		"02:00:00:00:00:09", "10.77.0.9/24", "fd77::9/64", "mtu 1400", "mtu 1300", "lan@",
		"default via 10.77.0.1 dev eth0", "default via fd77::1 dev eth0",
		"64 bytes from 10.77.0.1", "64 bytes from fd77::1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	peer, err := c.Lookup("tpeer0")
	if err != nil || !peer.Up || peer.Master == 0 || peer.Alias != "xc test eth0" {
		t.Errorf("peer: %+v %v", peer, err)
	}
	must(t, s.Close())
	// The kernel is at it, or was.
	must(t, errors.Join(ignoreMissing(c.Delete("tpeer0")), ignoreMissing(c.Delete("tpeer1"))))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestIntegrationInterfaceErrors(t *testing.T) {
	need(t)
	c := testBridge(t)
	ok := Interface{Name: "eth0", Peer: "tpeer", Bridge: "tbr0"}
	for name, tt := range map[string]struct {
		change func(*Interface)
		want   error
	}{
		"no bridge":   {func(i *Interface) { i.Bridge = "none0" }, fs.ErrNotExist},
		"bad gateway": {func(i *Interface) { i.Gateways = []netip.Addr{netip.MustParseAddr("10.99.0.1")} }, nil},
		"taken":       {func(i *Interface) { i.Peer = "tbr0" }, fs.ErrExist},
	} {
		t.Run(name, func(t *testing.T) {
			i := ok
			tt.change(&i)
			conf := onBridge(t, i)
			s, err := open(&conf)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "eth0") {
				t.Error(err)
			}
			must(t, ignoreMissing(c.Delete("tpeer")))
		})
	}
	if _, err := open(&Config{Network: "host", Root: Root{Kind: Bind, Dir: "/"}, Interfaces: []Interface{ok}}); err == nil {
		t.Error("the host's network was given an interface")
	}
}
