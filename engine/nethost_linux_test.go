package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/linux/netif"
)

// What the tests of networks want of this host, and of a container: here by
// rtnetlink(7), ip(8), nft(8) and busybox.

const (
	loopback  = "lo"
	ping      = "busybox ping -c1 -W2 "
	ping4     = ping + "-4 "
	ping6     = ping + "-6 "
	bridgeUp  = "ip link set opbr0 up" // what is said of a bridge that is down
	forwardOn = "sysctl -w net.ipv4.ip_forward=1"
	// What is said of a network on the interface lo9 of the host.
	refusedAlias = "on Linux"
	// showNetwork prints what eth0 has, and all routes.
	showNetwork = "busybox ip addr show eth0; busybox ip route; busybox ip -6 route"

	// A call from the container itself, or from its network, is redirected.
	hairpin = true
)

// defaultRoute tells whether showNetwork has printed a default route.
func defaultRoute(out, gateway, iface string) bool {
	return strings.Contains(out, "default via "+gateway+" dev "+iface)
}

// needNetworks has nothing to do: the kernel loads what networks are made of.
func needNetworks(*testing.T) {}

// netHost changes interfaces of the host as an operator does.
func netHost(t *testing.T, do func(c *netif.Conn) error) {
	t.Helper()
	c, err := netif.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := do(c); err != nil {
		t.Fatal(err)
	}
}

// addBridge makes a bridge of the operator's, which is down.
func addBridge(t *testing.T, name string, addrs ...string) {
	t.Helper()
	netHost(t, func(c *netif.Conn) error {
		err := c.AddBridge(netif.Bridge{Name: name})
		for _, a := range addrs {
			if err == nil {
				err = c.AddAddr(name, prefix(a))
			}
		}
		return err
	})
	t.Cleanup(func() { netHost(t, func(c *netif.Conn) error { return c.Delete(name) }) })
}

// setUp takes an interface up or down.
func setUp(t *testing.T, name string, up bool) {
	t.Helper()
	to := netif.No
	if up {
		to = netif.Yes
	}
	netHost(t, func(c *netif.Conn) error { return c.Set(name, netif.Change{Up: to}) })
}

// interfaces are those of the host, in words.
func interfaces(t *testing.T) string {
	t.Helper()
	var lines []string
	netHost(t, func(c *netif.Conn) error {
		list, err := c.List()
		if err != nil {
			return err
		}
		for _, i := range list {
			lines = append(lines, i.Name+" "+i.Kind)
			for _, a := range i.Addrs {
				if !a.Addr().IsLinkLocalUnicast() { // comes when it comes
					lines = append(lines, i.Name+" "+a.String())
				}
			}
		}
		routes, err := c.Routes()
		for _, r := range routes {
			if !r.Prefix.Addr().IsLinkLocalUnicast() {
				lines = append(lines, r.Prefix.String()+" "+r.Gateway.String()+" "+r.Name)
			}
		}
		return err
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// withFilter makes this host one that can publish ports, or skips the test.
func withFilter(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft(8) to compare with: apt-get install nftables")
	}
	testns.Forward(t)
}

// stopForwarding takes back what withFilter has said of IPv4.
func stopForwarding(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
}

// hostState is all that a test could leave on this host, in words.
func hostState(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	state := interfaces(t) + "\n" + string(mounts)
	if _, err := exec.LookPath("nft"); err == nil {
		state += ruleset(t)
	}
	return state
}

// ruleset is all of nftables, but for counters; the table of others is in it.
func ruleset(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "-s", "-a", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// inRules tells whether a ruleset has something for a port of the host's.
func inRules(rules string, port uint16) bool {
	return strings.Contains(rules, fmt.Sprintf(" *:%d", port))
}

// foreignRules makes a table that is not ours.
func foreignRules(t *testing.T) {
	t.Helper()
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader("table inet xc-other { chain prerouting { type nat hook prerouting priority dstnat; policy accept; tcp dport 1 counter; }; }\n")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("nft", "delete", "table", "inet", "xc-other").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// flushRules removes what an engine has put into the ruleset.
func flushRules(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", "for t in $(nft list tables | sed -n 's/^table inet \\(xc-[^ ]*\\)$/\\1/p'); do [ $t = xc-other ] || nft delete table inet $t; done").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// proxies are the processes that serve the published ports of a container.
func proxies(t *testing.T, id string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q '^xc-proxy @proxy "+id+"' && echo ${p#/proc/}; done; true").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
