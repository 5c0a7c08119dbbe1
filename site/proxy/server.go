package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a proxy.
const (
	maxOpen     = 4096             // connections and sessions, fewer where descriptors are scarce
	filesEach   = 6                // descriptors of a connection: two sockets, two pipes to splice through
	filesOwn    = 64               // kept for everything else
	dialTime    = 10 * time.Second // until the container answers
	sessionTime = 90 * time.Second // of silence, after which a session of UDP ends
)

// server is a Proxy.
type server struct {
	silence time.Duration // sessionTime
	open    chan struct{} // holds one for each connection and session
	closed  chan struct{} // by Abandon
	once    sync.Once

	mu     sync.Mutex
	ended  bool
	served map[string]uint64
	keys   map[string][]*port
}

// port is a socket that is served.
type port struct {
	*server
	Forward
	tcp *net.TCPListener
	udp *net.UDPConn
}

func newServer(limit int, silence time.Duration) *server {
	return &server{silence: silence, open: make(chan struct{}, limit), closed: make(chan struct{}), served: map[string]uint64{}, keys: map[string][]*port{}}
}

// limit is how many connections the descriptors of this process suffice for.
func limit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil || r.Cur > maxOpen*filesEach+filesOwn {
		return maxOpen
	}
	return max(1, (int(r.Cur)-filesOwn)/filesEach)
}

// Add takes the sockets of forwards. What it is lent is duplicated.
func (s *server) Add(_ context.Context, forwards []Forward) (err error) {
	var ports []*port
	defer func() {
		if err != nil {
			for _, p := range ports {
				p.close()
			}
		}
	}()
	for _, f := range forwards {
		p, err := s.port(f)
		if err != nil {
			return fmt.Errorf("serve %s for %s: %w", f.Protocol, f.Target, err)
		}
		ports = append(ports, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return fmt.Errorf("the proxy ends: %w", fs.ErrClosed)
	}
	for _, p := range ports {
		s.keys[p.Key] = append(s.keys[p.Key], p)
		if _, ok := s.served[p.Key]; !ok {
			s.served[p.Key] = 0
		}
		if p.tcp != nil {
			go p.accept()
		} else {
			go p.receive()
		}
	}
	return nil
}

func (s *server) port(f Forward) (*port, error) {
	if f.Listener == nil || !f.Target.IsValid() || f.Target.Port() == 0 {
		return nil, fmt.Errorf("a forward needs a socket and a target: %w", fs.ErrInvalid)
	}
	p := &port{server: s, Forward: f}
	p.Listener = nil // lent
	switch f.Protocol {
	case "tcp":
		l, err := net.FileListener(f.Listener)
		if err != nil {
			return nil, err
		}
		var ok bool
		if p.tcp, ok = l.(*net.TCPListener); !ok {
			return nil, errors.Join(fmt.Errorf("not a socket of TCP: %w", fs.ErrInvalid), l.Close())
		}
	case "udp":
		c, err := net.FilePacketConn(f.Listener)
		if err != nil {
			return nil, err
		}
		var ok bool
		if p.udp, ok = c.(*net.UDPConn); !ok {
			return nil, errors.Join(fmt.Errorf("not a socket of UDP: %w", fs.ErrInvalid), c.Close())
		}
		if err := wantDestination(p.udp); err != nil {
			return nil, errors.Join(err, p.udp.Close())
		}
	default:
		return nil, fmt.Errorf("protocol %q: %w", f.Protocol, errors.ErrUnsupported)
	}
	return p, nil
}

// close ends the listening. A socket that cannot be closed is closed all the same.
func (p *port) close() {
	if p.tcp != nil {
		_ = p.tcp.Close()
	} else {
		_ = p.udp.Close()
	}
}

// Remove stops listening.
func (s *server) Remove(_ context.Context, key string) error {
	s.mu.Lock()
	ports := s.keys[key]
	delete(s.keys, key)
	delete(s.served, key)
	s.mu.Unlock()
	for _, p := range ports {
		p.close()
	}
	return nil
}

// State tells what is served.
func (s *server) State(context.Context) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{PID: os.Getpid(), Open: len(s.open), Served: map[string]uint64{}}
	for key, n := range s.served {
		st.Served[key] = n
	}
	return st, nil
}

// Abandon ends the process, once it is answered. The sockets are closed before: who
// has the answer may bind them again.
func (s *server) Abandon(context.Context) error {
	s.mu.Lock()
	s.ended = true
	keys := s.keys
	s.keys = map[string][]*port{}
	s.mu.Unlock()
	for _, ports := range keys {
		for _, p := range ports {
			p.close()
		}
	}
	s.once.Do(func() { close(s.closed) })
	return nil
}

// count counts a connection or session, if its key is still served.
func (p *port) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok := p.served[p.Key]; ok {
		p.served[p.Key] = n + 1
	}
}

// allowed tells whether an address may call.
func (p *port) allowed(a netip.Addr) bool {
	if len(p.Sources) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	for _, from := range p.Sources {
		if from.Contains(a) {
			return true
		}
	}
	return false
}
