package engine

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/joyboyid/xc/engine/api"
)

// RestartContainer implements api.Containers.
func (e *Engine) RestartContainer(ctx context.Context, name string, opt api.StopOptions) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	if c.plan.Spec.AutoRemove {
		return fmt.Errorf("restart container %s: %w: it removes itself when it ends (--rm)", c.name(), fs.ErrInvalid)
	}
	how, err := c.stopping(opt)
	if err != nil {
		return err
	}
	next, err := e.turnOver(ctx, c, how.stop(ctx))
	if err != nil {
		return err
	}
	defer next()
	// Not to be left half done because the caller went away; only by Close.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	if _, err := e.stop(ctx, c, how); err != nil {
		return err
	}
	if err := e.startStopped(ctx, c, api.StartOptions{}); err != nil {
		return err
	}
	e.tell(c.event(api.EventRestart))
	return nil
}

// RenameContainer implements api.Containers.
func (e *Engine) RenameContainer(ctx context.Context, name, to string) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	c, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	if err := checkName(to); err != nil {
		return fmt.Errorf("rename container %s: %w", c.name(), err)
	}
	release, err := e.hold(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	if st, _ := c.get(); st.Phase == phaseRemoved {
		return fmt.Errorf("rename container %s: it was removed: %w", c.name(), fs.ErrNotExist)
	}
	if to == c.name() {
		return nil
	}
	renamed := c.event(api.EventRename, "old_name", c.name())
	renamed.Name = to
	events, err := rows([]api.Event{renamed})
	if err != nil {
		return err
	}
	err = e.claim(ctx, to, func() error {
		e.trace("record rename before")
		defer e.trace("record rename after")
		return e.db.RenameContainer(ctx, c.id, to, events...)
	})
	if err != nil {
		return fmt.Errorf("rename container %s: %w", c.name(), err)
	}
	c.called.Store(&to)
	e.tellAll()
	return nil
}
