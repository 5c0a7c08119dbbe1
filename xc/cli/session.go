package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// session is the connection to the engine: made when it is needed, and made
// again when it was lost.
type session struct {
	app *App

	mu      sync.Mutex
	current api.Engine
}

// engine returns the engine, and connects if need be.
func (s *session) engine(ctx context.Context) (api.Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.current, nil
	}
	e, err := s.app.Dial(ctx, s.app.Socket)
	if err != nil {
		return nil, explainDial(s.app.Socket, err)
	}
	s.current = e
	return e, nil
}

// explainDial says what to do about a daemon that cannot be reached.
func explainDial(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("xcd does not answer on %s: start it (as root: xcd), or say with --socket or XC_SOCKET where it does: %w", socket, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("connect to xcd on %s: run xc as root, or as a member of the socket_group of xcd's configuration: %w", socket, err)
	}
	return fmt.Errorf("connect to xcd on %s: %w", socket, err)
}

// forget drops a connection that was lost, unless there is a new one already.
func (s *session) forget(e api.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == e {
		s.current = nil
	}
	if c, ok := e.(io.Closer); ok {
		c.Close()
	}
}

// lost tells whether err is the loss of the daemon, and not the caller's doing.
func (s *session) lost(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && s.app.Lost != nil && s.app.Lost(err)
}

// Waits between two attempts to reach a daemon that went away.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// insist calls f until it is answered by some daemon: the one connected to, or
// one that takes its place. f is a question that may be asked twice. Once ctx
// ends it gives up.
func (s *session) insist(ctx context.Context, f func(api.Engine) error) error {
	pause, told := firstPause, false
	for {
		e, err := s.engine(ctx)
		if err == nil {
			err = f(e)
			if !s.lost(ctx, err) {
				return err
			}
			s.forget(e)
		}
		if pause == lastPause && !told {
			told = true
			fmt.Fprintf(s.app.Stderr, "xc: waiting for xcd to come back; the container goes on\r\n")
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}
