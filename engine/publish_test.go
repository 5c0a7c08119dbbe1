package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/testns"
)

// here is our own network stack.
var here = &testns.Stack{}

// outside is the world outside: 10.79.0.2 and fd79::2, to which we are 10.79.0.1 and
// fd79::1. We forward packets.
func outside(t *testing.T) *testns.Stack {
	t.Helper()
	withFilter(t)
	s := testns.NewStack(t, "out0")
	for _, net := range []string{"10.79.0.%d/24", "fd79::%d/64"} {
		here.Addr(t, "out0", fmt.Sprintf(net, 1))
		s.Addr(t, "eth0", fmt.Sprintf(net, 2))
	}
	return s
}

// publisher is a container that publishes ports and serves 80 to 82 and 53.
func publisher(t *testing.T, e *engine.Engine, name string, change func(*api.ContainerSpec)) api.Container {
	t.Helper()
	spec := api.ContainerSpec{Name: name, Image: "root", Command: []string{"sleep", "1000"}, Networks: []api.Attachment{{Network: "web"}}}
	change(&spec)
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
	in := testns.StackOf(t, c.Pid)
	for _, port := range []string{"80", "81", "82", "53"} {
		in.Serve(t, "tcp", ":"+port, name+" "+port)
		in.Serve(t, "udp", ":"+port, name+" "+port)
	}
	return c
}

func words(ports []api.Port) string {
	var w []string
	for _, p := range ports {
		w = append(w, p.String())
	}
	return strings.Join(w, " ")
}

// calls checks who is reached.
func calls(t *testing.T, from *testns.Stack, want map[string]string) {
	t.Helper()
	for at, said := range want {
		network, address, _ := strings.Cut(at, " ")
		if got := from.Call(t, network, address); got != said {
			t.Errorf("%s: %q, want %q", at, got, said)
		}
	}
}

// Published ports are reached from outside, by what the kernel redirects, and from
// the host itself, by the proxy; also after another engine has taken over. Nothing
// is left of them.
func TestIntegrationPublish(t *testing.T) {
	needRoot(t)
	world := outside(t)
	foreignRules(t)
	before := ruleset(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	n := createNetwork(t, e, twoFamilies("web", "1"))
	gw := n.Subnets[0].Gateway.String()
	c := publisher(t, e, "web", func(s *api.ContainerSpec) {
		s.Publish = []api.Port{
			{HostPort: 8080, Port: 80}, {HostPort: 5353, Port: 53, Protocol: "udp"}, {HostPort: 8000, Port: 80, End: 82},
			{Host: addr("127.0.0.1"), HostPort: 7000, Port: 81}, {Host: addr("10.79.0.1"), HostPort: 7001, Port: 81}, {Port: 82},
			{HostPort: 7002, Port: 80, Sources: []netip.Prefix{prefix("10.79.0.3/32"), prefix("127.0.0.0/8")}},
			{HostPort: 7003, Port: 80, Interface: "out0"},
		}
	})
	chosen := c.Ports[5].HostPort
	if len(c.Ports) != 8 || chosen == 0 {
		t.Fatalf("ports %s", words(c.Ports))
	}
	any := fmt.Sprint(chosen)
	fromOutside := map[string]string{
		"tcp 10.79.0.1:8080": "web 80 10.79.0.2", "tcp [fd79::1]:8080": "web 80 fd79::2",
		"udp 10.79.0.1:5353": "web 53 10.79.0.2", "udp [fd79::1]:5353": "web 53 fd79::2",
		"tcp 10.79.0.1:8000": "web 80 10.79.0.2", "tcp 10.79.0.1:8002": "web 82 10.79.0.2", "tcp [fd79::1]:8001": "web 81 fd79::2",
		"tcp 10.79.0.1:8003": "", "tcp 10.79.0.1:7000": "", "tcp 10.79.0.1:7001": "web 81 10.79.0.2", "tcp [fd79::1]:7001": "",
		"tcp 10.79.0.1:" + any: "web 82 10.79.0.2", "tcp 10.79.0.1:7002": "", "tcp 10.79.0.1:7003": "web 80 10.79.0.2",
	}
	fromHere := map[string]string{
		"tcp 127.0.0.1:8080": "web 80 " + gw, "tcp [::1]:8080": "web 80 fd70:1::1", "tcp 10.79.0.1:8080": "web 80 " + gw,
		"udp 127.0.0.1:5353": "web 53 " + gw, "udp [::1]:5353": "web 53 fd70:1::1", "udp 10.79.0.1:5353": "web 53 " + gw,
		"tcp 127.0.0.1:8002": "web 82 " + gw, "tcp 127.0.0.1:7000": "web 81 " + gw, "tcp 127.0.0.1:7001": "", "tcp 10.79.0.1:7001": "web 81 " + gw,
		"tcp 127.0.0.1:" + any: "web 82 " + gw, "tcp 127.0.0.1:7002": "web 80 " + gw, "tcp 10.79.0.1:7002": "", "tcp 127.0.0.1:7003": "",
	}
	calls(t, world, fromOutside)
	calls(t, here, fromHere)
	inside := testns.StackOf(t, c.Pid) // itself, and a neighbour, by addresses of the host
	neighbour := testns.StackOf(t, sleeper(t, e, "neighbour", api.Attachment{Network: "web"}).Pid)
	for _, from := range []*testns.Stack{inside, neighbour} {
		calls(t, from, map[string]string{"tcp " + gw + ":8080": "web 80 " + gw, "tcp 10.79.0.1:8080": "web 80 " + gw, "tcp [fd79::1]:8080": "web 80 fd70:1::1"})
	}
	redirected, local := uint64(2), uint64(3) // calls of 8080 from outside, and from here
	if hairpin {
		redirected += 6
	} else {
		local += 6
	}
	counts, err := e.PublishedPorts(t.Context(), "web")
	if err != nil || len(counts) != 8 || counts[0].Redirected != redirected || counts[0].Local != local || counts[2].Redirected != 3 || counts[3].Redirected != 0 || counts[3].Local != 1 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	calls(t, world, map[string]string{"tcp 10.79.0.1:8080": "web 80 10.79.0.2"}) // without an engine
	calls(t, here, map[string]string{"tcp 127.0.0.1:8080": "web 80 " + gw})
	// What somebody has flushed and killed meanwhile is there again.
	flushRules(t)
	killProxy(t, c.ID)
	calls(t, here, map[string]string{"tcp 127.0.0.1:8080": ""})
	e = openEngine(t, dir, nil)
	calls(t, world, fromOutside)
	calls(t, here, fromHere)
	if again, err := e.InspectContainer(t.Context(), "web"); err != nil || words(again.Ports) != words(c.Ports) {
		t.Errorf("ports after a restart: %s, %v", words(again.Ports), err)
	}
	now := 0
	for _, name := range []string{"web", "neighbour"} {
		if err := e.StopContainer(t.Context(), name, api.StopOptions{Timeout: &now}); err != nil {
			t.Error(err)
		}
	}
	calls(t, world, map[string]string{"tcp 10.79.0.1:8080": ""})
	calls(t, here, map[string]string{"tcp 127.0.0.1:8080": ""})
	if after := ruleset(t); after != before {
		t.Errorf("ruleset before:\n%s\nafter:\n%s", before, after)
	}
	removeNetworks(t, e)
	closeClean(t, e)
}

// killProxy kills the proxy of a container.
func killProxy(t *testing.T, id string) {
	t.Helper()
	list := strings.Fields(proxies(t, id))
	if len(list) != 1 {
		t.Fatalf("proxies: %q", list)
	}
	pid, err := strconv.Atoi(list[0])
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	for strings.Contains(proxies(t, id), list[0]) { // its sockets go with it
		time.Sleep(time.Millisecond)
	}
}

// Ports that are taken are found out before anything starts, and who has them.
func TestIntegrationPortConflicts(t *testing.T) {
	e := testEngine(t)
	outside(t)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	l, err := net.Listen("tcp4", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	publisher(t, e, "first", func(s *api.ContainerSpec) { s.Publish = []api.Port{{HostPort: 8080, Port: 80}} })
	start := func(change func(*api.ContainerSpec)) error {
		spec := api.ContainerSpec{Name: "next", Image: "root", Command: []string{"sleep", "1000"}, Networks: []api.Attachment{{Network: "web"}}}
		change(&spec)
		c, err := e.CreateContainer(t.Context(), spec)
		if err == nil {
			err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
			if rerr := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); rerr != nil {
				t.Error(rerr)
			}
		}
		return err
	}
	publish := func(p ...api.Port) func(*api.ContainerSpec) {
		return func(s *api.ContainerSpec) { s.Publish = p }
	}
	for says, change := range map[string]func(*api.ContainerSpec){
		"container first has port 8080/tcp of the host":          publish(api.Port{HostPort: 8080, Port: 80}),
		"container first has port 8080/tcp":                      publish(api.Port{Host: addr("127.0.0.1"), HostPort: 8070, Port: 80, End: 99}),
		"another program of this host has 0.0.0.0:7777/tcp":      publish(api.Port{HostPort: 7777, Port: 80}),
		"this host does not have the address 192.0.2.9":          publish(api.Port{Host: addr("192.0.2.9"), HostPort: 80, Port: 80}),
		"8070-8071:80-81/tcp and 127.0.0.1:8071:80/tcp: invalid": publish(api.Port{HostPort: 8070, Port: 80, End: 81}, api.Port{Host: addr("127.0.0.1"), HostPort: 8071, Port: 80}),
		"the host's network":                                     func(s *api.ContainerSpec) { s.Publish = []api.Port{{Port: 80}}; s.Networks[0].Network = "host" },
		"on no network":                                          func(s *api.ContainerSpec) { s.Publish = []api.Port{{Port: 80}}; s.Networks[0].Network = "none" },
	} {
		if err := start(change); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	if err := start(publish(api.Port{HostPort: 8080, Port: 80})); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a port of another container: %v", err)
	}
	if err := start(publish(api.Port{HostPort: 7777, Port: 80})); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port of another program: %v", err)
	}
	publisher(t, e, "second", publish(api.Port{HostPort: 7778, Port: 80}))
	if err := start(publish(api.Port{HostPort: 7777, HostEnd: 7778, Port: 80})); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "none is free") {
		t.Errorf("a range without a free port: %v", err)
	}
	before := ruleset(t)
	for _, change := range []func(*api.ContainerSpec){
		publish(api.Port{HostPort: 7777, HostEnd: 7779, Port: 80}), // one of them is free
		publish(api.Port{HostPort: 8080, Port: 80, Protocol: "udp"}),
		func(s *api.ContainerSpec) { s.Publish = []api.Port{{HostPort: 8081, Port: 80}}; s.NoLocalProxy = true },
	} {
		if err := start(change); err != nil {
			t.Error(err)
		}
	}
	if after := ruleset(t); after != before {
		t.Errorf("ruleset before:\n%s\nafter:\n%s", before, after)
	}
	// Whoever has ended gives its ports to the next, who waits for them.
	for range 5 {
		spec := api.ContainerSpec{
			Image: "root", Command: []string{"true"}, AutoRemove: true, Networks: []api.Attachment{{Network: "web"}},
			Publish: []api.Port{{HostPort: 8088, Port: 80}},
		}
		if _, err := e.RunContainer(t.Context(), spec, api.StartOptions{}, func(api.RunProgress) error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

// Ports are published and unpublished while a container runs.
func TestIntegrationRedirect(t *testing.T) {
	e := testEngine(t)
	world := outside(t)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	before := ruleset(t)
	publisher(t, e, "web", func(*api.ContainerSpec) {})
	ctx := t.Context()
	added, err := e.PublishPorts(ctx, "web", []api.Port{{HostPort: 8080, Port: 80}, {Port: 53, Protocol: "udp"}})
	if err != nil || len(added) != 2 || added[1].HostPort == 0 {
		t.Fatalf("added %s, %v", words(added), err)
	}
	udp := fmt.Sprint("udp 10.79.0.1:", added[1].HostPort)
	calls(t, world, map[string]string{"tcp 10.79.0.1:8080": "web 80 10.79.0.2", udp: "web 53 10.79.0.2"})
	calls(t, here, map[string]string{"tcp 127.0.0.1:8080": "web 80 10.70.1.1", udp: "web 53 10.70.1.1"})
	if _, err := e.PublishPorts(ctx, "web", []api.Port{{HostPort: 9000, Port: 80}, {HostPort: 8080, Port: 81}}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a port twice: %v", err)
	}
	calls(t, world, map[string]string{"tcp 10.79.0.1:9000": "", "tcp 10.79.0.1:8080": "web 80 10.79.0.2"})
	calls(t, here, map[string]string{"tcp 127.0.0.1:9000": ""})
	nowhere := []api.Port{{HostPort: 9000, Port: 80, Interface: "nosuch0"}}
	_, err = e.PublishPorts(ctx, "web", nowhere)
	_, cerr := e.CreateContainer(ctx, api.ContainerSpec{Image: "root", Networks: []api.Attachment{{Network: "web"}}, Publish: nowhere})
	for _, err := range []error{err, cerr} {
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "this host has no interface nosuch0") {
			t.Errorf("at an interface that is not there: %v", err)
		}
	}
	if _, err := e.PublishPorts(ctx, "web", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no port: %v", err)
	}
	if _, err := e.PublishPorts(ctx, "web", []api.Port{{HostPort: 9000, Port: 81}}); err != nil {
		t.Error(err)
	}
	if err := e.UnpublishPorts(ctx, "web", []api.Port{{HostPort: 8080}}); err != nil {
		t.Error(err)
	}
	if err := e.UnpublishPorts(ctx, "web", []api.Port{{HostPort: 8080}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unpublished twice: %v", err)
	}
	calls(t, world, map[string]string{"tcp 10.79.0.1:8080": "", "tcp 10.79.0.1:9000": "web 81 10.79.0.2"})
	calls(t, here, map[string]string{"tcp 127.0.0.1:8080": "", "tcp 127.0.0.1:9000": "web 81 10.70.1.1"})
	counts, err := e.PublishedPorts(ctx, "web")
	if err != nil || len(counts) != 2 || counts[0].Redirected != 1 || counts[1].Redirected != 1 || counts[1].Local != 1 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if c, err := e.InspectContainer(ctx, "web"); err != nil || len(c.Ports) != 2 || c.Ports[1].String() != "9000:81/tcp" {
		t.Errorf("inspect: %s, %v", words(c.Ports), err)
	}
	now := 0
	if err := e.StopContainer(ctx, "web", api.StopOptions{Timeout: &now}); err != nil {
		t.Error(err)
	}
	if after := ruleset(t); after != before {
		t.Errorf("ruleset before:\n%s\nafter:\n%s", before, after)
	}
	if _, err := e.PublishPorts(ctx, "web", []api.Port{{Port: 80}}); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("a container that does not run: %v", err)
	}
}

// Without forwarding the proxy serves what comes from outside as well.
func TestIntegrationPublishWithoutForwarding(t *testing.T) {
	e := testEngine(t)
	world := outside(t)
	stopForwarding(t)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	publisher(t, e, "web", func(s *api.ContainerSpec) { s.Publish = []api.Port{{HostPort: 8080, Port: 80}} })
	calls(t, world, map[string]string{"tcp 10.79.0.1:8080": "web 80 10.70.1.1", "tcp [fd79::1]:8080": "web 80 fd79::2"})
	spec := api.ContainerSpec{
		Image: "root", Command: []string{"true"}, NoLocalProxy: true, Networks: []api.Attachment{{Network: "web"}},
		Publish: []api.Port{{Host: addr("10.79.0.1"), HostPort: 8081, Port: 80}},
	}
	c, err := e.CreateContainer(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err == nil || !strings.Contains(err.Error(), forwardOn) {
		t.Errorf("without a proxy: %v", err)
	}
}
