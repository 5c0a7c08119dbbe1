package control_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
)

// refuser is a run loop without a container.
type refuser struct{ control.Control }

func (refuser) Signal(context.Context, int, bool) error {
	return fmt.Errorf("signal: %w", control.ErrNotRunning)
}

func TestNotRunningCrossesTheWire(t *testing.T) {
	client, server, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	s := &ipc.Server{Handler: control.ControlHandler(refuser{})}
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(t.Context(), server) }()
	c := ipc.NewClient(client, ipc.Limits{})
	if err := (control.ControlClient{C: c}).Signal(t.Context(), 15, false); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("signal: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
