package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Server answers calls. Its fields are not changed once it serves. Safe for
// concurrent use.
type Server struct {
	Handler Handler

	// API, if not 0, is the version of the methods that Handler has. It is told to
	// every client, see [Client.API], and decides nothing here.
	API int

	// Admit, if set, is asked once for each connection, and Allow once for each
	// call, before its parameters are decoded. A connection that is not
	// admitted is closed without a word; a call that is not allowed is answered
	// with the error, which should be an fs.ErrPermission.
	Admit func(Peer) error
	Allow func(p Peer, method string) error

	// Panic, if set, is told when a handler panics, and the call is answered
	// with CodeInternal. If not, a panic ends the process, as everywhere.
	Panic func(method string, value any, stack []byte)

	Limits Limits

	workers workers

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	users     map[uint32]*usage // by uid
	conns     int               // of all users
	drain     bool
	change    chan struct{} // closed when a session has ended; nil if nobody waits
}

// usage is what one user has of a server.
type usage struct {
	conns int       // the server's mu
	paid  time.Time // until when its connections have used up their rate; the server's mu
	calls atomic.Int64
	bytes atomic.Int64 // of bodies
	files atomic.Int64 // descriptors

	unread atomic.Int64 // bytes of answers that wait because peers do not read
	mu     sync.Mutex
	calm   chan struct{} // closed when unread has shrunk; nil if nobody waits
}

// hold counts bytes that begin to wait, or do so no longer.
func (u *usage) hold(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unread.Add(int64(n))
	if n < 0 && u.calm != nil {
		close(u.calm)
		u.calm = nil
	}
}

// wait waits until the user's peers have read enough that there may be one more
// answer.
func (u *usage) wait(ctx context.Context, l Limits) error {
	for u.unread.Load() > int64(l.BytesPerUser) {
		u.mu.Lock()
		if u.calm == nil {
			u.calm = make(chan struct{})
		}
		calm := u.calm
		u.mu.Unlock()
		if u.unread.Load() <= int64(l.BytesPerUser) {
			break // since it was looked at
		}
		select {
		case <-calm:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ErrShutdown is serving with a server that was shut down.
var ErrShutdown = errors.New("server is shut down")

// Serve accepts connections and serves them until ctx ends, which cancels what
// is running, until Shutdown, or until the listener fails. It closes l, returns
// when the last of its connections has ended, and returns nil after Shutdown.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := s.listen(l); err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // reported by Accept
	defer stop()
	var wg sync.WaitGroup
	err := s.accept(ctx, l, &wg)
	s.mu.Lock()
	drain := s.drain
	delete(s.listeners, l)
	s.mu.Unlock()
	if cerr := l.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) && err == nil {
		err = cerr
	}
	if drain {
		wg.Wait()
		return nil
	}
	cancel()
	wg.Wait()
	return err
}

func (s *Server) listen(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain {
		return ErrShutdown
	}
	if s.listeners == nil {
		s.listeners = map[net.Listener]struct{}{}
	}
	s.listeners[l] = struct{}{}
	return nil
}

// accept loops. A full descriptor table must not end a server: it waits and
// tries again.
func (s *Server) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	var delay time.Duration
	for {
		nc, err := l.Accept()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !passing(err) {
			return err
		}
		if err != nil {
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
			continue
		}
		delay = 0
		c, err := NewConn(nc)
		if err != nil {
			continue // it is closed; the next may be better
		}
		wg.Go(func() {
			_ = s.ServeConn(ctx, c) // the end of one connection is nobody else's matter
		})
	}
}

// passing tells the errors of accept(2) that go away.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ServeConn takes c over and serves it until it ends: nil when the peer went
// away or after Shutdown, ctx.Err() when ctx ended. Handlers have returned then.
func (s *Server) ServeConn(ctx context.Context, c *Conn) error {
	ss, turn, err := s.begin(ctx, c)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	if turn > 0 {
		select {
		case <-time.After(turn):
		case <-ctx.Done():
		}
	}
	err = ss.run()
	s.finish(ss)
	if ended(err) {
		// When ctx ends, both sides close: whose end is seen first is chance.
		return ctx.Err()
	}
	return err
}

// begin counts a connection. Its turn is how long it has to wait.
func (s *Server) begin(ctx context.Context, c *Conn) (ss *session, turn time.Duration, err error) {
	p, err := c.Peer()
	if err != nil {
		return nil, 0, fmt.Errorf("credentials of the peer: %w", err)
	}
	l := s.Limits.filled()
	if err := s.enter(p.UID, l); err != nil {
		return nil, 0, err
	}
	if s.Admit != nil {
		if err := s.Admit(p); err != nil {
			s.leave(p.UID)
			return nil, 0, err
		}
	}
	c.api = s.API
	ss = &session{server: s, conn: c, peer: p, ctx: ctx, calls: map[uint64]*Request{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain { // since it entered
		s.leaveLocked(p.UID)
		return nil, 0, ErrShutdown
	}
	s.sessions[ss] = struct{}{}
	ss.user = s.users[p.UID]
	return ss, ss.user.turn(time.Now(), l.ConnRate), nil
}

// enter counts a connection of a user, before anything is spent on it.
func (s *Server) enter(uid uint32, l Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.sessions, s.users = map[*session]struct{}{}, map[uint32]*usage{}
	}
	user := s.users[uid]
	switch {
	case s.drain:
		return ErrShutdown
	case s.conns >= l.Conns:
		return &Error{Code: CodeUnavailable, Message: fmt.Sprintf("%d connections", l.Conns)}
	case user == nil:
		user = &usage{}
		s.users[uid] = user
	case user.conns >= l.ConnsPerUser:
		return &Error{Code: CodeUnavailable, Message: fmt.Sprintf("%d connections of uid %d", l.ConnsPerUser, uid)}
	}
	s.conns++
	user.conns++
	return nil
}

func (s *Server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(uid)
}

// leaveLocked forgets a connection, and its user with the last one. Those who had
// many are remembered for a while, or they could begin anew after each.
func (s *Server) leaveLocked(uid uint32) {
	s.conns--
	s.users[uid].conns--
	soon := time.Now().Add(100 * time.Millisecond)
	for uid, u := range s.users {
		if u.conns == 0 && u.paid.Before(soon) {
			delete(s.users, uid)
		}
	}
}

// turn takes one connection from the rate of its user: those of one second at
// once, and then one after the other.
func (u *usage) turn(now time.Time, rate int) time.Duration {
	if u.paid.Before(now) {
		u.paid = now
	}
	u.paid = u.paid.Add(time.Second / time.Duration(rate))
	return u.paid.Sub(now) - time.Second
}

func (s *Server) finish(ss *session) {
	ss.giveBack(ss.bytes, ss.files) // of a call that was not received whole
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(ss.peer.UID)
	delete(s.sessions, ss)
	if len(s.sessions) == 0 {
		s.workers.dismiss()
	}
	if s.change != nil {
		close(s.change)
		s.change = nil
	}
}

// Shutdown stops listening, tells the clients, lets what is running finish,
// and returns when the last connection has ended. When ctx ends first, it
// cancels what is left, waits for the handlers and returns ctx.Err(). A server
// does not serve again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = true
	var errs []error
	for l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for ss := range s.sessions {
		ss.shut()
	}
	done := ctx.Done()
	for len(s.sessions) > 0 {
		if s.change == nil {
			s.change = make(chan struct{})
		}
		change := s.change
		s.mu.Unlock()
		select {
		case <-change:
		case <-done:
			done = nil
			errs = append(errs, ctx.Err())
			s.cut()
		}
		s.mu.Lock()
	}
	return errors.Join(errs...)
}

// cut closes every connection, which cancels its handlers.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss := range s.sessions {
		_ = ss.conn.Close() // its session reports
	}
}
