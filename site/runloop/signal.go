package runloop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
)

// Signal implements control.Control. When main's first process is gone, its
// descendants are main; before main and after it the command is that runs then.
func (l *loop) Signal(_ context.Context, n int, all bool) error {
	if err := l.signal(n, all); err != nil {
		return fmt.Errorf("signal %d: %w", n, err)
	}
	return nil
}

func (l *loop) signal(n int, all bool) error {
	if n < 1 || n > 128 { // 0 would be a question
		return syscall.EINVAL
	}
	if !all {
		if ran, err := l.signalCommand(syscall.Signal(n)); ran {
			return err
		}
	}
	return l.signalMain(syscall.Signal(n), all)
}

func (l *loop) signalMain(sig syscall.Signal, all bool) error {
	p, alive, err := l.running()
	if err != nil {
		return err
	}
	if all && sig == syscall.SIGKILL {
		return l.tenant.get().Kill()
	}
	if alive && !all {
		if err := p.tree.Signal(sig); !errors.Is(err, syscall.ESRCH) && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	trees := []Tree{p.tree}
	if all {
		l.mu.Lock()
		for other := range l.procs {
			if other != p {
				trees = append(trees, other.tree)
			}
		}
		l.mu.Unlock()
	}
	for _, t := range trees {
		err = errors.Join(err, signalTree(t, sig))
	}
	return err
}

func signalTree(t Tree, sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		return t.Kill()
	}
	pids, err := t.PIDs()
	for _, pid := range pids {
		if kerr := syscall.Kill(pid, sig); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("pid %d: %w", pid, kerr))
		}
	}
	return err
}

// Stop implements control.Control. Without a timeout it kills at once.
// Stopping what has ended succeeds.
func (l *loop) Stop(ctx context.Context, n int, timeout time.Duration) error {
	select {
	case <-l.ended:
		return nil
	case <-l.started:
	default:
		if ran, err := l.stopInit(ctx, syscall.Signal(n), timeout); ran {
			return err // main is not started
		}
		return fmt.Errorf("stop: %w", control.ErrNotRunning)
	}
	if timeout > 0 {
		if err := l.signalMain(syscall.Signal(n), false); err != nil && !errors.Is(err, control.ErrNotRunning) {
			return fmt.Errorf("stop: signal %d: %w", n, err)
		}
		t := time.NewTimer(timeout)
		defer t.Stop()
		select {
		case <-l.over:
		case <-l.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	if err := l.killStopped(timeout > 0); err != nil {
		return fmt.Errorf("stop: kill: %w", err)
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killStopped kills everything. The deinit commands have a time of their own, if
// main had one.
func (l *loop) killStopped(deinit bool) error {
	l.killing.Lock()
	defer l.killing.Unlock()
	select {
	case <-l.over:
		if deinit {
			return nil
		}
	default:
	}
	if !deinit {
		l.dropDeinit()
	}
	return l.tenant.get().Kill()
}

// dropDeinit ends the deinit commands if they are run, and has none run later.
func (l *loop) dropDeinit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noDeinit = true
	if l.main != nil && l.commands != nil {
		l.commands.kill()
	}
}

// Abandon implements control.Control. The record of a main that never ran
// says so, with the code of an engine's own error.
func (l *loop) Abandon(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // goes on when ctx ends
		defer close(done)
		l.dropDeinit()
		switch {
		case !l.retire(false):
			l.end(control.Exit{Code: codeNever, Error: "main was never started"})
		case l.tenant.get().Kill() == nil:
			<-l.exited
			l.mu.Lock()
			exit := *l.exit
			l.mu.Unlock()
			l.end(exit) // does not depend on the tree being seen empty
		default: // closing the tenant is the stronger means
			l.end(control.Exit{Code: 137, Lost: true, Error: "abandoned"})
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
