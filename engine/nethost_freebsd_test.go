package engine_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/internal/testns"
)

// What the tests of networks want of this host, and of a container: here by the
// programs of the base system.

const (
	loopback  = "lo0"
	ping      = "ping -c1 -t3 "
	ping4     = "ping -4 -c1 -t3 "
	ping6     = "ping -6 -c1 -t3 "
	bridgeUp  = "ifconfig opbr0 up" // what is said of a bridge that is down
	forwardOn = "sysctl net.inet.ip.forwarding=1"
	// What is said of a network on the interface lo09 of the host, which is not there.
	refusedAlias = "no such interface"
	// showNetwork prints what eth0 has, and all routes.
	showNetwork = "ifconfig eth0; netstat -rnW"

	// A call from the container itself, or from its network, is the proxy's.
	hairpin = false
)

// defaultRoute tells whether showNetwork has printed a default route.
func defaultRoute(out, gateway, iface string) bool {
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "default" && f[1] == gateway && f[len(f)-1] == iface {
			return true
		}
	}
	return false
}

// needNetworks loads what networks are made of.
func needNetworks(t *testing.T) {
	t.Helper()
	for _, m := range []string{"if_bridge", "if_epair"} {
		testns.Run(t, "kldload", "-n", m)
	}
}

// addBridge makes a bridge of the operator's, which is down.
func addBridge(t *testing.T, name string, addrs ...string) {
	t.Helper()
	needNetworks(t)
	made := testns.Run(t, "ifconfig", "bridge", "create")
	testns.Run(t, "ifconfig", made, "name", name)
	t.Cleanup(func() { testns.Run(t, "ifconfig", name, "destroy") })
	for _, a := range addrs {
		here.Addr(t, name, a)
	}
	setUp(t, name, false) // an address takes it up
}

// setUp takes an interface up or down.
func setUp(t *testing.T, name string, up bool) {
	t.Helper()
	to := "down"
	if up {
		to = "up"
	}
	testns.Run(t, "ifconfig", name, to)
}

// interfaces are those of the host and its routes, in words.
func interfaces(t *testing.T) string {
	t.Helper()
	return testns.Run(t, "ifconfig", "-a") + "\n" + testns.Run(t, "netstat", "-rnW")
}

// operatorsRules are those of a host whose operator lets containers publish ports,
// with some of his own.
const operatorsRules = `table <theirs> persist { 192.0.2.1 }
rdr-anchor "xc-rdr/*"
rdr on lo0 inet proto tcp from any to 192.0.2.1 port 1 -> 127.0.0.1 port 2
pass all
`

// withFilter makes this host one that can publish ports.
func withFilter(t *testing.T) {
	t.Helper()
	testns.Run(t, "kldload", "-n", "pf")
	if strings.Contains(testns.Run(t, "pfctl", "-s", "info"), "Status: Enabled") {
		t.Skip("pf is enabled: this test would replace its rules")
	}
	loadRules(t, operatorsRules, "-f", "-")
	testns.Run(t, "pfctl", "-q", "-e")
	t.Cleanup(func() {
		testns.Run(t, "pfctl", "-q", "-d")
		testns.Run(t, "pfctl", "-q", "-F", "all")
	})
	testns.Forward(t)
}

// loadRules runs pfctl(8) with rules as its input.
func loadRules(t *testing.T, rules string, args ...string) {
	t.Helper()
	c := exec.Command("pfctl", append([]string{"-q"}, args...)...)
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("pfctl %q: %v: %s", args, err, out)
	}
}

// stopForwarding takes back what withFilter has said of IPv4.
func stopForwarding(t *testing.T) { testns.Run(t, "sysctl", "net.inet.ip.forwarding=0") }

// ruleset is what pf has: all rules, also those of anchors, and the tables that
// something is in, but for counters. Without pf it is empty.
func ruleset(t *testing.T) string {
	t.Helper()
	if exec.Command("kldstat", "-q", "-m", "pf").Run() != nil {
		return ""
	}
	pfctl := func(args ...string) string {
		return testns.Run(t, "pfctl", append([]string{"-q", "-P"}, args...)...) + "\n"
	}
	all := pfctl("-s", "rules") + pfctl("-s", "nat")
	anchors := strings.Fields(pfctl("-s", "Anchors", "-v"))
	for _, a := range anchors {
		// An empty one that the main ruleset has named stays until the kernel looks at it again.
		if in := pfctl("-a", a, "-s", "rules") + pfctl("-a", a, "-s", "nat"); strings.TrimSpace(in) != "" {
			all += a + ":\n" + in
		}
	}
	tables := strings.Fields(pfctl("-s", "Tables"))
	slices.Sort(tables)
	for _, name := range tables {
		if in := pfctl("-t", name, "-T", "show"); in != "\n" {
			all += "<" + name + "> " + in
		}
	}
	return all
}

// inRules tells whether a ruleset has something for a port of the host's.
func inRules(rules string, port uint16) bool {
	return regexp.MustCompile(` port (= )?` + strconv.Itoa(int(port)) + `[ :]`).MatchString(rules)
}

// foreignRules makes an anchor and a table that are not ours.
func foreignRules(t *testing.T) {
	t.Helper()
	const anchor = "xc-rdr/other"
	loadRules(t, "rdr inet proto tcp from any to any port 3 -> 127.0.0.1 port 4\n", "-a", anchor, "-f", "-")
	testns.Run(t, "pfctl", "-q", "-t", "xc:network:other", "-T", "add", "192.0.2.9")
	t.Cleanup(func() {
		testns.Run(t, "pfctl", "-q", "-a", anchor, "-F", "all")
		testns.Run(t, "pfctl", "-q", "-t", "xc:network:other", "-T", "kill")
	})
}

// flushRules removes what an engine has put into the anchors.
func flushRules(t *testing.T) {
	t.Helper()
	for _, a := range strings.Fields(testns.Run(t, "pfctl", "-q", "-a", "xc-rdr", "-s", "Anchors")) {
		if a != "xc-rdr/other" {
			testns.Run(t, "pfctl", "-q", "-a", a, "-F", "all")
		}
	}
}

// proxies are the processes that serve the published ports of a container.
func proxies(t *testing.T, id string) string {
	t.Helper()
	out, _ := exec.Command("pgrep", "-f", "^xc-proxy @proxy "+id).Output() // ends with 1 when there is none
	return string(out)
}

// hostState is all that a test could leave on this host, in words.
func hostState(t *testing.T) string {
	t.Helper()
	state := interfaces(t) + "\n" + testns.Run(t, "jls", "jid", "name", "path", "ip4.addr", "ip6.addr") + "\n" + testns.Run(t, "mount", "-p") + "\n" + ruleset(t)
	for _, optional := range [][]string{{"pfctl", "-q", "-s", "Tables"}, {"zfs", "list", "-H", "-o", "name", "-t", "all"}, {"rctl"}} {
		out, err := exec.Command(optional[0], optional[1:]...).Output()
		if err == nil { // else there is nothing of it
			state += string(out)
		}
	}
	return state
}

// openBare opens an engine that keeps nothing ready, for a test that compares the
// whole host: what is there of the engine is what the test has asked for.
func openBare(t *testing.T, dir string) *engine.Engine {
	t.Helper()
	c := config(dir)
	c.Spare = false
	return openWith(t, c)
}
