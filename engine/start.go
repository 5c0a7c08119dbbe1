package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
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
	next, err := e.turn(ctx, c)
	if err != nil {
		return err
	}
	defer next()
	return e.startStopped(ctx, c, opt)
}

// startStopped starts a container that does not run. The caller has the turn.
func (e *Engine) startStopped(ctx context.Context, c *container, opt api.StartOptions) error {
	release, err := e.hold(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	switch st, _ := c.get(); st.Phase {
	case api.StateCreated, api.StateExited:
	case api.StateRunning:
		return fmt.Errorf("start container %s: %w: it is running", c.name(), fs.ErrExist)
	default:
		return fmt.Errorf("start container %s: it is %s: %w", c.name(), st.Phase, fs.ErrNotExist)
	}
	// Not to be left half done because the caller went away.
	if err := e.start(context.WithoutCancel(ctx), c, opt); err != nil {
		return fmt.Errorf("start container %s: %w", c.name(), err)
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
	if spec.Mounts, err = e.reopened(ctx, c, spec.Mounts); err != nil {
		return e.neverRan(ctx, c, err)
	}
	defer closeMounts(spec.Mounts)

	s := e.site(c.id)
	// What the last run could not give back is in the way of this one.
	if err := s.Run.Unwind(ctx); err != nil {
		return err
	}
	err = e.startRun(ctx, c, spec, opt)
	if ipc.CodeOf(err) == ipc.CodeUnavailable {
		// The run loop died before it was asked: the one that was kept ready,
		// killed by somebody. Main was not started; a new one starts it.
		if err = s.Run.Unwind(ctx); err == nil {
			err = e.startRun(ctx, c, spec, opt)
		}
	}
	if err != nil {
		return e.neverRan(ctx, c, errors.Join(err, s.Run.Unwind(ctx)))
	}
	return nil
}

// startRun acquires the run stack and starts main.
func (e *Engine) startRun(ctx context.Context, c *container, spec host.Spec, opt api.StartOptions) error {
	var loop host.Loop
	begun := time.Now()
	if err := e.connect(ctx, c); err != nil {
		return err
	}
	spec.Interfaces = interfaces(e.connections(c))
	pub, err := e.publish(ctx, c)
	if err != nil {
		return err
	}
	defer pub.close() // the proxy has its own
	spec.Publish, spec.Forwards = pub.redirects, pub.forwards
	if err := e.startNames(c); err != nil {
		return err
	}
	steps, err := e.host.Run(spec, e.loopConfig(c), &loop)
	if err != nil {
		return err
	}
	if err := e.site(c.id).Run.Acquire(ctx, steps); err != nil {
		loop.Close()
		return err
	}
	// Asked before, so that the run loop knows that somebody waits however
	// soon main ends, and need not make the record durable itself.
	end := e.askEnd(&loop)
	if err := e.startMain(ctx, c, &loop, opt, pub.ports); err != nil {
		loop.Close()
		return err
	}
	e.watch(c, &loop, end, max(settled, settledFactor*time.Since(begun)))
	return nil
}

// startTime bounds how long a run loop may take to execute main where no init
// commands come before it.
const startTime = 2 * time.Minute

// startMain starts main. The record says before that main may have run, and
// after, that it does: main is never started twice by mistake.
func (e *Engine) startMain(ctx context.Context, c *container, loop *host.Loop, opt api.StartOptions, ports []api.Port) error {
	if err := e.save(ctx, c, state{Phase: phaseStarting, Ports: ports}, nil); err != nil {
		return err
	}
	starting, done := e.starting(ctx, c, loop)
	e.trace("start main before")
	pid, err := loop.Control.Start(starting, e.mainProcess(c, opt.Size), control.Stdio(opt.Stdio))
	e.trace("start main after")
	if err != nil && errors.Is(context.Cause(starting), errClosed) {
		err = fmt.Errorf("its init commands ran: %w", errClosed)
	}
	done()
	if err != nil {
		return commandError(err)
	}
	return e.save(ctx, c, state{Phase: api.StateRunning, Pid: pid, Started: time.Now().UTC(), Ports: ports}, loop, c.event(api.EventStart))
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
// machine for its own start, at the earliest: on a slow machine that is
// settledFactor times what the engine needed for it.
const (
	settled       = 50 * time.Millisecond
	settledFactor = 3
)

func (e *Engine) mainProcess(c *container, size api.Size) control.Process {
	return control.Process{
		Args: c.plan.Args, Env: e.env(c), Dir: c.plan.WorkDir, User: c.plan.User,
		Terminal: c.plan.Spec.Terminal, Size: control.Size(size), WaitMain: c.plan.Spec.WaitMain, OpenStdin: c.plan.Spec.OpenStdin,
		Ulimits: ulimits(c.plan.Spec.Limits.Ulimits),
		Init:    commands(c.plan.Init), Deinit: commands(c.plan.Deinit), DeinitTimeout: time.Duration(c.plan.DeinitTimeout) * time.Second,
	}
}

// env is the environment of a container's processes.
func (e *Engine) env(c *container) []string {
	return overlay(networkEnv(c.id, e.connections(c)), c.plan.Env)
}

// neverRan records a start that failed, and returns why.
func (e *Engine) neverRan(ctx context.Context, c *container, cause error) error {
	e.disconnect(c)
	e.releasePorts(c)
	st := state{Phase: api.StateExited, Exit: &api.Exit{Code: exitCode(cause), Error: cause.Error(), At: time.Now().UTC()}}
	if err := e.recordEnd(ctx, c, st); err != nil {
		c.set(st, nil) // nobody may wait for a disk
		return errors.Join(cause, err)
	}
	if c.plan.Spec.AutoRemove {
		return errors.Join(cause, e.remove(ctx, c, false))
	}
	return cause
}

// ending is the answer of a run loop to the question how main ended.
type ending struct {
	exit control.Exit
	err  error
}

// askEnd asks a run loop how main ends. The answer comes with the end of the
// connection at the latest.
func (e *Engine) askEnd(loop *host.Loop) <-chan ending {
	answer := make(chan ending, 1)
	go func() {
		exit, err := loop.Control.Wait(e.ctx)
		answer <- ending{exit, err}
	}()
	return answer
}

// watch waits for the end of a running container in the background and cleans
// up after it. It gives up, and leaves the container running, when the engine
// is closed. Settling is how long nothing is to be made ready for the next one.
func (e *Engine) watch(c *container, loop *host.Loop, answer <-chan ending, settling time.Duration) {
	e.watchers.Add(1)
	go func() {
		defer e.watchers.Done()
		defer loop.Close()
		later := time.AfterFunc(settling, e.ready)
		end := <-answer
		if e.ctx.Err() != nil {
			later.Stop()
			return
		}
		if end.err != nil {
			// The run loop is gone. It may have left its record first.
			end.exit = e.exitRecord(c.id)
		}
		release, err := e.hold(context.Background(), c)
		if err != nil {
			return
		}
		defer release()
		e.finish(c, end.exit, func() { // whoever waits has its answer first
			if later.Stop() {
				e.ready()
			}
		})
	}()
}

// finish records the end of a container's run and gives back what only a
// running one has. The container's op is held by the caller. What fails is
// reported; the journal keeps it. Recorded is called in between.
func (e *Engine) finish(c *container, exit control.Exit, recorded func()) {
	ctx := context.Background()
	st, _ := c.get()
	out := fromControl(exit)
	e.ports.end(c.id)
	oom, oomErr := e.host.OutOfMemory(e.hostSpec(c))
	out.OOM = oom
	ended := state{Phase: api.StateExited, Started: st.Started, Exit: &out}
	err := e.recordEnd(ctx, c, ended)
	if err != nil {
		// A full disk, most likely. Whoever waits goes on; the record follows.
		c.set(ended, nil)
		e.watchers.Add(1)
		go e.recordLater(c, ended)
	}
	recorded()
	e.disconnect(c)
	if err == nil && c.plan.Spec.AutoRemove {
		err = e.remove(ctx, c, false)
	} else {
		err = errors.Join(err, e.unwindRun(ctx, c.id))
	}
	e.releasePorts(c)
	e.reportCleanUp(c, errors.Join(err, oomErr))
}

func (e *Engine) reportCleanUp(c *container, err error) {
	if err != nil {
		e.cfg.Report(fmt.Errorf("clean up after container %s: %w", c.name(), err))
	}
}

// recordEvery is how often the record of an end that could not be written is
// tried again.
const recordEvery = 3 * time.Second

// recordLater writes the record of an end once that can be done. When the
// engine is closed before, the run loop's own record tells the next one.
func (e *Engine) recordLater(c *container, ended state) {
	defer e.watchers.Done()
	for {
		select {
		case <-time.After(recordEvery):
		case <-e.ctx.Done():
			return
		}
		release, err := e.hold(e.ctx, c)
		if err != nil {
			return
		}
		st, _ := c.get()
		if st.Exit != ended.Exit {
			release()
			return // it was started again, or removed
		}
		err = e.recordEnd(context.Background(), c, ended)
		if err == nil && c.plan.Spec.AutoRemove {
			e.reportCleanUp(c, e.remove(context.Background(), c, false))
		}
		release()
		if err == nil {
			return
		}
	}
}

// recordEnd writes the end of a run. Whoever waits goes on from here; who
// wants the name, the image or the root of this container waits for the rest.
func (e *Engine) recordEnd(ctx context.Context, c *container, ended state) error {
	c.acts.Lock() // what was done to it before its end is told before
	defer c.acts.Unlock()
	happened := c.ended(*ended.Exit)
	if !c.plan.Spec.AutoRemove {
		return e.save(ctx, c, ended, nil, happened...)
	}
	events, err := rows(happened)
	if err != nil {
		return err
	}
	// One transaction says all there is to say until it is gone.
	ended.Phase = phaseRemoving
	return e.record(c, ended, nil, func(st []byte) error {
		exit, err := json.Marshal(ended.Exit)
		if err != nil {
			return err
		}
		return e.db.EndContainer(ctx, c.id, st, exit, events...)
	})
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

func (e *Engine) unwindRun(ctx context.Context, id string) error { return e.site(id).Run.Unwind(ctx) }

// site is the site of a container.
func (e *Engine) site(id string) *site.Site {
	s := site.New(id, e.journal, e.table)
	s.Trace = e.cfg.Trace
	return s
}

// StopContainer implements api.Containers.
func (e *Engine) StopContainer(ctx context.Context, name string, opt api.StopOptions) error {
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	how, err := c.stopping(opt)
	if err != nil {
		return err
	}
	next, err := e.turnOver(ctx, c, how.stop(ctx)) // a restart under way is to be stopped as well
	if err != nil {
		return err
	}
	next()
	stopped, err := e.stop(ctx, c, how)
	if err != nil || !stopped {
		return err
	}
	e.tell(c.event(api.EventStop))
	return nil
}

// stopping says how a container is stopped.
type stopping struct {
	signal  syscall.Signal
	timeout time.Duration // 0: killed at once
}

// atOnce is to kill it.
var atOnce = stopping{signal: syscall.SIGKILL}

func (s stopping) stop(ctx context.Context) func(control.Control) error {
	return func(c control.Control) error { return c.Stop(ctx, int(s.signal), s.timeout) }
}

// stopping is how a container is stopped where nothing else is said.
func (c *container) stopping(opt api.StopOptions) (s stopping, err error) {
	s.signal, err = signalNumber(cmp.Or(opt.Signal, c.plan.Signal))
	timeout := c.plan.Timeout
	if opt.Timeout != nil {
		timeout = *opt.Timeout
	}
	s.timeout = time.Duration(timeout) * time.Second
	if err = cmp.Or(err, checkTimeout(timeout)); err != nil {
		return s, fmt.Errorf("stop container %s: %w", c.name(), err)
	}
	return s, nil
}

// stop stops a container, and tells whether it ran.
func (e *Engine) stop(ctx context.Context, c *container, how stopping) (bool, error) {
	release, err := e.hold(ctx, c) // a start under way is to be stopped as well
	if err != nil {
		return false, err
	}
	loop := c.running()
	release()
	if loop == nil {
		return false, nil
	}
	if err := how.stop(ctx)(loop.Control); err != nil && !lostLoop(err) {
		return false, fmt.Errorf("stop container %s: %w", c.name(), askError(loop, err))
	}
	return true, e.awaitEnd(ctx, c, loop)
}

// awaitEnd returns once the end of this run has been recorded and cleaned up: who
// stops a container may want what it had. Ports would be waited for, but not the
// addresses that a network has left, nor what programs of the host take.
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
			return fmt.Errorf("wait for container %s: %w", c.name(), ctx.Err())
		case <-e.ctx.Done():
			return errClosed
		}
	}
}

// KillContainer implements api.Containers.
func (e *Engine) KillContainer(ctx context.Context, name, signal string) error {
	sig, err := signalNumber(cmp.Or(signal, "KILL"))
	if err != nil {
		return fmt.Errorf("kill container %s: %w", name, err)
	}
	c, err := e.find(ctx, name)
	if err != nil {
		return fmt.Errorf("kill container %s: %w", name, err)
	}
	loop := c.running()
	if loop == nil {
		loop = c.initializing()
	}
	if loop == nil {
		return fmt.Errorf("kill container %s: %w", c.name(), c.notRunning())
	}
	c.acts.RLock()
	defer c.acts.RUnlock()
	if err := loop.Control.Signal(ctx, int(sig), false); err != nil {
		return fmt.Errorf("kill container %s: %w", c.name(), askError(loop, err))
	}
	e.tell(c.event(api.EventKill, "signal", signalName(sig)))
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
	next, err := e.turnOver(ctx, c, func(loop control.Control) error {
		if !opt.Force {
			return fmt.Errorf("remove container %s: its init commands run: stop it first, or use force", c.name())
		}
		return atOnce.stop(ctx)(loop)
	})
	if err != nil {
		return err
	}
	defer next()
	for {
		release, err := e.hold(ctx, c)
		if err != nil {
			return err
		}
		switch st, _ := c.get(); {
		case st.Phase == phaseRemoved:
			release()
			return nil // it removed itself while we waited
		case st.Phase != api.StateRunning:
			err := e.remove(context.WithoutCancel(ctx), c, opt.Volumes)
			release()
			if err != nil {
				return fmt.Errorf("remove container %s: %w", c.name(), err)
			}
			return nil
		}
		release()
		if !opt.Force {
			return fmt.Errorf("remove container %s: it is running: stop it first, or use force", c.name())
		}
		if _, err := e.stop(ctx, c, atOnce); err != nil {
			return fmt.Errorf("remove container %s: %w", c.name(), err)
		}
	}
}

// remove unwinds both stacks and forgets the container, and its anonymous
// volumes if asked to, or if it removes itself. It may be called again after a
// failure or a crash.
func (e *Engine) remove(ctx context.Context, c *container, volumes bool) error {
	st, _ := c.get()
	if st.Phase != phaseRemoving {
		st.Phase, st.Volumes = phaseRemoving, volumes
		// On a full disk the root goes first: it makes the room for the record.
		if err := e.save(ctx, c, st, nil); errors.Is(err, syscall.ENOSPC) {
			c.set(st, nil)
		} else if err != nil {
			return err
		}
	}
	if !st.Volumes && !c.plan.Spec.AutoRemove {
		if err := e.keepVolumes(ctx, c); err != nil {
			return err
		}
	}
	if err := e.site(c.id).Unwind(ctx); err != nil {
		return err
	}
	return e.forget(ctx, c)
}
