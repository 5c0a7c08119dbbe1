package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
)

// StartContainer implements api.Containers.
func (e *Engine) StartContainer(ctx context.Context, name string, opt api.StartOptions) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	release, err := e.hold(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	switch st, _ := c.get(); st.Phase {
	case api.StateCreated, api.StateExited:
	case api.StateRunning:
		return fmt.Errorf("start container %s: %w: it is running", c.plan.Name, fs.ErrExist)
	default:
		return fmt.Errorf("start container %s: %w", c.plan.Name, fs.ErrNotExist)
	}
	// Not to be left half done because the caller went away.
	if err := e.start(context.WithoutCancel(ctx), c, opt); err != nil {
		return fmt.Errorf("start container %s: %w", c.plan.Name, err)
	}
	return nil
}

// start acquires the run stack, whose last step is the run loop, starts main
// and records that it runs. Whatever fails, nothing is left.
func (e *Engine) start(ctx context.Context, c *container, opt api.StartOptions) (err error) {
	defer c.closeOpened()
	if err := os.Remove(e.exitPath(c.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the last exit record: %w", err)
	}
	spec := e.hostSpec(c)
	if spec.Mounts, err = reopened(c, spec.Mounts); err != nil {
		return err
	}
	defer closeMounts(spec.Mounts)

	s := site.New(c.id, e.journal, e.table)
	s.Trace = e.cfg.Trace
	var loop host.Loop
	steps, err := e.host.Run(spec, e.loopConfig(c), &loop)
	if err != nil {
		return err
	}
	if err := s.Run.Acquire(ctx, steps); err != nil {
		return e.neverRan(ctx, c, err)
	}
	e.trace("start main before")
	pid, err := loop.Control.Start(ctx, mainProcess(c, opt.Size), control.Stdio(opt.Stdio))
	e.trace("start main after")
	if err != nil {
		loop.Close()
		return e.neverRan(ctx, c, errors.Join(commandError(c.plan.Args[0], err), s.Run.Unwind(ctx)))
	}
	st := state{Phase: api.StateRunning, Pid: pid, Started: time.Now().UTC()}
	if err := e.save(ctx, c, st, &loop); err != nil {
		loop.Close()
		return errors.Join(err, s.Run.Unwind(ctx))
	}
	e.watch(c, &loop)
	return nil
}

// ready makes a run loop ready for the next start, in the background.
func (e *Engine) ready() {
	if !e.cfg.Spare || e.begin() != nil {
		return
	}
	go func() {
		defer e.end()
		if err := e.host.Ready(); err != nil {
			e.cfg.Report(fmt.Errorf("keep a run loop ready: %w", err))
		}
	}()
}

// settled is when a container that was started no longer needs all of the
// machine for its own start.
const settled = 50 * time.Millisecond

func mainProcess(c *container, size api.Size) control.Process {
	return control.Process{
		Args: c.plan.Args, Env: c.plan.Env, Dir: c.plan.WorkDir, User: c.plan.User,
		Terminal: c.plan.Spec.Terminal, Size: control.Size(size), WaitMain: c.plan.Spec.WaitMain, OpenStdin: c.plan.Spec.OpenStdin,
	}
}

// neverRan records a start that failed, and returns why.
func (e *Engine) neverRan(ctx context.Context, c *container, cause error) error {
	st := state{Phase: api.StateExited, Exit: &api.Exit{Code: exitCode(cause), Error: cause.Error(), At: time.Now().UTC()}}
	if err := e.save(ctx, c, st, nil); err != nil {
		return errors.Join(cause, err)
	}
	if c.plan.Spec.AutoRemove {
		return errors.Join(cause, e.remove(ctx, c))
	}
	return cause
}

// watch waits for the end of a running container in the background and cleans
// up after it. It gives up, and leaves the container running, when the engine
// is closed.
func (e *Engine) watch(c *container, loop *host.Loop) {
	e.watchers.Add(1)
	go func() {
		defer e.watchers.Done()
		defer loop.Close()
		later := time.AfterFunc(settled, e.ready)
		exit, err := loop.Control.Wait(e.ctx)
		if later.Stop() {
			e.ready()
		}
		if e.ctx.Err() != nil {
			return
		}
		if err != nil {
			// The run loop is gone. It may have left its record first.
			exit = e.exitRecord(c.id)
		}
		release, err := e.hold(context.Background(), c)
		if err != nil {
			return
		}
		defer release()
		if err := e.finish(context.Background(), c, exit); err != nil {
			e.cfg.Report(fmt.Errorf("clean up after container %s: %w", c.plan.Name, err))
		}
	}()
}

// finish records the end of a container's run and gives back what only a
// running one has. The container's op is held by the caller.
func (e *Engine) finish(ctx context.Context, c *container, exit control.Exit) error {
	st, _ := c.get()
	if st.Phase != api.StateRunning {
		return nil
	}
	out := fromControl(exit)
	if c.plan.Spec.AutoRemove {
		if err := e.rememberExit(ctx, c.id, out); err != nil {
			return err
		}
	}
	// Whoever waits goes on from here; who wants the name, the image or the
	// root of this container waits for the rest.
	if err := e.save(ctx, c, state{Phase: api.StateExited, Started: st.Started, Exit: &out}, nil); err != nil {
		return err
	}
	if c.plan.Spec.AutoRemove {
		return e.remove(ctx, c)
	}
	return e.unwindRun(ctx, c.id)
}

// gone waits for a container that is removing itself. It returns false for any
// other, and for one whose removal failed.
func (e *Engine) gone(ctx context.Context, c *container) (bool, error) {
	st, _ := c.get()
	if !c.plan.Spec.AutoRemove || st.Phase != api.StateExited && st.Phase != phaseRemoving {
		return st.Phase == phaseRemoved, nil
	}
	release, err := e.hold(ctx, c) // which its removal has
	if err != nil {
		return false, err
	}
	defer release()
	st, _ = c.get()
	return st.Phase == phaseRemoved, nil
}

func (e *Engine) unwindRun(ctx context.Context, id string) error {
	s := site.New(id, e.journal, e.table)
	s.Trace = e.cfg.Trace
	return s.Run.Unwind(ctx)
}

// WaitContainer implements api.Containers.
func (e *Engine) WaitContainer(ctx context.Context, name string) (api.Exit, error) {
	c, err := e.find(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		// A container that removed itself is remembered by its id.
		if exit, err := e.rememberedExit(ctx, name); err == nil {
			return exit, nil
		}
	}
	if err != nil {
		return api.Exit{}, err
	}
	for {
		st, changed := c.get()
		switch {
		case st.Phase != api.StateRunning && st.Exit != nil:
			return *st.Exit, nil
		case st.Phase == phaseRemoved:
			return api.Exit{}, fmt.Errorf("wait for container %s: it was removed: %w", c.plan.Name, fs.ErrNotExist)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return api.Exit{}, fmt.Errorf("wait for container %s: %w", c.plan.Name, ctx.Err())
		case <-e.ctx.Done():
			return api.Exit{}, fmt.Errorf("wait for container %s: %w", c.plan.Name, errClosed)
		}
	}
}

// StopContainer implements api.Containers.
func (e *Engine) StopContainer(ctx context.Context, name string, opt api.StopOptions) error {
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	sig, err := signalNumber(firstOf(opt.Signal, c.plan.Signal))
	if err != nil {
		return fmt.Errorf("stop container %s: %w", c.plan.Name, err)
	}
	timeout := c.plan.Timeout
	if opt.Timeout != nil {
		timeout = *opt.Timeout
	}
	c.mu.Lock()
	loop := c.loop
	c.mu.Unlock()
	if loop == nil {
		return nil
	}
	if err := loop.Control.Stop(ctx, int(sig), time.Duration(timeout)*time.Second); err != nil && !lostLoop(err) {
		return fmt.Errorf("stop container %s: %w", c.plan.Name, err)
	}
	return e.awaitEnd(ctx, c, loop)
}

// awaitEnd returns once the end of this run has been recorded and cleaned up.
func (e *Engine) awaitEnd(ctx context.Context, c *container, loop *host.Loop) error {
	for {
		c.mu.Lock()
		now, changed := c.loop, c.changed
		c.mu.Unlock()
		if now != loop {
			release, err := e.hold(ctx, c) // the clean-up runs under it
			if err != nil {
				return err
			}
			release()
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for container %s: %w", c.plan.Name, ctx.Err())
		case <-e.ctx.Done():
			return errClosed
		}
	}
}

// KillContainer implements api.Containers.
func (e *Engine) KillContainer(ctx context.Context, name, signal string) error {
	sig, err := signalNumber(firstOf(signal, "KILL"))
	if err != nil {
		return fmt.Errorf("kill container %s: %w", name, err)
	}
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return fmt.Errorf("kill container %s: %w", name, err)
	}
	if err := loop.Control.Signal(ctx, int(sig), false); err != nil {
		return fmt.Errorf("kill container %s: %w", c.plan.Name, err)
	}
	return nil
}

// RemoveContainer implements api.Containers.
func (e *Engine) RemoveContainer(ctx context.Context, name string, opt api.RemoveOptions) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	if opt.Force {
		now := 0
		if err := e.StopContainer(ctx, c.id, api.StopOptions{Signal: "KILL", Timeout: &now}); err != nil {
			return fmt.Errorf("remove container %s: %w", c.plan.Name, err)
		}
	}
	release, err := e.hold(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	switch st, _ := c.get(); st.Phase {
	case api.StateRunning:
		return fmt.Errorf("remove container %s: it is running: stop it first, or use force", c.plan.Name)
	case phaseRemoved:
		return nil // it removed itself while we waited
	}
	if err := e.remove(context.WithoutCancel(ctx), c); err != nil {
		return fmt.Errorf("remove container %s: %w", c.plan.Name, err)
	}
	return nil
}

// remove unwinds both stacks and forgets the container. It may be called
// again after a failure or a crash.
func (e *Engine) remove(ctx context.Context, c *container) error {
	st, _ := c.get()
	if st.Phase != phaseRemoving {
		st.Phase = phaseRemoving
		if err := e.save(ctx, c, st, nil); err != nil {
			return err
		}
	}
	s := site.New(c.id, e.journal, e.table)
	s.Trace = e.cfg.Trace
	if err := errors.Join(s.Run.Unwind(ctx), s.Held.Unwind(ctx)); err != nil {
		return err
	}
	return e.forget(ctx, c)
}
