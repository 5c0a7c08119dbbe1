package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/proxy"
)

// A published port has two ways in. What comes from outside is redirected by the
// kernel (Spec.Publish). What this host sends to itself no redirection sees, so a
// process of the site's listens for it and passes it on (Spec.Forwards, package
// site/proxy). Its sockets are bound before anything of the run is made, by
// [Bind]: that is also how a port that is in use is found out.

// Kinds of undos of published ports.
const (
	kindPublish = "publish" // name: a site, with its redirections
	kindProxy   = "proxy"   // path: the socket of a site's proxy
)

// ErrNotForwarding is that this host does not pass on what it is sent, so that no
// redirection leads anywhere. A proxy does.
var ErrNotForwarding = errors.New("the host does not forward packets")

// Bind binds a port of an address of this host and, for TCP, listens. An address
// that is unspecified is all of its family. Port 0 lets the kernel choose. The
// error matches EADDRINUSE when somebody else has the port.
func Bind(protocol string, at netip.AddrPort) (*os.File, uint16, error) {
	network := protocol + "4" // with tcp6 a socket is of v6 only
	if at.Addr().Is6() {
		network = protocol + "6"
	}
	type socket interface {
		File() (*os.File, error)
		Close() error
	}
	var s socket
	var addr net.Addr
	switch protocol {
	case "tcp":
		l, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
		if err != nil {
			return nil, 0, err
		}
		if err := listened(at); err != nil {
			return nil, 0, errors.Join(err, l.Close())
		}
		s, addr = l, l.Addr()
	case "udp":
		c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
		if err != nil {
			return nil, 0, err
		}
		s, addr = c, c.LocalAddr()
	default:
		return nil, 0, fmt.Errorf("bind a port of %s: %w", protocol, errors.ErrUnsupported)
	}
	f, err := s.File()
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, 0, err
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return f, uint16(n), err
}

// publishSteps are those for the published ports of a container.
func (h *Host) publishSteps(s Spec) []site.Step {
	var steps []site.Step
	if len(s.Publish) > 0 {
		steps = append(steps, step(kindPublish, thing{Name: s.ID}, func(context.Context) error { return h.redirect(s.ID, s.Publish) }))
	}
	if len(s.Forwards) > 0 {
		steps = append(steps, step(kindProxy, thing{Path: h.proxyPath(s.ID)}, func(ctx context.Context) error {
			return h.forward(ctx, s.ID, s.Forwards)
		}))
	}
	return steps
}

// PublishUndos are the undos of what Republish makes: they are journaled before.
func (h *Host) PublishUndos(id string) []site.Undo {
	return []site.Undo{step(kindPublish, thing{Name: id}, nil).Undo, step(kindProxy, thing{Path: h.proxyPath(id)}, nil).Undo}
}

// Republish gives a running container these redirections in place of those it
// has, and its proxy more sockets; those with one of the keys in gone it closes.
func (h *Host) Republish(ctx context.Context, id string, publish []Publish, more []proxy.Forward, gone ...string) error {
	if err := h.redirect(id, publish); err != nil {
		return err
	}
	if len(publish) > 0 {
		if err := h.reflect(id); err != nil {
			return err
		}
	}
	for _, key := range gone {
		err := h.withProxy(ctx, id, func(p proxy.ProxyClient) error { return p.Remove(ctx, key) })
		if err != nil && !noProxy(err) {
			return err
		}
	}
	return h.forward(ctx, id, more)
}

// Served tells what the proxy of a container has served, by key; nothing where
// there is none.
func (h *Host) Served(ctx context.Context, id string) (map[string]uint64, error) {
	var st proxy.State
	err := h.withProxy(ctx, id, func(p proxy.ProxyClient) (err error) {
		st, err = p.State(ctx)
		return err
	})
	if noProxy(err) {
		return nil, nil
	}
	return st.Served, err
}

func (h *Host) proxyPath(id string) string { return filepath.Join(h.cfg.RunDir, id+proxySuffix) }

const proxySuffix = ".proxy"

// noProxy tells that nobody serves a proxy's socket, if there is one.
func noProxy(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func (h *Host) withProxy(ctx context.Context, id string, f func(proxy.ProxyClient) error) error {
	c, err := ipc.Open(ctx, h.proxyPath(id))
	if err != nil {
		return err
	}
	defer c.Close()
	return f(proxy.ProxyClient{C: c})
}

// forward gives sockets to the proxy of a site, which is started if there is none.
func (h *Host) forward(ctx context.Context, id string, forwards []proxy.Forward) error {
	if len(forwards) == 0 {
		return nil
	}
	add := func(p proxy.ProxyClient) error {
		for rest := forwards; len(rest) > 0; {
			n := min(len(rest), proxy.MaxForwards)
			if err := p.Add(ctx, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
	err := h.withProxy(ctx, id, add)
	if noProxy(err) {
		if err = h.startProxy(id); err == nil {
			err = h.withProxy(ctx, id, add)
		}
	}
	if err != nil {
		return fmt.Errorf("proxy of published ports: %w", err)
	}
	return nil
}

// startProxy starts the process. It serves before it has anything to serve, and
// ends when its undo says so.
func (h *Host) startProxy(id string) error {
	path := h.proxyPath(id)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of one that was killed
	}
	listener, err := listen(path)
	if err != nil {
		return err
	}
	defer listener.Close()
	cmd := exec.Cmd{
		Path: h.program, Args: []string{proxyName, proxy.Arg, id}, Dir: "/", Env: []string{},
		ExtraFiles:  []*os.File{listener},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // reaps it; whoever talks to it sees its end
	return nil
}

const proxyName = "xc-proxy"

// removeProxy ends the proxy of a site.
func (h *Host) removeProxy(ctx context.Context, t thing) error {
	if err := ourSocket(t.Path, proxySuffix); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	c, err := ipc.Open(ctx, t.Path)
	if err == nil {
		defer c.Close()
		err = (proxy.ProxyClient{C: c}).Abandon(ctx)
		select {
		case <-c.Done():
			err = nil
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("proxy %s does not end: %w", t.Path, ctx.Err()), err)
		}
	}
	if err != nil && !noProxy(err) {
		return fmt.Errorf("dial proxy %s: %w", t.Path, err)
	}
	if err := os.Remove(t.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removePublish removes the redirections of a site.
func (h *Host) removePublish(_ context.Context, t thing) error {
	if !idRule.MatchString(t.Name) {
		return fmt.Errorf("remove redirections of %s: no id of ours: %w", t.Name, fs.ErrInvalid)
	}
	return h.redirect(t.Name, nil)
}

// String names what is published, as in "tcp 127.0.0.1:8000-8009 > 10.0.0.2:80".
func (p Publish) String() string {
	host := "*"
	if p.Addr.IsValid() {
		host = p.Addr.String()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s", p.Protocol, net.JoinHostPort(host, strconv.Itoa(int(p.First))))
	if p.Last != p.First {
		fmt.Fprintf(&s, "-%d", p.Last)
	}
	fmt.Fprintf(&s, " > %s", netip.AddrPortFrom(p.Target, p.TargetFirst))
	return s.String()
}
