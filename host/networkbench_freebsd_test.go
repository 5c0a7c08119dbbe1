package host

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// BenchmarkNetwork connects a jail with a network stack of its own to a bridge, over
// both families, and takes that back: as a container is connected, and in turns with
// it by jail(8), ifconfig(8) and route(8), in as few calls as it takes. It tells what
// each needs, and the first as a part of the second.
func BenchmarkNetwork(b *testing.B) {
	h := networkHost(b)
	n := makeNetwork(b, h, "bench", 0, "10.81.0.1/24", "fd81::1/64")
	spec := Spec{Network: NetworkOwn, Interfaces: []Interface{{
		Network: n.Name, Bridge: n.Bridge, Name: "eth0", MAC: MAC("bench"), Addrs: prefixes("10.81.0.2/24", "fd81::2/64"),
		Gateways: []netip.Addr{netip.MustParseAddr("10.81.0.1"), netip.MustParseAddr("fd81::1")}, Main: true,
	}}}
	var up, down, baseUp, baseDown time.Duration
	for b.Loop() {
		start := time.Now()
		c, err := h.networked(b, spec)
		if err != nil {
			b.Fatal(err)
		}
		up += time.Since(start)
		start = time.Now()
		if err := c.Unwind(b.Context()); err != nil {
			b.Fatal(err)
		}
		down += time.Since(start)

		start = time.Now()
		epair := connectByHand(b, n.Bridge)
		baseUp += time.Since(start)
		start = time.Now()
		tool(b, "jail", "-r", "xcbench")
		tool(b, "ifconfig", epair, "destroy")
		baseDown += time.Since(start)
	}
	for name, d := range map[string]time.Duration{"up": up, "down": down, "base-up": baseUp, "base-down": baseDown} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), name+"-ms/op")
	}
	b.ReportMetric(float64(up+down)/float64(baseUp+baseDown), "of-base")
}

// connectByHand does what an operator would, and returns the end of the epair that
// is on this host.
func connectByHand(b *testing.B, bridge string) string {
	const name, v6 = "xcbench", "fd81::3/64"
	tool(b, "jail", "-c", "name="+name, "path=/", "host.hostname=bench", "persist", "vnet=new")
	a := strings.TrimSpace(tool(b, "ifconfig", "epair", "create", "up"))
	end := strings.TrimSuffix(a, "a") + "b"
	tool(b, "ifconfig", bridge, "addm", a)
	tool(b, "ifconfig", end, "ether", MAC("by hand").String())
	tool(b, "ifconfig", end, "vnet", name)
	tool(b, "ifconfig", "-j", name, "lo0", "inet", "127.0.0.1/8", "up")
	tool(b, "ifconfig", "-j", name, end, "name", "eth0")
	tool(b, "ifconfig", "-j", name, "eth0", "inet", "10.81.0.3/24", "up")
	tool(b, "ifconfig", "-j", name, "eth0", "inet6", "no_dad", "-ifdisabled", v6)
	tool(b, "route", "-j", name, "-q", "add", "default", "10.81.0.1")
	tool(b, "route", "-j", name, "-q", "-6", "add", "default", "fd81::1")
	return a
}
