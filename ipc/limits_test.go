package ipc

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// held is a server whose calls last until they are released.
func held(l Limits) (s *Server, started, release chan struct{}) {
	started, release = make(chan struct{}, 10), make(chan struct{})
	return &Server{
		Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
			if r.Method == "A.Wait" {
				started <- struct{}{}
				<-release
			}
			return nil, nil, nil
		},
		Limits: l,
	}, started, release
}

// hold makes a call that lasts.
func hold(t *testing.T, c *Client, in any, started chan struct{}) chan error {
	t.Helper()
	done := make(chan error, 1)
	ctx := limited(t)
	go func() {
		_, err := c.Call(ctx, "A.Wait", in, nil, nil)
		done <- err
	}()
	<-started
	return done
}

// The calls of a user are counted over its connections, and forgotten when they
// are answered.
func TestCallsOfAUser(t *testing.T) {
	leaks(t)
	s, started, release := held(Limits{CallsPerUser: 2})
	dial, served := listening(t, s)
	a, b := dial(), dial()
	calls := []chan error{hold(t, a, nil, started), hold(t, b, nil, started)}
	for _, c := range []*Client{a, b} {
		if _, err := c.Call(limited(t), "A.B", nil, nil, nil); CodeOf(err) != CodeUnavailable || !strings.Contains(err.Error(), "2 calls of uid") {
			t.Errorf("a third call: %v", err)
		}
	}
	close(release)
	for _, done := range calls {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	admitted(t, a, nil)
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

// admitted makes a call until it is taken: an answer is on its way before its call is
// forgotten.
func admitted(t *testing.T, c *Client, files []*os.File) {
	t.Helper()
	for {
		if _, err := c.Call(limited(t), "A.B", nil, files, nil); err == nil {
			return
		} else if CodeOf(err) != CodeUnavailable {
			t.Fatal(err)
		}
	}
}

// So are the bytes, those of half a body too. A body without room is lost, its
// call is answered, and the connection goes on.
func TestBytesOfAUser(t *testing.T) {
	leaks(t)
	s, started, release := held(Limits{Body: 64 << 10, BytesPerUser: 100 << 10})
	dial, served := listening(t, s)
	a, b := dial(), dial()
	large := strings.Repeat("x", 60<<10)
	refused := func(what string) {
		t.Helper()
		if _, err := b.Call(limited(t), "A.B", large, []*os.File{os.Stdin}, nil); CodeOf(err) != CodeUnavailable {
			t.Errorf("beside %s: %v", what, err)
		}
		if _, err := b.Call(limited(t), "A.B", "small", nil, nil); err != nil {
			t.Errorf("beside %s: %v", what, err)
		}
	}
	taken := func() {
		t.Helper()
		for {
			if _, err := b.Call(limited(t), "A.B", large, nil, nil); err == nil {
				return
			} else if CodeOf(err) != CodeUnavailable {
				t.Fatal(err)
			}
		}
	}
	done := hold(t, a, large, started)
	refused("a call that runs")
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	taken()

	c := hostile(t, s)
	half := frames(raw(kindHello, 0, 0, goodHello), raw(kindCall, 0, 1, "A.B\n"+large))
	if _, err := c.conn.Write(half[:len(half)-1]); err != nil {
		t.Fatal(err)
	}
	for { // until the server has seen the header
		s.mu.Lock()
		n := s.users[uint32(os.Getuid())].bytes.Load()
		s.mu.Unlock()
		if n > 60<<10 {
			break
		}
	}
	refused("half a body")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	taken()
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

// So are the descriptors, also those of which half a header came.
func TestFilesOfAUser(t *testing.T) {
	leaks(t)
	s, started, release := held(Limits{FilesPerUser: 10})
	dial, served := listening(t, s)
	a, b := dial(), dial()
	eight := slices.Repeat([]*os.File{os.Stdin}, 8)
	done := make(chan error, 1)
	go func() {
		_, err := a.Call(context.Background(), "A.Wait", nil, eight, nil)
		done <- err
	}()
	<-started
	if _, err := b.Call(limited(t), "A.B", nil, eight, nil); CodeOf(err) != CodeUnavailable {
		t.Errorf("8 more: %v", err)
	}
	if _, err := b.Call(limited(t), "A.B", nil, eight[:2], nil); err != nil {
		t.Errorf("2 more: %v", err)
	}
	c := hostile(t, s)
	play(t, c, []step{{data: raw(kindHello, 0, 0, goodHello)}, {raw(kindCall, 8, 1, "A.B\n")[:1], 8}})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	admitted(t, b, eight)
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

// What a user does not read is bounded, too: calls whose answers there would be no
// room for wait until it reads, on all its connections.
func TestAnswersThatAreNotRead(t *testing.T) {
	leaks(t)
	const limit = 300 << 10
	var later atomic.Int64
	s := &Server{
		Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
			if r.Method == "A.Large" {
				return strings.Repeat("x", 100<<10), nil, nil
			}
			later.Add(1)
			return nil, nil, nil
		},
		Limits: Limits{Body: 64 << 10, BytesPerUser: limit, Stall: time.Hour},
	}
	dial, served := listening(t, s)
	friend, deaf := dial(), hostile(t, s)
	ask := func(data []byte, method string, from, to uint64) {
		for id := from; id < to; id++ {
			data = append(data, raw(kindCall, 0, id, method+"\n")...)
		}
		if _, err := deaf.conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	// More than fits into the socket, into the queue and below the limit.
	ask(raw(kindHello, 0, 0, goodHello), "A.Large", 1, 31)
	for end := time.Now().Add(patience); unread(s) <= limit; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes wait", unread(s))
		}
	}
	ask(nil, "A.B", 31, 41)
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := friend.Call(short, "A.B", nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) || later.Load() > 0 {
		t.Errorf("beside answers that are not read: %v, %d calls ran", err, later.Load())
	}
	read := make(chan error, 1)
	go func() { read <- drained(deaf) }()
	if _, err := friend.Call(limited(t), "A.B", nil, nil, nil); err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-read, deaf.Close()); err != nil || later.Load() < 11 {
		t.Errorf("%d calls ran, %v", later.Load(), err)
	}
	<-served
}

// Many connections that each leave one answer unread come to as much as one that
// leaves many.
func TestAnswersThatManyDoNotRead(t *testing.T) {
	leaks(t)
	const limit = 300 << 10
	s := &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { return strings.Repeat("x", 1<<20), nil, nil },
		Limits:  Limits{BytesPerUser: limit, Stall: time.Hour},
	}
	_, served := listening(t, s)
	hello := strings.Replace(goodHello, `"body":`, `"body":9`, 1)
	call := append(raw(kindHello, 0, 0, hello), raw(kindCall, 0, 1, "A.B\n")...)
	var deaf []*Conn
	for range 4 {
		c := hostile(t, s)
		if _, err := c.conn.Write(call); err != nil {
			t.Fatal(err)
		}
		deaf = append(deaf, c)
	}
	for end := time.Now().Add(patience); unread(s) <= limit; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes wait", unread(s))
		}
	}
	for _, c := range deaf {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
	if n := unread(s); n != 0 {
		t.Errorf("%d bytes wait in the end", n)
	}
}

// unread is what this user has not read.
func unread(s *Server) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user := s.users[uint32(os.Geteuid())]; user != nil {
		return user.unread.Load()
	}
	return 0 // it has not begun
}

// drained reads to the end.
func drained(c *Conn) error {
	_, err := io.Copy(io.Discard, c.conn)
	return err
}

// Whatever happened, nothing is counted when nobody is there.
func TestNothingIsCountedInTheEnd(t *testing.T) {
	leaks(t)
	var user *usage
	s := &Server{Limits: Limits{CallsPerUser: 3, BytesPerUser: 20}}
	s.Handler = func(context.Context, *Request) (any, []*os.File, error) {
		s.mu.Lock()
		user = s.users[uint32(os.Getuid())]
		s.mu.Unlock()
		return nil, nil, nil
	}
	data := raw(kindHello, 0, 0, goodHello)
	for id := range uint64(20) {
		data = append(data, raw(kindCall, 0, id+1, "A.B\n{}")...)
	}
	c := hostile(t, s)
	if _, err := c.conn.Write(append(data, raw(kindCall, 0, 21, "A.B\n{}")[:20]...)); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.conn.SetReadDeadline(time.Now().Add(patience)), drained(c), c.Close()); err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	if user.calls.Load() != 0 || user.bytes.Load() != 0 || user.files.Load() != 0 || user.conns != 0 || len(s.users) > 0 {
		t.Errorf("%d calls, %d bytes, %d connections", user.calls.Load(), user.bytes.Load(), user.conns)
	}
}
