package runloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// Exec implements control.Control. When ctx ends, a terminal hangs up; a
// process without one goes on.
func (l *loop) Exec(ctx context.Context, p control.Process, stdio control.Stdio) (control.Exit, error) {
	defer closeStdio(stdio)
	e, err := l.exec(ctx, p, stdio)
	if err != nil {
		return e, fmt.Errorf("exec: %w", err)
	}
	return e, nil
}

func (l *loop) exec(ctx context.Context, p control.Process, stdio control.Stdio) (control.Exit, error) {
	if err := check(stdio); err != nil {
		return control.Exit{}, err
	}
	if err := l.reserve(p.ID); err != nil {
		return control.Exit{}, err
	}
	defer l.release(p.ID)
	if p.Terminal {
		return l.execTerminal(ctx, p, stdio)
	}
	_, done, err := l.startExec(p, stdio, l.output)
	if err != nil {
		return control.Exit{}, err
	}
	closeStdio(stdio)
	select {
	case e := <-done:
		return e, nil
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
}

// Detach implements control.Control. What it writes, to a terminal of its own or not,
// goes nowhere.
func (l *loop) Detach(ctx context.Context, p control.Process, started func(pid int) error) (control.Exit, error) {
	e, err := l.detach(ctx, p, started)
	if err != nil {
		return e, fmt.Errorf("exec: %w", err)
	}
	return e, nil
}

func (l *loop) detach(ctx context.Context, p control.Process, started func(pid int) error) (control.Exit, error) {
	leave, err := l.admit(p)
	if err != nil {
		return control.Exit{}, err
	}
	defer leave()
	if err := l.reserve(p.ID); err != nil {
		return control.Exit{}, err
	}
	defer l.release(p.ID)
	var stdio control.Stdio
	if !p.Terminal {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return control.Exit{}, err
		}
		stdio.Stdout, stdio.Stderr = null, null
	}
	p.OpenStdin = false
	pr, done, err := l.startExec(p, stdio, func(logfile.Stream, []byte) {})
	if stdio.Stdout != nil {
		err = errors.Join(err, stdio.Stdout.Close()) // the process has its own
	}
	if err != nil {
		return control.Exit{}, err
	}
	if err := started(pr.tree.Pid()); err != nil {
		return control.Exit{}, err
	}
	select {
	case e := <-done:
		return e, nil
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
}

// Commands that are detached hold a call until they end, however long that is. What
// else is asked of the run loop must have room beside them.
const (
	maxDetached      = 256
	maxDetachedBytes = 4 << 20 // of arguments and environments
)

// admit counts a command that is to be detached, until leave is called.
func (l *loop) admit(p control.Process) (leave func(), err error) {
	size := 0
	for _, text := range slices.Concat(p.Args, p.Env) {
		size += len(text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.detached >= maxDetached || l.detached > 0 && l.detachedBytes+size > maxDetachedBytes {
		return nil, fmt.Errorf("%d commands run in the background already: %w", l.detached, syscall.EAGAIN)
	}
	l.detached++
	l.detachedBytes += size
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.detached--
		l.detachedBytes -= size
	}, nil
}

// execTerminal runs a process in a terminal of its own, whose output goes to
// the client, and to the log only when there is no client for it.
func (l *loop) execTerminal(ctx context.Context, p control.Process, stdio control.Stdio) (control.Exit, error) {
	h := newHub(false)
	to := emit(h.publish)
	if stdio.Stdout == nil {
		to = l.output
	}
	stdio.Stderr = nil
	c, err := join(h, stdio, false)
	if err != nil {
		return control.Exit{}, err
	}
	defer c.leave()
	closeStdio(stdio)
	pr, done, err := l.startExec(p, control.Stdio{}, to)
	if err != nil {
		return control.Exit{}, err
	}
	if err := c.feed(pr.input); err != nil {
		pr.close()
		return control.Exit{}, err
	}
	select {
	case e := <-done:
		h.end()
		c.serve(ctx, false)
		return e, nil
	case <-ctx.Done():
		pr.close()
		return control.Exit{}, ctx.Err()
	}
}

// startExec starts a process beside main, and sends its exit.
func (l *loop) startExec(p control.Process, stdio control.Stdio, to emit) (*proc, <-chan control.Exit, error) {
	l.starting.RLock()
	defer l.starting.RUnlock()
	if _, _, err := l.running(); err != nil {
		return nil, nil, err
	}
	pr, err := launch(l.tenant.get(), p, stdio, to)
	if err != nil {
		return nil, nil, err
	}
	return pr, l.follow(pr, p.ID), nil
}

// follow makes a started process known, and sends its exit when what it has
// written is on its way. What it leaves behind is not waited for.
func (l *loop) follow(pr *proc, id string) <-chan control.Exit {
	l.mu.Lock()
	l.procs[pr] = struct{}{}
	if id != "" {
		l.execs[id] = pr
	}
	l.mu.Unlock()
	done := make(chan control.Exit, 1)
	go func() {
		e := l.exitOfExec(pr)
		_ = pr.tree.Close() // forgets it; the tenant still has all its processes
		if pr.master != nil {
			pr.drain()
			pr.close()
		}
		done <- e
		pr.pumps.Wait() // pipes may have been left to others
		pr.close()
		l.mu.Lock()
		delete(l.procs, pr)
		l.mu.Unlock()
	}()
	return done
}

// reserve takes an id for an exec'ed process.
func (l *loop) reserve(id string) error {
	if id == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.execs[id]; taken {
		return fmt.Errorf("id %s: %w", id, fs.ErrExist)
	}
	l.execs[id] = nil
	return nil
}

func (l *loop) release(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != "" {
		delete(l.execs, id)
	}
}

// exitOfExec waits for the end of a process beside main. The end of the container may
// take with it who would have told: the process was killed, like all that is in it.
func (l *loop) exitOfExec(pr *proc) control.Exit {
	st, err := pr.tree.Main(context.Background())
	if err != nil {
		select {
		case <-l.ended:
			return control.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), At: time.Now().UTC()}
		case <-time.After(farewell):
		}
	}
	return exitOf(st, err)
}
