package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/joyboyid/xc/engine/api"
)

// WaitContainer implements api.Containers.
func (e *Engine) WaitContainer(ctx context.Context, name string, opt api.WaitOptions) (api.Exit, error) {
	switch opt.Condition {
	case "", api.WaitNotRunning, api.WaitNextExit, api.WaitRemoved:
	default:
		return api.Exit{}, fmt.Errorf("wait for container %s: condition %q: %w: expected %s, %s or %s",
			name, opt.Condition, fs.ErrInvalid, api.WaitNotRunning, api.WaitNextExit, api.WaitRemoved)
	}
	c, err := e.find(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		// A container that removed itself is remembered by its id.
		exit, exitErr := e.rememberedExit(ctx, name)
		if exitErr == nil && (opt.Condition != api.WaitNextExit || after(exit, opt)) {
			return exit, nil
		}
	}
	if err != nil {
		return api.Exit{}, err
	}
	exit, err := e.await(ctx, c, opt)
	if err != nil {
		return exit, fmt.Errorf("wait for container %s: %w", c.name(), err)
	}
	return exit, nil
}

// after tells whether an end is one that WaitNextExit takes though it has come.
func after(exit api.Exit, opt api.WaitOptions) bool {
	return !opt.Since.IsZero() && exit.At.After(opt.Since)
}

// await waits until the condition holds.
func (e *Engine) await(ctx context.Context, c *container, opt api.WaitOptions) (api.Exit, error) {
	first, _ := c.get()
	for {
		c.mu.Lock()
		st, run, changed := c.state, c.run, c.changed
		c.mu.Unlock()
		if opt.Condition == api.WaitRemoved {
			run = nil
		}
		end := changed
		if run != nil {
			end = run.done // by the time one looks it may run again
		} else if exit, ok, err := waited(opt, first, st); ok || err != nil {
			return exit, err
		}
		select {
		case <-end:
			if run != nil {
				return run.exit, nil
			}
		case <-ctx.Done():
			return api.Exit{}, ctx.Err()
		case <-e.ctx.Done():
			return api.Exit{}, errClosed
		}
	}
}

// waited tells whether a condition holds of a container that does not run, as
// far as is recorded, and was in the state first when the wait began.
func waited(opt api.WaitOptions, first, st state) (exit api.Exit, ok bool, err error) {
	if st.Exit != nil {
		exit = *st.Exit
	}
	ended := st.Exit != nil
	switch opt.Condition {
	case api.WaitRemoved:
		return exit, st.Phase == phaseRemoved, nil
	case api.WaitNotRunning:
		ok = st.Phase != phaseStarting
	case api.WaitNextExit:
		ok = ended && (st.Exit != first.Exit || after(exit, opt))
	default:
		ok = ended
	}
	if !ok && st.Phase == phaseRemoved {
		err = fmt.Errorf("it was removed: %w", fs.ErrNotExist)
	}
	return exit, ok, err
}
