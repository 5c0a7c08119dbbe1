package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
)

// session is one connection of a server.
type session struct {
	server *Server
	conn   *Conn
	peer   Peer
	user   *usage
	ctx    context.Context

	wg sync.WaitGroup // calls being served

	mu    sync.Mutex
	calls map[uint64]*Request
	count int // calls not answered yet
	bytes int // of their bodies, and of one that is being received
	files int // descriptors, too
	drain bool

	greeted bool
}

// run serves until the connection ends. All handlers have returned then.
func (s *session) run() error {
	ctx, cancel := context.WithCancel(s.ctx)
	s.ctx = ctx
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() }) // wakes the reader, which reports ctx
	s.conn.r.room, s.conn.r.got, s.conn.w.held = s.room, s.got, s.user.hold
	err := s.greet()
	if err == nil {
		err = s.conn.meet()
	}
	for n := 1; err == nil; n++ {
		err = s.read()
		if n%fair == 0 {
			runtime.Gosched()
		}
	}
	if cerr := ctx.Err(); cerr != nil {
		err = cerr
	}
	err = s.conn.cause(err)
	cancel()
	stop()
	s.wg.Wait()
	s.conn.r.close()
	_ = s.conn.Close() // the error that matters is err
	return err
}

// fair is how many frames of one connection may be taken while others wait.
const fair = 64

// greet sends the hello; what shut would have sent comes behind it.
func (s *session) greet() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeted = true
	if err := s.conn.greet(s.server.Limits, window); err != nil {
		return err
	}
	if s.drain {
		s.announce(true)
	}
	return nil
}

// read handles one frame.
func (s *session) read() error {
	f, err := s.conn.r.next()
	if err != nil {
		return err
	}
	if f.kind == kindCall {
		return s.call(f)
	}
	defer f.discard()
	s.mu.Lock()
	r := s.calls[f.id]
	s.mu.Unlock()
	switch {
	case f.kind == kindCancel && len(f.fds) == 0:
		if r != nil {
			r.cancel()
		}
	case f.kind == kindCredit && len(f.fds) == 0:
		var n int
		if err := json.Unmarshal(f.body, &n); err != nil {
			return fmt.Errorf("%w: credit: %w", errProtocol, err)
		}
		if r != nil {
			return r.grant(n)
		}
	default:
		return fmt.Errorf("%w: frame of kind %d from a client", errProtocol, f.kind)
	}
	return nil
}

// call starts a handler, or answers that there is no room for one.
func (s *session) call(f frame) error {
	if f.dropped {
		n := len(f.fds)
		f.discard()
		s.giveBack(0, n)
		return s.answer(f.id, nil, nil, &Error{Code: CodeUnavailable, Message: "the calls that are running hold too many bytes or descriptors"})
	}
	method, timeout, params, err := parseCall(f.body)
	if err != nil {
		f.discard()
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	r := &Request{Method: method, Params: params, Peer: s.peer,
		id: f.id, session: s, frame: f, credit: s.conn.peer.Window}
	if timeout > 0 {
		r.ctx, r.cancel = context.WithTimeout(s.ctx, timeout)
	} else {
		r.ctx, r.cancel = context.WithCancel(s.ctx)
	}
	if refusal, err := s.admit(r); err != nil || refusal != nil {
		r.cancel()
		s.giveBack(len(f.body), len(f.fds))
		f.discard()
		if err == nil {
			err = s.answer(f.id, nil, nil, refusal)
		}
		return err
	}
	s.wg.Add(1)
	s.server.workers.start(r)
	return nil
}

// room reserves the bytes of a call's body, if there is room for them. One that
// would be alone has it.
func (s *session) room(n int) bool {
	l := s.conn.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	all := int(s.user.bytes.Add(int64(n)))
	if s.bytes > 0 && s.bytes+n > l.Bytes || all > n && all > l.BytesPerUser {
		s.user.bytes.Add(int64(-n))
		return false
	}
	s.bytes += n
	return true
}

// got counts descriptors, which are there already, and tells whether they may stay.
func (s *session) got(n int) bool {
	s.mu.Lock()
	s.files += n
	s.mu.Unlock()
	return int(s.user.files.Add(int64(n))) <= s.conn.limits.FilesPerUser
}

func (s *session) giveBack(bytes, files int) {
	s.mu.Lock()
	s.bytes -= bytes
	s.files -= files
	s.mu.Unlock()
	s.user.bytes.Add(int64(-bytes))
	s.user.files.Add(int64(-files))
}

// admit counts a call.
func (s *session) admit(r *Request) (refusal, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.conn.limits
	switch {
	case r.id == 0 || s.calls[r.id] != nil:
		return nil, fmt.Errorf("%w: call id %d", errProtocol, r.id)
	case s.drain:
		return errDraining(), nil
	case s.count >= l.Calls:
		return &Error{Code: CodeUnavailable, Message: fmt.Sprintf("%d calls are running on this connection", s.count)}, nil
	}
	if n := s.user.calls.Add(1); n > int64(l.CallsPerUser) {
		s.user.calls.Add(-1)
		return &Error{Code: CodeUnavailable, Message: fmt.Sprintf("%d calls of uid %d are running", n-1, s.peer.UID)}, nil
	}
	s.calls[r.id] = r
	s.count++
	s.conn.w.crowd.Store(int32(s.count))
	return nil, nil
}

// serve runs the handler and answers.
func (s *session) serve(r *Request) {
	r.Files = filesOf(r.frame.fds)
	r.frame.fds = nil
	out, files, err := s.handle(r)
	r.cancel()
	for _, f := range r.Files { // before the answer, so that its client can rely on it
		if !slices.Contains(files, f) {
			_ = f.Close()
		}
	}
	s.mu.Lock()
	delete(s.calls, r.id)
	s.mu.Unlock()
	// Broken: nobody is there to be answered, and the reader ends the session.
	_ = s.answer(r.id, out, files, err)
	closeFiles(files)
	s.giveBack(len(r.frame.body), int(r.frame.files))
	s.mu.Lock()
	s.count--
	s.conn.w.crowd.Store(int32(s.count))
	s.user.calls.Add(-1)
	last := s.drain && s.count == 0
	s.mu.Unlock()
	r.frame.release()
	if last {
		s.bye()
	}
}

// handle calls the handler.
func (s *session) handle(r *Request) (out any, files []*os.File, err error) {
	if caught := s.server.Panic; caught != nil {
		defer func() {
			if v := recover(); v != nil {
				caught(r.Method, v, debug.Stack())
				err = &Error{Code: CodeInternal, Op: "call", Object: r.Method, Message: fmt.Sprintf("%s: panic: %v", r.Method, v)}
			}
		}()
	}
	if allow := s.server.Allow; allow != nil {
		if err := allow(s.peer, r.Method); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", r.Method, err)
		}
	}
	if err := s.user.wait(r.ctx, s.conn.limits); err != nil {
		return nil, nil, err
	}
	return s.server.Handler(r.ctx, r)
}

// answer sends the last frame of a call.
func (s *session) answer(id uint64, out any, files []*os.File, err error) error {
	m := newMessage()
	defer m.free()
	if err == nil {
		err = m.add(out)
	}
	if err == nil {
		err = s.conn.fits(m.body(), len(files))
	}
	if err == nil {
		err = s.conn.w.send(s.ctx, m.frame(kindResult, id, len(files)), files)
		if err == nil || err == errBroken || s.ctx.Err() != nil {
			return err
		}
	}
	m.buf = m.buf[:headerSize]
	if err := m.add(wireError(err)); err != nil {
		return err
	}
	if s.conn.fits(m.body(), 0) != nil {
		m.buf = m.buf[:headerSize]
		if err := m.add(&Error{Code: CodeOf(err), Message: "error too long for the peer"}); err != nil {
			return err
		}
	}
	return s.conn.w.send(s.ctx, m.frame(kindError, id, 0), nil)
}

// shut announces the end; what is running goes on.
func (s *session) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain {
		return
	}
	s.drain = true
	if s.greeted {
		s.announce(s.count == 0)
	}
}

func (s *session) announce(last bool) {
	m := newMessage()
	defer m.free()
	s.conn.w.post(m.frame(kindDrain, 0, 0))
	if last {
		s.bye()
	}
}

// bye ends the connection with the last word.
func (s *session) bye() {
	m := newMessage()
	defer m.free()
	s.conn.w.post(m.frame(kindBye, 0, 0))
	s.conn.w.end()
}
