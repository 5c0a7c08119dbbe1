package runloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// client is who has joined its streams to a hub's output and a process's input.
type client struct {
	hub   *hub
	outs  []*outlet
	stdin *os.File // until feed
	in    *inlet
}

// join makes a client with duplicates of the files given.
func join(h *hub, stdio control.Stdio, replay bool) (*client, error) {
	c := &client{hub: h}
	outs := [2]*os.File{stdio.Stdout, stdio.Stderr}
	for i, s := range [2]logfile.Stream{logfile.Stdout, logfile.Stderr} {
		f, err := dup(outs[i])
		if err != nil {
			c.leave()
			return nil, err
		}
		if f != nil {
			o := newOutlet(f)
			c.outs = append(c.outs, o)
			h.join(o, s, replay)
		}
	}
	var err error
	if c.stdin, err = dup(stdio.Stdin); err != nil {
		c.leave()
		return nil, err
	}
	return c, nil
}

// feed joins the client's input, if it has one, to input.
func (c *client) feed(input *os.File) error {
	if c.stdin == nil {
		return nil
	}
	f := c.stdin
	c.stdin = nil
	var err error
	c.in, err = newInlet(f, input)
	return err
}

// serve returns when the client has got all output, has closed its end of it,
// or ctx is done; with detach also when its input has ended.
func (c *client) serve(ctx context.Context, detach bool) {
	defer c.leave()
	var eof <-chan struct{}
	if detach && c.in != nil {
		eof = c.in.eof
	}
	for _, o := range c.outs {
		select {
		case <-o.gone:
		case <-eof:
			return
		case <-ctx.Done():
			return
		}
	}
	if len(c.outs) == 0 {
		select {
		case <-c.hub.done:
		case <-eof:
		case <-ctx.Done():
		}
	}
}

// leave lets go of the client's descriptors.
func (c *client) leave() {
	for _, o := range c.outs {
		c.hub.leave(o)
		o.cut()
	}
	if c.stdin != nil {
		_ = c.stdin.Close() // never used
	}
	if c.in != nil {
		c.in.cut()
	}
}

// Attach implements control.Control. Before main is started it waits for that.
func (l *loop) Attach(ctx context.Context, stdio control.Stdio, replay bool, size control.Size) error {
	defer closeStdio(stdio)
	if err := check(stdio); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	c, err := join(l.hub, stdio, replay)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer c.leave()
	closeStdio(stdio)
	select {
	case <-l.started:
	case <-l.ended:
		return fmt.Errorf("attach: %w", control.ErrNotRunning)
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	p := l.main
	l.mu.Unlock()
	if c.stdin != nil && p.input == nil {
		return fmt.Errorf("attach stdin: main has neither a terminal nor an open stdin: %w", fs.ErrInvalid)
	}
	if p.master != nil && size != (control.Size{}) {
		if err := resize(p.master, size); err != nil && !errors.Is(err, os.ErrClosed) {
			return fmt.Errorf("attach: %w", err)
		}
	}
	if err := c.feed(p.input); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	c.serve(ctx, p.master != nil)
	return ctx.Err()
}
