package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
)

// forwarded are the signals that go to the container.
var forwarded = [...]os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// patience is how many signals may wait for a daemon that does not answer
// before xc takes them for itself.
const patience = 3

// forwarder sends the signals that xc gets to a container.
type forwarder struct {
	app     *App
	id      func() string // of the container, once it is created
	started <-chan struct{}
	got     chan os.Signal
	queue   chan os.Signal
	waiting atomic.Int32
	giveUp  chan struct{} // closed when signals could not be delivered
}

// forward begins to keep signals from ending xc. They are delivered, in order,
// to main once started is closed, and to the init commands before that, once
// created is. The function it returns ends that, and does not wait for it: the
// runtime switches threads twice for each signal that is given back.
func (a *App) forward(ctx context.Context, id func() string, created, started <-chan struct{}) (f *forwarder, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	f = &forwarder{
		app: a, id: id, started: started, giveUp: make(chan struct{}),
		got: make(chan os.Signal, 16), queue: make(chan os.Signal, patience),
	}
	signal.Notify(f.got, forwarded[:]...)
	go f.collect()
	go func() {
		select {
		case <-created:
			f.deliver(ctx)
		case <-ctx.Done():
		}
	}()
	return f, func() {
		cancel()
		go func() {
			signal.Stop(f.got)
			close(f.got)
		}()
	}
}

func (f *forwarder) collect() {
	defer close(f.queue)
	for sig := range f.got {
		select {
		case f.queue <- sig:
			if f.waiting.Add(1) < patience {
				continue
			}
		default:
		}
		select {
		case <-f.giveUp:
		default:
			close(f.giveUp)
		}
	}
}

func (f *forwarder) deliver(ctx context.Context) {
	for sig := range f.queue {
		name := strings.TrimPrefix(unix.SignalName(sig.(syscall.Signal)), "SIG")
		err := f.app.session.insist(ctx, func(e api.Engine) error { return f.send(ctx, e, name) })
		if err != nil && !errors.Is(err, context.Canceled) {
			f.app.complain(fmt.Errorf("forward signal %s: %w", name, err))
		}
		f.waiting.Add(-1)
	}
}

// nobodyYet is how long a signal waits for which there is no process yet.
const nobodyYet = 50 * time.Millisecond

// send signals the container, as soon as there is something in it to be signalled.
func (f *forwarder) send(ctx context.Context, e api.Engine, name string) error {
	for {
		starting := !closed(f.started)
		err := e.KillContainer(ctx, f.id(), name)
		if err == nil || f.app.session.lost(ctx, err) {
			return err
		}
		if !starting {
			// It may have ended meanwhile.
			if c, lookErr := e.InspectContainer(ctx, f.id()); lookErr != nil || c.State != api.StateRunning {
				return nil
			}
			return err
		}
		select {
		case <-time.After(nobodyYet):
		case <-f.started:
		case <-ctx.Done():
			return nil // it could not be started
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
