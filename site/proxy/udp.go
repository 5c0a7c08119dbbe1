package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// buffers are as long as the longest datagram.
var buffers = sync.Pool{New: func() any { return new([1 << 16]byte) }}

// caller is who has a session: an address, and the address of ours that it called,
// as control messages for the answer.
type caller struct {
	addr   netip.AddrPort
	source string
}

// session is a caller's socket to the container.
type session struct {
	caller
	to   *net.UDPConn
	last atomic.Int64 // when something went either way, in nanoseconds of the monotonic clock
}

// epoch is when that clock began.
var epoch = time.Now()

func (s *session) touch() { s.last.Store(int64(time.Since(epoch))) }

// sessions are those of one port.
type sessions struct {
	mu  sync.Mutex
	all map[caller]*session
}

// receive serves the port until it is closed.
func (p *port) receive() {
	live := &sessions{all: map[caller]*session{}}
	defer live.closeAll()
	buf := buffers.Get().(*[1 << 16]byte)
	defer buffers.Put(buf)
	oob := make([]byte, 128)
	for {
		n, oobn, _, from, err := p.udp.ReadMsgUDPAddrPort(buf[:], oob)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond) // what an earlier answer met: it passes
			continue
		}
		if !p.allowed(from.Addr()) {
			continue
		}
		who := caller{from, string(answerFrom(oob[:oobn]))}
		live.mu.Lock()
		s := live.all[who]
		live.mu.Unlock()
		if s == nil {
			if s = p.newSession(live, who); s == nil {
				continue // one datagram more that is lost
			}
		}
		s.touch()
		_, _ = s.to.Write(buf[:n]) // nobody listens: the container's matter
	}
}

// newSession begins one, unless there are too many.
func (p *port) newSession(live *sessions, who caller) *session {
	select {
	case p.open <- struct{}{}:
	default:
		return nil
	}
	to, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Target))
	if err != nil {
		<-p.open
		return nil
	}
	s := &session{caller: who, to: to}
	s.touch()
	live.mu.Lock()
	live.all[who] = s
	live.mu.Unlock()
	p.count()
	go func() {
		defer func() { <-p.open }()
		p.answer(s)
		live.mu.Lock()
		delete(live.all, who)
		live.mu.Unlock()
		_ = s.to.Close()
	}()
	return s
}

// answer passes on what the container sends, until the session is silent or closed.
func (p *port) answer(s *session) {
	raw, err := s.to.SyscallConn()
	if err != nil {
		return
	}
	for {
		idle := time.Since(epoch) - time.Duration(s.last.Load())
		if idle >= p.silence {
			return
		}
		if s.to.SetReadDeadline(time.Now().Add(p.silence-idle)) != nil {
			return
		}
		var failed error
		// The buffer is taken when there is something to read: a session that
		// waits holds none.
		err := raw.Read(func(fd uintptr) bool {
			buf := buffers.Get().(*[1 << 16]byte)
			defer buffers.Put(buf)
			n, err := unix.Read(int(fd), buf[:])
			if err == syscall.EAGAIN || err == syscall.EINTR {
				return false
			}
			if failed = err; err == nil {
				s.touch()
				_, _, _ = p.udp.WriteMsgUDPAddrPort(buf[:n], []byte(s.source), s.addr) // lost on its way
			}
			return true
		})
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case failed == syscall.ECONNREFUSED: // an earlier datagram met nobody
		case failed != nil:
			return
		}
	}
}

// closeAll ends the sessions of a port that is closed.
func (l *sessions) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		_ = s.to.Close() // it wakes the one who reads
	}
}

// passing tells the errors of accept(2) that go away.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
