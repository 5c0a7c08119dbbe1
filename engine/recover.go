package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
)

// recover brings the records and the host together after whatever happened:
// it finds the containers whose run loops live, records the ends it missed,
// and gives back what nobody needs any more. What cannot be given back now is
// reported, stays journaled, and is tried again by the next Open.
func (e *Engine) recover(ctx context.Context) error {
	if err := e.recoverVolumes(ctx); err != nil {
		return err
	}
	records, err := e.db.Containers(ctx)
	if err != nil {
		return err
	}
	ids := map[string]bool{} // also of records that cannot be read: what is theirs stays
	var all []*container
	for _, r := range records {
		ids[r.ID] = true
		c, err := decode(r)
		if err != nil {
			e.cfg.Report(err)
			continue
		}
		all = append(all, c)
		e.containers[c.id] = c
		if err := e.joinNetworks(c); err != nil {
			e.cfg.Report(fmt.Errorf("container %s: %w", c.name(), err))
		}
	}
	sites, err := e.journal.Sites(ctx)
	if err != nil {
		return err
	}
	for _, id := range sites {
		if ids[id] {
			continue
		}
		if err := e.site(id).Unwind(ctx); err != nil {
			e.cfg.Report(fmt.Errorf("recover site %s, which has no record: %w", id, err))
		}
	}
	var group errgroup.Group
	group.SetLimit(8) // run loops answer one after the other where there is one processor
	for _, c := range all {
		group.Go(func() error {
			if err := e.recoverContainer(ctx, c); err != nil {
				e.cfg.Report(fmt.Errorf("recover container %s: %w", c.name(), err))
			}
			return nil
		})
	}
	err = group.Wait() // always nil
	e.tellAll()
	e.mu.Lock()
	for _, c := range all {
		if e.containers[c.id] == nil {
			delete(ids, c.id) // nothing is its own any more
		}
	}
	e.mu.Unlock()
	running := map[string]bool{}
	for id := range ids {
		pending, perr := e.site(id).Run.Pending(ctx)
		err = errors.Join(err, perr)
		running[id] = len(pending) > 0
	}
	if err != nil {
		return err
	}
	if err := e.host.Sweep(ctx, running); err != nil {
		e.cfg.Report(fmt.Errorf("sweep: %w", err))
	}
	return nil
}

// recoverContainer brings one container in order. Nobody else has it yet.
func (e *Engine) recoverContainer(ctx context.Context, c *container) error {
	c.op <- struct{}{}
	keep := false
	defer func() {
		if !keep {
			<-c.op
		}
	}()
	st, _ := c.get()
	switch st.Phase {
	case phaseCreating:
		return e.discard(ctx, c)
	case phaseRemoving:
		return e.remove(ctx, c, false)
	}
	pending, err := e.site(c.id).Run.Pending(ctx)
	if err != nil {
		return err
	}
	// A run loop whose run is over, by the record, may still be there, ending.
	mayRun := st.Phase == api.StateRunning || st.Phase == phaseStarting
	if path := host.LoopPath(pending); path != "" && mayRun {
		switch adopted, err := e.adopt(ctx, c, path); {
		case adopted:
			return nil
		case err != nil:
			// It is there and does not answer: stopped, or short of time. It is
			// asked again until it does, or is gone.
			keep = true
			c.setAbsent(e.silence(c, err))
			e.watchers.Add(1)
			go e.adoptLater(c, path)
			return err
		}
	}
	return e.recoverEnded(ctx, c, st)
}

// discard removes half a container. Its root may have been there before the journal
// could tell (it was kept ready), or be more durable than that (after a power cut).
func (e *Engine) discard(ctx context.Context, c *container) error {
	s := e.site(c.id)
	if err := s.Unwind(ctx); err != nil { // first, it makes room on a full disk
		return err
	}
	var undos []site.Undo
	for _, step := range e.holdSteps(c) {
		undos = append(undos, step.Undo)
	}
	if err := s.Held.Plan(ctx, undos...); err != nil {
		return err
	}
	if err := s.Unwind(ctx); err != nil {
		return err
	}
	return e.forget(ctx, c)
}

// recoverEnded brings a container in order whose run loop is gone.
func (e *Engine) recoverEnded(ctx context.Context, c *container, st state) error {
	switch {
	case st.Phase == api.StateRunning, st.Phase == phaseStarting:
		e.finish(c, e.exitRecord(c.id), func() {})
		return nil
	case c.plan.Spec.AutoRemove && st.Phase == api.StateExited:
		return e.remove(ctx, c, false)
	}
	return e.unwindRun(ctx, c.id)
}

// adoptTime bounds how long a run loop may take to answer.
const adoptTime = 10 * time.Second

// adopt takes a container back whose run loop lives and has started main. It
// returns false for one that is gone, and an error for one that may not be.
func (e *Engine) adopt(ctx context.Context, c *container, path string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	loop, err := host.Dial(ctx, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("its run loop does not answer: %w", err)
	}
	st, err := loop.Control.State(ctx)
	for err == nil && st.Started.IsZero() {
		// Its starter is gone: it starts main this moment, or ends.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-loop.Control.C.Done():
		}
		st, err = loop.Control.State(ctx)
	}
	if err != nil {
		defer loop.Close()
		if ipc.CodeOf(err) == ipc.CodeUnavailable && !host.Silent(err) { // it is ending
			select {
			case <-loop.Control.C.Done():
			case <-ctx.Done():
				return false, fmt.Errorf("its run loop does not end: %w", err)
			}
		}
		if lostLoop(err) {
			return false, nil
		}
		return false, fmt.Errorf("its run loop does not answer: %w", err)
	}
	if err := e.reconnect(ctx, c); err != nil {
		e.cfg.Report(fmt.Errorf("container %s: find its addresses, and put them into tables: %w", c.name(), err))
	}
	was, _ := c.get()
	now := state{Phase: api.StateRunning, Pid: st.Main, Started: st.Started, Ports: was.Ports}
	if err := e.republish(ctx, c, now.Ports); err != nil {
		e.cfg.Report(fmt.Errorf("container %s: publish its ports again: %w", c.name(), err))
	}
	var happened []api.Event
	if was.Phase == phaseStarting {
		happened = append(happened, c.event(api.EventStart))
	}
	if was.Phase == now.Phase && was.Pid == now.Pid {
		c.set(was, loop)
	} else if err := e.save(ctx, c, now, loop, happened...); err != nil {
		c.set(now, loop) // the record will say how it ended
		e.cfg.Report(err)
	}
	e.watch(c, loop, e.askEnd(loop), settled)
	return true, nil
}

// silence is what is said to those who want something of a container whose run loop
// is there and was not adopted because of err.
func (e *Engine) silence(c *container, err error) error {
	if st, _ := c.get(); errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("%w: end the container with the release of xc that started it, or kill process %d", err, st.Pid)
	}
	return fmt.Errorf("container %s: %w", c.name(), err)
}

// adoptLater asks a run loop that did not answer again and again. It holds the
// container's op.
func (e *Engine) adoptLater(c *container, path string) {
	defer e.watchers.Done()
	defer func() { <-c.op }()
	for {
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
			return
		}
		adopted, err := e.adopt(e.ctx, c, path)
		if err != nil {
			c.setAbsent(e.silence(c, err))
			continue
		}
		c.setAbsent(nil)
		e.tellAll()
		if !adopted {
			st, _ := c.get()
			if err := e.recoverEnded(context.Background(), c, st); err != nil {
				e.cfg.Report(fmt.Errorf("recover container %s: %w", c.name(), err))
			}
		}
		return
	}
}

// exitRecord reads what the run loop left. Without a record it was killed,
// and its container with it: how main ended is not known.
func (e *Engine) exitRecord(id string) control.Exit {
	exit, err := runloop.ReadExit(e.siteDir(id))
	if err == nil {
		return exit
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.cfg.Report(err)
	}
	return control.Exit{Code: 137, Lost: true, At: time.Now().UTC()}
}

func (e *Engine) rememberedExit(ctx context.Context, id string) (exit api.Exit, err error) {
	b, err := e.db.Exit(ctx, id)
	if err != nil {
		return exit, err
	}
	return exit, json.Unmarshal(b, &exit)
}
