package kqueuetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/joyboyid/xc/kqueue"
)

// Follow makes a [Tree] of one that a [kqueue.Tracker] has started, whose main
// has the number pid: it reads the events and keeps them.
func Follow(pid int, tree *kqueue.Tree) Tree {
	f := &followed{tree: tree, pid: pid, exited: make(chan struct{}), ended: make(chan struct{})}
	go f.read()
	return f
}

type followed struct {
	tree   *kqueue.Tree
	pid    int
	exited chan struct{} // closed when status is known
	status syscall.WaitStatus
	ended  chan struct{} // closed when err is known
	err    error

	mu     sync.Mutex
	events []kqueue.Event
}

func (f *followed) read() {
	defer close(f.ended)
	for known := false; ; {
		e, err := f.tree.Next(context.Background())
		if err != nil {
			if f.err = err; err == io.EOF {
				_, f.err = f.tree.Next(context.Background()) // it is told again to whoever asks
			}
			return
		}
		f.mu.Lock()
		f.events = append(f.events, e)
		f.mu.Unlock()
		if e.Kind == kqueue.Exit && e.PID == f.pid && !known {
			f.status, known = e.Status, true
			close(f.exited)
		}
	}
}

// Events returns what was told until now.
func (f *followed) Events() []kqueue.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

func (f *followed) Pid() int { return f.pid }

func (f *followed) Main(ctx context.Context) (syscall.WaitStatus, error) {
	select {
	case <-f.exited:
		return f.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.ended:
	}
	select {
	case <-f.exited: // both were so
		return f.status, nil
	default:
		return 0, fmt.Errorf("main's end was not told: %w", f.err)
	}
}

func (f *followed) Empty(ctx context.Context) error {
	select {
	case <-f.ended:
		if f.err == io.EOF {
			return nil
		}
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *followed) PIDs() ([]int, error) { return f.tree.PIDs(), nil }

func (f *followed) Kill() error {
	if err := f.tree.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (f *followed) Close() error { return f.tree.Close() }
