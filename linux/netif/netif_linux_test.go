package netif_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/linux/netif"
)

func TestMain(m *testing.M) {
	testns.Enter()
	os.Exit(m.Run())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: sudo go test -run Integration ./linux/netif")
	}
}

// namespace makes a network namespace.
func namespace(t *testing.T) *os.File {
	t.Helper()
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		defer close(made)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		made <- f
	}()
	f := <-made
	if f == nil {
		t.FailNow()
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func open(t *testing.T, ns *os.File) *netif.Conn {
	t.Helper()
	c, err := netif.Open()
	if ns != nil {
		c, err = netif.OpenIn(ns)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Error(err)
		}
		if _, err := c.List(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	return c
}

// ipJSON asks ip(8), which is the oracle here, in a namespace.
func ipJSON(t *testing.T, ns *os.File, v any, args ...string) {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("no ip(8) to compare with: apt-get install iproute2")
	}
	cmd := exec.Command(path, append([]string{"-j", "-d"}, args...)...)
	if ns != nil {
		cmd = exec.Command("nsenter", append([]string{"--net=/proc/self/fd/3", path, "-j", "-d"}, args...)...)
		cmd.ExtraFiles = []*os.File{ns}
	}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

type ipLink struct {
	Name     string `json:"ifname"`
	Index    int    `json:"ifindex"`
	MTU      int    `json:"mtu"`
	Address  string `json:"address"`
	Alias    string `json:"ifalias"`
	Master   string `json:"master"`
	Flags    []string
	LinkInfo struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
	Addrs []struct {
		Local  string `json:"local"`
		Length int    `json:"prefixlen"`
	} `json:"addr_info"`
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// two namespaces joined by a pair, of which one end is a port of a bridge here.
func TestIntegrationPairOnABridge(t *testing.T) {
	needRoot(t)
	ns := namespace(t)
	here, err := os.Open("/proc/thread-self/ns/net") // self is the first thread, which a test may have taken along
	must(t, err)
	defer here.Close()
	host, inside := open(t, nil), open(t, ns)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	must(t,
		host.AddBridge(netif.Bridge{Name: "tbr0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400}),
		host.AddAddr("tbr0", netip.MustParsePrefix("10.77.0.1/24")),
		host.AddAddr("tbr0", netip.MustParsePrefix("10.77.0.1/24")), // again
		host.AddAddr("tbr0", netip.MustParsePrefix("fd77::1/64")),
		host.Set("tbr0", netif.Change{Up: netif.Yes}),
		inside.Loopback(),
		inside.AddVeth(netif.Veth{End: netif.End{Name: "eth0", MAC: mac, MTU: 1300}, Peer: netif.End{Name: "tport", Namespace: here}}),
		host.Set("tport", netif.Change{Master: "tbr0", Alias: "of a test", Up: netif.Yes}),
		inside.Set("eth0", netif.Change{Up: netif.Yes}),
		inside.AddAddr("eth0", netip.MustParsePrefix("10.77.0.2/24")),
		inside.AddAddr("eth0", netip.MustParsePrefix("fd77::2/64")),
		inside.AddRoute(netif.Route{Gateway: netip.MustParseAddr("10.77.0.1")}),
		inside.AddRoute(netif.Route{Gateway: netip.MustParseAddr("fd77::1")}),
		inside.AddRoute(netif.Route{Prefix: netip.MustParsePrefix("10.78.0.0/16"), Name: "eth0"}),
	)
	compare(t, host, nil)
	compare(t, inside, ns)
	compareRoutes(t, inside, ns)

	for _, addr := range []string{"10.77.0.1:0", "[fd77::1]:0"} {
		l, err := net.Listen("tcp", addr)
		must(t, err)
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}()
		dialIn(t, ns, l.Addr().String())
		l.Close()
	}

	must(t, host.Set("tport", netif.Change{Free: true, Up: netif.No}))
	if i, err := host.Lookup("tport"); err != nil || i.Master != 0 || i.Up {
		t.Errorf("freed port: %+v %v", i, err)
	}
	must(t, host.Delete("tport"), host.Delete("tbr0"))
	for _, c := range []*netif.Conn{host, inside} {
		for _, name := range []string{"tport", "tbr0", "eth0"} {
			if _, err := c.Lookup(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
	}
}

// dialIn connects from a namespace.
func dialIn(t *testing.T, ns *os.File, addr string) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Errorf("from the namespace: %v", err)
	}
}

// compare holds a list against what ip(8) says.
func compare(t *testing.T, c *netif.Conn, ns *os.File) {
	t.Helper()
	var want []ipLink
	ipJSON(t, ns, &want, "addr", "show")
	got, err := c.List()
	must(t, err)
	if len(got) != len(want) {
		t.Fatalf("%d interfaces, ip has %d", len(got), len(want))
	}
	names := map[int]string{}
	for _, g := range got {
		names[g.Index] = g.Name
	}
	for n, g := range got {
		w := want[n]
		if g.Name != w.Name || g.Index != w.Index || g.MTU != w.MTU || g.Kind != w.LinkInfo.Kind || g.Alias != w.Alias ||
			w.Address != "" && strings.Trim(w.Address, "0:.") != "" && g.MAC.String() != w.Address || g.Up != slices.Contains(w.Flags, "UP") || names[g.Master] != w.Master {
			t.Errorf("%+v, ip says %+v", g, w)
		}
		var addrs []string
		for _, a := range g.Addrs {
			addrs = append(addrs, a.String())
		}
		for _, a := range w.Addrs {
			p := netip.PrefixFrom(netip.MustParseAddr(a.Local), a.Length).String()
			i := slices.Index(addrs, p)
			if i < 0 {
				t.Errorf("%s lacks %s: %v", g.Name, p, addrs)
				continue
			}
			addrs = slices.Delete(addrs, i, i+1)
		}
		if len(addrs) > 0 {
			t.Errorf("%s: ip does not have %v", g.Name, addrs)
		}
	}
}

func compareRoutes(t *testing.T, c *netif.Conn, ns *os.File) {
	t.Helper()
	type ipRoute struct{ Dst, Gateway, Dev, Type string }
	var want []string
	for _, family := range []string{"-4", "-6"} {
		var list []ipRoute
		ipJSON(t, ns, &list, family, "route", "show", "table", "main")
		for _, r := range list {
			if r.Type == "unicast" || r.Type == "" {
				want = append(want, strings.Replace(strings.TrimSuffix(r.Dst+" "+r.Gateway, " "), "default", "0", 1)+" "+r.Dev)
			}
		}
	}
	routes, err := c.Routes()
	must(t, err)
	var got []string
	for _, r := range routes {
		s := r.Prefix.String()
		if r.Prefix.Bits() == 0 {
			s = "0"
		}
		if r.Gateway.IsValid() {
			s += " " + r.Gateway.String()
		}
		got = append(got, s+" "+r.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("routes:\n%s\nip says:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestIntegrationChanges(t *testing.T) {
	needRoot(t)
	ns := namespace(t)
	c, inside := open(t, nil), open(t, ns)
	must(t, c.AddVeth(netif.Veth{End: netif.End{Name: "ta"}, Peer: netif.End{Name: "tb"}}))
	must(t, c.Set("ta", netif.Change{Name: "tc", MTU: 1234, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7}}))
	if i, err := c.Lookup("tc"); err != nil || i.MTU != 1234 || i.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("renamed: %+v %v", i, err)
	}
	p := netip.MustParsePrefix("10.79.0.1/32")
	must(t, c.AddAddr("tc", p), c.DeleteAddr("tc", p))
	if err := c.DeleteAddr("tc", p); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("deleted twice: %v", err)
	}
	must(t, c.Set("tc", netif.Change{Namespace: ns}))
	if _, err := c.Lookup("tc"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved away: %v", err)
	}
	if _, err := inside.Lookup("tc"); err != nil {
		t.Errorf("moved in: %v", err)
	}
	must(t, inside.Delete("tc"))
	for name, err := range map[string]error{
		"bridge":  c.Set("lo", netif.Change{Master: "nobridge"}),
		"address": c.AddAddr("noif", p),
		"delete":  c.Delete("noif"),
		"set":     c.Set("noif", netif.Change{Up: netif.Yes}),
		"route":   c.AddRoute(netif.Route{Prefix: p, Name: "noif"}),
	} {
		var e *netif.Error
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) || !strings.Contains(err.Error(), "no such interface") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, c.AddBridge(netif.Bridge{Name: "tbr"}))
	defer c.Delete("tbr")
	if err := c.AddBridge(netif.Bridge{Name: "tbr"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if err := c.Set("lo", netif.Change{Master: "tbr"}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "set lo: ") {
		t.Errorf("lo as a port: %v", err)
	}
}

func TestIntegrationHairpin(t *testing.T) {
	needRoot(t)
	c, err := netif.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.AddBridge(netif.Bridge{Name: "hair0"}); err != nil {
		t.Fatal(err)
	}
	defer c.Delete("hair0")
	if err := c.AddVeth(netif.Veth{End: netif.End{Name: "hair1"}, Peer: netif.End{Name: "hair2"}}); err != nil {
		t.Fatal(err)
	}
	defer c.Delete("hair1")
	if err := c.Hairpin("hair1"); err == nil {
		t.Error("an interface that is no port of a bridge")
	}
	if err := errors.Join(c.Set("hair1", netif.Change{Master: "hair0"}), c.Hairpin("hair1"), c.Hairpin("hair1")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bridge", "-d", "link", "show", "dev", "hair1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hairpin on") {
		t.Errorf("bridge link: %s, %v", out, err)
	}
	if err := c.Hairpin("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no interface: %v", err)
	}
}
