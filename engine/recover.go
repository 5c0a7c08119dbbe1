package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
)

// recover brings the records and the host together after whatever happened:
// it finds the containers whose run loops live, records the ends it missed,
// and gives back what nobody needs any more. What cannot be given back now is
// reported, stays journaled, and is tried again by the next Open.
func (e *Engine) recover(ctx context.Context) error {
	records, err := e.db.Containers(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		c, err := decode(r)
		if err != nil {
			return err
		}
		e.containers[c.id] = c
	}
	sites, err := e.journal.Sites(ctx)
	if err != nil {
		return err
	}
	for _, id := range sites {
		if e.containers[id] != nil {
			continue
		}
		s := site.New(id, e.journal, e.table)
		if err := s.Unwind(ctx); err != nil {
			e.cfg.Report(fmt.Errorf("recover site %s, which has no record: %w", id, err))
		}
	}
	for _, c := range e.containers {
		if err := e.recoverContainer(ctx, c); err != nil {
			e.cfg.Report(fmt.Errorf("recover container %s: %w", c.plan.Name, err))
		}
	}
	ids := map[string]bool{}
	for id := range e.containers {
		ids[id] = true
	}
	return e.host.Sweep(ctx, ids)
}

func (e *Engine) recoverContainer(ctx context.Context, c *container) error {
	switch c.state.Phase {
	case phaseCreating:
		s := site.New(c.id, e.journal, e.table)
		if err := s.Unwind(ctx); err != nil {
			return err
		}
		return e.forget(ctx, c)
	case phaseRemoving:
		return e.remove(ctx, c)
	}
	pending, err := site.New(c.id, e.journal, e.table).Run.Pending(ctx)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		adopted, err := e.adopt(ctx, c)
		if adopted || err != nil {
			return err
		}
	}
	if c.state.Phase == api.StateRunning {
		return e.finish(ctx, c, e.exitRecord(c.id))
	}
	return e.unwindRun(ctx, c.id)
}

// adoptTime bounds how long a run loop may take to answer.
const adoptTime = 10 * time.Second

// adopt takes a container back whose run loop lives and has started main.
func (e *Engine) adopt(ctx context.Context, c *container) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	loop, err := e.host.Dial(ctx, c.id)
	if err != nil {
		return false, nil // it is gone; its undo makes sure of that
	}
	st, err := loop.Control.State(ctx)
	if err != nil || st.Started.IsZero() {
		loop.Close()
		return false, nil
	}
	if c.state.Phase != api.StateRunning || c.state.Pid != st.Main {
		now := state{Phase: api.StateRunning, Pid: st.Main, Started: st.Started}
		if err := e.save(ctx, c, now, loop); err != nil {
			loop.Close()
			return false, err
		}
	} else {
		c.set(c.state, loop)
	}
	e.watch(c, loop)
	return true, nil
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

func (e *Engine) rememberExit(ctx context.Context, id string, exit api.Exit) error {
	b, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	return e.db.PutExit(ctx, id, b)
}

func (e *Engine) rememberedExit(ctx context.Context, id string) (exit api.Exit, err error) {
	b, err := e.db.Exit(ctx, id)
	if err != nil {
		return exit, err
	}
	return exit, json.Unmarshal(b, &exit)
}
