package engine

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// ExecContainer implements api.Containers.
func (e *Engine) ExecContainer(ctx context.Context, name string, opt api.ExecOptions) (api.Exit, error) {
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return api.Exit{}, fmt.Errorf("exec: %w", err)
	}
	if len(opt.Args) == 0 || opt.Args[0] == "" {
		return api.Exit{}, fmt.Errorf("exec in container %s: %w: no command", c.name(), fs.ErrInvalid)
	}
	if err := ipc.CheckText(opt); err != nil {
		return api.Exit{}, fmt.Errorf("exec in container %s: %w", c.name(), err)
	}
	if opt.Detach && opt.Stdio != (api.Stdio{}) {
		return api.Exit{}, fmt.Errorf("exec in container %s: %w: who is detached has no streams", c.name(), fs.ErrInvalid)
	}
	p := control.Process{
		ID: opt.ID, Args: opt.Args, Env: environment(e.env(c), opt.Env, c.plan.Hostname, opt.Terminal),
		Dir: cmp.Or(opt.WorkDir, c.plan.WorkDir), User: cmp.Or(opt.User, c.plan.User),
		Terminal: opt.Terminal, Size: control.Size(opt.Size), Ulimits: ulimits(c.plan.Spec.Limits.Ulimits),
	}
	if opt.Detach {
		return api.Exit{}, e.detach(ctx, c, loop, opt, p)
	}
	e.tell(c.execEvent(api.EventExec, opt))
	exit, err := loop.Control.Exec(ctx, p, control.Stdio(opt.Stdio))
	return e.execEnded(ctx, c, loop, opt, exit, err)
}

// execEnded tells how a command has ended, or why it was not run, and returns it.
func (e *Engine) execEnded(ctx context.Context, c *container, loop *host.Loop, opt api.ExecOptions, exit control.Exit, err error) (api.Exit, error) {
	if err != nil {
		err = fmt.Errorf("exec in container %s: %w", c.name(), commandError(askError(loop, err)))
		if ctx.Err() == nil { // else it goes on, as far as is known
			e.tellExec(c, opt, api.Exit{Code: exitCode(err), Error: err.Error(), At: time.Now().UTC()})
		}
		return api.Exit{}, err
	}
	out := fromControl(exit)
	e.tellExec(c, opt, out)
	return out, nil
}

// detach starts a command and leaves it to itself. Its end is waited for, to be told,
// as long as there is this engine.
func (e *Engine) detach(ctx context.Context, c *container, loop *host.Loop, opt api.ExecOptions, p control.Process) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	e.tell(c.execEvent(api.EventExec, opt))
	begun, failed := make(chan struct{}), make(chan error, 1)
	e.watchers.Go(func() {
		exit, err := loop.Control.Detach(e.ctx, p, func(int) error {
			close(begun)
			return nil
		})
		_, err = e.execEnded(e.ctx, c, loop, opt, exit, err)
		failed <- err
	})
	select {
	case <-begun:
		return nil
	case err := <-failed:
		return err // nil: what has ended has begun
	case <-ctx.Done():
		return fmt.Errorf("exec in container %s: %w", c.name(), ctx.Err())
	}
}

func (e *Engine) tellExec(c *container, opt api.ExecOptions, exit api.Exit) {
	ev := c.execEvent(api.EventExecExit, opt)
	ev.Exit = &exit
	e.tell(ev)
}

// AttachContainer implements api.Containers.
func (e *Engine) AttachContainer(ctx context.Context, name string, opt api.AttachOptions) error {
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if err := loop.Control.Attach(ctx, control.Stdio(opt.Stdio), opt.Replay, control.Size(opt.Size)); err != nil && !lostLoop(err) {
		return fmt.Errorf("attach to container %s: %w", c.name(), askError(loop, err))
	}
	return nil
}

// ResizeContainer implements api.Containers.
func (e *Engine) ResizeContainer(ctx context.Context, name, exec string, size api.Size) error {
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	if err := loop.Control.Resize(ctx, exec, control.Size(size)); err != nil {
		return fmt.Errorf("resize the terminal of container %s: %w", c.name(), askError(loop, err))
	}
	return nil
}

// ContainerLogs implements api.Containers.
func (e *Engine) ContainerLogs(ctx context.Context, name string, opt api.LogOptions, emit func(api.LogEntry) error) error {
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	q := logfile.Query{Since: opt.Since, Until: opt.Until, Tail: opt.Tail}
	if opt.Follow {
		q.Follow = e.ended(ctx, c)
	}
	err = logfile.Read(ctx, e.logPath(c.id), q, func(r logfile.Record) error {
		return emit(api.LogEntry{Time: r.Time, Stream: streams[r.Stream], Data: r.Data})
	})
	if err != nil {
		return fmt.Errorf("read the log of container %s: %w", c.name(), err)
	}
	return nil
}

// streams are the names of the log's streams. What the log says itself, that
// output was dropped, is of the error stream.
var streams = map[logfile.Stream]string{logfile.Stdout: "stdout", logfile.Stderr: "stderr", logfile.Note: "stderr"}

// ended returns a channel that is closed when the container has run.
func (e *Engine) ended(ctx context.Context, c *container) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			st, changed := c.get()
			switch st.Phase {
			case api.StateCreated, phaseStarting, api.StateRunning:
			default:
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-e.ctx.Done():
				return
			}
		}
	}()
	return done
}
