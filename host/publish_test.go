package host

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/proxy"
)

func TestBind(t *testing.T) {
	any := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	for _, protocol := range []string{"tcp", "udp"} {
		f, port, err := Bind(protocol, any)
		if err != nil || port == 0 {
			t.Fatalf("%s: port %d, %v", protocol, port, err)
		}
		defer f.Close()
		if _, _, err := Bind(protocol, netip.AddrPortFrom(netip.IPv4Unspecified(), port)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s port %d twice: %v", protocol, port, err)
		}
		g, same, err := Bind(protocol, netip.AddrPortFrom(netip.IPv6Unspecified(), port))
		if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		if err != nil || same != port {
			t.Errorf("%s port %d of v6: %v", protocol, port, err)
			continue
		}
		g.Close()
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, protocol := range []string{"tcp", "udp"} {
		for _, pair := range [][2]netip.Addr{{netip.IPv4Unspecified(), loopback}, {loopback, netip.IPv4Unspecified()}} {
			f, port, err := Bind(protocol, netip.AddrPortFrom(pair[0], 0))
			if err != nil {
				t.Fatal(err)
			}
			if g, _, err := Bind(protocol, netip.AddrPortFrom(pair[1], port)); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s port %d of %s beside that of %s: %v, %v", protocol, port, pair[1], pair[0], g, err)
			}
			f.Close()
		}
	}
	if _, _, err := Bind("sctp", any); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("sctp: %v", err)
	}
}

// TestIntegrationProxy: the proxy of a site is started, given more, and ended by
// its undo, whatever has become of it.
func TestIntegrationProxy(t *testing.T) {
	needRoot(t)
	h := openHost(t, testConfig(t))
	id := randomID()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	target := l.Addr().(*net.TCPAddr).AddrPort()
	listen := func(key string) (proxy.Forward, string) {
		f, port, err := Bind("tcp", netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		return proxy.Forward{Listener: f, Protocol: "tcp", Target: target, Key: key}, netip.AddrPortFrom(target.Addr(), port).String()
	}
	hear := func(address string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		return string(b)
	}
	undo := func() {
		t.Helper()
		for _, u := range h.PublishUndos(id) {
			if err := h.Table()[u.Kind](t.Context(), u); err != nil {
				t.Errorf("undo %s: %v", u.Kind, err)
			}
		}
	}
	undo() // of nothing
	a, atA := listen("a")
	steps := h.publishSteps(Spec{ID: id, Forwards: []proxy.Forward{a}})
	if len(steps) != 1 || steps[0].Undo.Kind != kindProxy {
		t.Fatalf("steps %+v", steps)
	}
	if err := steps[0].Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Listener.Close()
	b, atB := listen("b")
	if err := h.Republish(t.Context(), id, nil, []proxy.Forward{b}); err != nil {
		t.Fatal(err)
	}
	b.Listener.Close()
	for _, at := range []string{atA, atB} {
		if got := hear(at); got != "hello" {
			t.Errorf("%s: %s", at, got)
		}
	}
	served, err := h.Served(t.Context(), id)
	if err != nil || served["a"] != 1 || served["b"] != 1 {
		t.Errorf("served %v, %v", served, err)
	}
	if left, err := h.Leftovers(nil); err != nil || len(left) == 0 {
		t.Errorf("leftovers %v, %v", left, err)
	}
	if err := h.Republish(t.Context(), id, nil, nil, "a"); err != nil {
		t.Fatal(err)
	}
	if got := hear(atA); got == "hello" {
		t.Error("a is still served")
	}
	undo()
	undo()
	if got := hear(atB); got == "hello" {
		t.Error("b is still served")
	}
	if left, err := h.Leftovers(nil); err != nil || len(left) != 0 {
		t.Errorf("leftovers %v, %v", left, err)
	}
	// Killed, it leaves a socket that nobody serves.
	if err := h.startProxy(id); err != nil {
		t.Fatal(err)
	}
	kill(t, h, id)
	c, atC := listen("c")
	if err := h.Republish(t.Context(), id, nil, []proxy.Forward{c}); err != nil {
		t.Fatal(err)
	}
	c.Listener.Close()
	if got := hear(atC); got != "hello" {
		t.Errorf("after it was killed: %s", got)
	}
	kill(t, h, id)
	undo()
	if _, err := os.Lstat(h.proxyPath(id)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its socket: %v", err)
	}
}

// kill kills the proxy of a site.
func kill(t *testing.T, h *Host, id string) {
	t.Helper()
	err := h.withProxy(t.Context(), id, func(p proxy.ProxyClient) error {
		st, err := p.State(t.Context())
		if err == nil {
			err = syscall.Kill(st.PID, syscall.SIGKILL)
		}
		<-p.C.Done()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPublishUndoChecks: an undo checks that what it destroys is ours.
func TestPublishUndoChecks(t *testing.T) {
	h := &Host{}
	for kind, bad := range map[string]thing{kindPublish: {Name: "../x"}, kindProxy: {Path: "/run/other.proxy"}} {
		u := step(kind, bad, nil).Undo
		if err := (site.Table{kindPublish: undo(h.removePublish), kindProxy: undo(h.removeProxy)})[kind](t.Context(), u); err == nil {
			t.Errorf("%s of %+v: no error", kind, bad)
		}
	}
}

// A port that has served, and closed connections, can be had again at once.
func TestBindAgain(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "0.0.0.0"} {
		addr := netip.MustParseAddr(text)
		f, port, err := Bind("tcp", netip.AddrPortFrom(addr, 0))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.Close() // first, so that it is this side that waits
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		c.Close()
		l.Close()
		f.Close()
		g, _, err := Bind("tcp", netip.AddrPortFrom(addr, port))
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		g.Close()
	}
}
