package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc"
)

func TestMain(m *testing.M) {
	if Main() {
		return
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serving makes a proxy in this process.
func serving(t testing.TB, limit int, silence time.Duration) *server {
	s := newServer(limit, silence)
	t.Cleanup(func() {
		for key := range s.keys {
			must(t, s.Remove(context.Background(), key))
		}
	})
	return s
}

// bind makes a socket for a forward and says where it is.
func bind(t testing.TB, network, address string) (*os.File, string) {
	t.Helper()
	if strings.HasPrefix(network, "udp") {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Skipf("%s %s: %v", network, address, err)
		}
		defer c.Close()
		f, err := c.(*net.UDPConn).File()
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f, c.LocalAddr().String()
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("%s %s: %v", network, address, err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// container serves each connection with f.
func container(t testing.TB, f func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c.(*net.TCPConn))
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// echo serves UDP: it sends each datagram back.
func echo(t testing.TB) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { c.Close() })
	go func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask connects, says something, and returns the answer to its end, or how that
// failed: a reset may be seen at any of these.
func ask(address string) (string, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// eventually waits for something that takes its time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in 20 s", what)
		}
	}
}

func (s *server) now(t testing.TB) State {
	t.Helper()
	st, err := s.State(t.Context())
	must(t, err)
	return st
}

// TestHalfClose: the whole of a stream goes there, its end too, and the answer
// comes back after it.
func TestHalfClose(t *testing.T) {
	target := container(t, func(c *net.TCPConn) {
		defer c.Close()
		h := sha256.New()
		io.Copy(h, c)
		c.Write(h.Sum(nil))
	})
	s := serving(t, 10, time.Minute)
	f, address := bind(t, "tcp", "127.0.0.1:0")
	must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	c := dial(t, "tcp", address).(*net.TCPConn)
	_, err := c.Write(data)
	must(t, err)
	must(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	must(t, err)
	if want := sha256.Sum256(data); !bytes.Equal(got, want[:]) {
		t.Errorf("%x", got)
	}
	eventually(t, "the connection is forgotten", func() bool { return s.now(t).Open == 0 })
	if n := s.now(t).Served["web"]; n != 1 {
		t.Errorf("%d served", n)
	}
}

// TestReset: what breaks on one side is seen on the other as broken.
func TestReset(t *testing.T) {
	seen := make(chan error, 1)
	closed, unused := bind(t, "tcp", "127.0.0.1:0")
	closed.Close()
	targets := map[string]netip.AddrPort{
		"nobody listens": netip.MustParseAddrPort(unused),
		"the container resets": container(t, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 1))
			reset(c)
		}),
	}
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			s := serving(t, 10, time.Minute)
			f, address := bind(t, "tcp", "127.0.0.1:0")
			must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
			if _, err := ask(address); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
		})
	}
	t.Run("the caller resets", func(t *testing.T) {
		s := serving(t, 10, time.Minute)
		f, address := bind(t, "tcp", "127.0.0.1:0")
		target := container(t, func(c *net.TCPConn) {
			defer c.Close()
			_, err := io.ReadFull(c, make([]byte, 2))
			seen <- err
		})
		must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
		c := dial(t, "tcp", address).(*net.TCPConn)
		c.Write([]byte("x"))
		eventually(t, "the connection is there", func() bool { return s.now(t).Open == 1 })
		reset(c)
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestSources(t *testing.T) {
	target := container(t, func(c *net.TCPConn) { io.ReadFull(c, make([]byte, 1)); c.Write([]byte("hello")); c.Close() })
	for from, want := range map[string]string{"127.0.0.0/8": "hello", "10.0.0.0/8": ""} {
		s := serving(t, 10, time.Minute)
		f, address := bind(t, "tcp", "127.0.0.1:0")
		must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Sources: []netip.Prefix{netip.MustParsePrefix(from)}}}))
		if got, err := ask(address); got != want {
			t.Errorf("from %s: %q, %v", from, got, err)
		}
	}
}

// TestBound: who is too many waits, and is served when another has gone.
func TestBound(t *testing.T) {
	target := container(t, func(c *net.TCPConn) { c.Write([]byte("hello")); io.Copy(io.Discard, c); c.Close() })
	s := serving(t, 2, time.Minute)
	f, address := bind(t, "tcp", "127.0.0.1:0")
	must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
	hello := func(c net.Conn) error { _, err := io.ReadFull(c, make([]byte, 5)); return err }
	first, second, third := dial(t, "tcp", address), dial(t, "tcp", address), dial(t, "tcp", address)
	must(t, hello(first))
	must(t, hello(second))
	must(t, third.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if err := hello(third); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third: %v", err)
	}
	first.Close()
	must(t, third.SetReadDeadline(time.Now().Add(20*time.Second)))
	must(t, hello(third))
}

// TestRemove: nobody new is served; who is, stays.
func TestRemove(t *testing.T) {
	target := container(t, func(c *net.TCPConn) { io.Copy(c, c); c.Close() })
	s := serving(t, 10, time.Minute)
	f, address := bind(t, "tcp", "127.0.0.1:0")
	g, other := bind(t, "tcp", "127.0.0.1:0")
	must(t, s.Add(t.Context(), []Forward{
		{Listener: f, Protocol: "tcp", Target: target, Key: "web"}, {Listener: g, Protocol: "tcp", Target: target, Key: "other"},
	}))
	f.Close()
	c := dial(t, "tcp", address)
	say := func() error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	must(t, say())
	must(t, s.Remove(t.Context(), "web"))
	must(t, s.Remove(t.Context(), "web"))
	must(t, say())
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	dial(t, "tcp", other)
	if served := s.now(t).Served; len(served) != 1 {
		t.Errorf("served %v", served)
	}
}

// Whoever has the answer to an Abandon may bind the sockets again, and nothing is
// served any more.
func TestAbandon(t *testing.T) {
	s := serving(t, 10, time.Second)
	target := container(t, func(c *net.TCPConn) { c.Close() })
	tcp, tcpAt := bind(t, "tcp", "127.0.0.1:0")
	udp, udpAt := bind(t, "udp", "127.0.0.1:0")
	must(t, s.Add(t.Context(), []Forward{
		{Listener: tcp, Protocol: "tcp", Target: target, Key: "a"}, {Listener: udp, Protocol: "udp", Target: target, Key: "b"},
	}))
	must(t, errors.Join(tcp.Close(), udp.Close()))
	must(t, s.Abandon(t.Context()))
	l, err := net.Listen("tcp", tcpAt)
	must(t, err)
	must(t, l.Close())
	c, err := net.ListenPacket("udp", udpAt)
	must(t, err)
	must(t, c.Close())
	late, _ := bind(t, "tcp", "127.0.0.1:0")
	if err := s.Add(t.Context(), []Forward{{Listener: late, Protocol: "tcp", Target: target, Key: "c"}}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("add to one that ends: %v", err)
	}
}

// TestAddAll: one that cannot be served lets none be.
func TestAddAll(t *testing.T) {
	target := container(t, func(c *net.TCPConn) { c.Close() })
	s := serving(t, 10, time.Minute)
	f, address := bind(t, "tcp", "127.0.0.1:0")
	udp, _ := bind(t, "udp", "127.0.0.1:0")
	for name, bad := range map[string]Forward{
		"protocol":  {Listener: f, Protocol: "sctp", Target: target},
		"no socket": {Protocol: "tcp", Target: target},
		"no target": {Listener: f, Protocol: "tcp"},
		"udp":       {Listener: udp, Protocol: "tcp", Target: target},
		"tcp":       {Listener: f, Protocol: "udp", Target: target},
	} {
		if err := s.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}, bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	f.Close()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("the good one listens")
	}
}

// TestUDP: callers have sessions of their own, and hear from the address that they
// called: their sockets are connected to it.
func TestUDP(t *testing.T) {
	tests := map[string]struct{ network, bind, call string }{
		"v4":                  {"udp4", "127.0.0.1:0", "127.0.0.1"},
		"v4, any":             {"udp4", "0.0.0.0:0", "127.0.0.1"},
		"v4, any, the second": {"udp4", "0.0.0.0:0", second},
		"v6":                  {"udp6", "[::1]:0", "::1"},
		"v6, any":             {"udp6", "[::]:0", "::1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.call == "" {
				t.Skip("lo0 has one address on this system")
			}
			s := serving(t, 10, time.Minute)
			f, address := bind(t, tt.network, tt.bind)
			must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "udp", Target: echo(t), Key: "dns"}}))
			_, port, err := net.SplitHostPort(address)
			must(t, err)
			a, b := dial(t, tt.network, net.JoinHostPort(tt.call, port)), dial(t, tt.network, net.JoinHostPort(tt.call, port))
			for i := range 3 {
				for name, c := range map[string]net.Conn{"a": a, "b": b} {
					text := fmt.Sprint(name, i)
					_, err := c.Write([]byte(text))
					must(t, err)
					buf := make([]byte, 100)
					n, err := c.Read(buf)
					if err != nil || string(buf[:n]) != text {
						t.Fatalf("%s: %q, %v", text, buf[:n], err)
					}
				}
			}
			if st := s.now(t); st.Open != 2 || st.Served["dns"] != 2 {
				t.Errorf("%+v", st)
			}
			must(t, s.Remove(t.Context(), "dns"))
			eventually(t, "the sessions end with their port", func() bool { return s.now(t).Open == 0 })
		})
	}
}

// TestUDPBounds: a silent session ends; when there are too many, what comes from
// others is lost.
func TestUDPBounds(t *testing.T) {
	s := serving(t, 1, 100*time.Millisecond)
	f, address := bind(t, "udp", "127.0.0.1:0")
	must(t, s.Add(t.Context(), []Forward{{Listener: f, Protocol: "udp", Target: echo(t), Key: "dns"}}))
	a, b := dial(t, "udp", address), dial(t, "udp", address)
	long := bytes.Repeat([]byte("x"), 8000)
	ask := func(c net.Conn) bool {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		c.Write(long)
		n, err := c.Read(make([]byte, 10000))
		return err == nil && n == len(long)
	}
	eventually(t, "the first is served", func() bool { return ask(a) })
	eventually(t, "the second, once the first was silent", func() bool { return ask(b) })
	eventually(t, "all end", func() bool { return s.now(t).Open == 0 })
	if n := s.now(t).Served["dns"]; n < 2 {
		t.Errorf("%d sessions", n)
	}
}

// TestProcess is a proxy as the daemon starts it.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	lf, err := l.File()
	must(t, err)
	cmd := exec.Command(os.Args[0], Arg, "c123")
	cmd.ExtraFiles = []*os.File{lf}
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	lf.Close()
	c, err := ipc.Open(t.Context(), path)
	must(t, err)
	defer c.Close()
	p := ProxyClient{C: c}
	f, address := bind(t, "tcp", "127.0.0.1:0")
	target := container(t, func(c *net.TCPConn) { io.WriteString(c, "hello"); c.Close() })
	must(t, p.Add(t.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
	f.Close()
	got, err := io.ReadAll(dial(t, "tcp", address))
	if string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	st, err := p.State(t.Context())
	must(t, err)
	if st.PID != cmd.Process.Pid || st.Served["web"] != 1 {
		t.Errorf("state %+v", st)
	}
	if os.Geteuid() == 0 {
		out, err := exec.Command("ps", "-o", "uid=", "-p", fmt.Sprint(st.PID)).Output()
		if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(nobody) {
			t.Errorf("runs as %q, %v", out, err)
		}
	}
	must(t, p.Abandon(t.Context()))
	if err := cmd.Wait(); err != nil {
		t.Errorf("ends with %v", err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

func BenchmarkRelay(b *testing.B) {
	target := container(b, func(c *net.TCPConn) { io.Copy(io.Discard, c); c.Close() })
	s := serving(b, 10, time.Minute)
	f, address := bind(b, "tcp", "127.0.0.1:0")
	must(b, s.Add(b.Context(), []Forward{{Listener: f, Protocol: "tcp", Target: target, Key: "web"}}))
	c := dial(b, "tcp", address)
	buf := make([]byte, 1<<18)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}
