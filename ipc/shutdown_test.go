package ipc

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// listening starts a server at a socket of its own and returns a way to dial it.
func listening(t *testing.T, s *Server) (dial func() *Client, served chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { served <- s.Serve(ctx, l) }()
	return func() *Client {
		c, err := Open(limited(t), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}, served
}

func TestShutdownDrains(t *testing.T) {
	leaks(t)
	started, release := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
		if r.Method == "A.Wait" {
			close(started)
			<-release
		}
		return "done", nil, nil
	}}
	dial, served := listening(t, s)
	busy, idle := dial(), dial()
	if _, err := idle.Call(limited(t), "A.B", nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		var out string
		_, err := busy.Call(context.Background(), "A.Wait", nil, nil, &out)
		if err == nil && out != "done" {
			err = errors.New(out)
		}
		answer <- err
	}()
	<-started
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(limited(t)) }()
	<-idle.Done() // its connection has no calls and ends first
	for _, c := range []*Client{idle, busy} {
		for { // until busy has read the drain frame
			_, err := c.Call(limited(t), "A.B", nil, nil, nil)
			if CodeOf(err) == CodeUnavailable {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("running call: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(limited(t), l); !errors.Is(err, ErrShutdown) {
		t.Errorf("Serve afterwards: %v", err)
	}
}

func TestShutdownCuts(t *testing.T) {
	leaks(t)
	started := make(chan struct{})
	s := &Server{Handler: func(ctx context.Context, _ *Request) (any, []*os.File, error) {
		close(started)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}}
	dial, served := listening(t, s)
	c := dial()
	answer := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), "A.Wait", nil, nil, nil)
		answer <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-answer; CodeOf(err) == CodeUnavailable || err == nil {
		t.Errorf("a call that was running: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeEndsWithContext(t *testing.T) {
	leaks(t)
	l, err := Listen(filepath.Join(t.TempDir(), "s"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := &Server{Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil }}
	if err := s.Serve(ctx, l); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestConnectionLimits(t *testing.T) {
	leaks(t)
	s := &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil },
		Limits:  Limits{ConnsPerUser: 2},
	}
	dial, served := listening(t, s)
	for range 2 {
		if _, err := dial().Call(limited(t), "A.B", nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dial().Call(limited(t), "A.B", nil, nil, nil); err == nil {
		t.Error("a third connection is served")
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

func TestAdmit(t *testing.T) {
	leaks(t)
	s := &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil },
		Admit:   func(Peer) error { return os.ErrPermission },
	}
	dial, served := listening(t, s)
	if _, err := dial().Call(limited(t), "A.B", nil, nil, nil); err == nil {
		t.Error("a connection that was not admitted is served")
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

func TestCallLimits(t *testing.T) {
	leaks(t)
	release := make(chan struct{})
	started := make(chan struct{}, 10)
	c := clientOf(t, &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) {
			started <- struct{}{}
			<-release
			return nil, nil, nil
		},
		Limits: Limits{Calls: 2},
	})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := c.Call(context.Background(), "A.B", nil, nil, nil)
			done <- err
		}()
		<-started
	}
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); CodeOf(err) != CodeUnavailable {
		t.Errorf("third call: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
