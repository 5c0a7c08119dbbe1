package engine

import (
	"context"
	"errors"

	"github.com/joyboyid/xc/engine/api"
)

// RunContainer implements api.Containers.
func (e *Engine) RunContainer(ctx context.Context, spec api.ContainerSpec, opt api.StartOptions, progress func(api.RunProgress) error) (api.Exit, error) {
	c, err := e.CreateContainer(ctx, spec)
	if err != nil {
		return api.Exit{}, err
	}
	err = tell(progress, c.ID, api.StateCreated)
	if err = errors.Join(err, ctx.Err()); err != nil {
		if spec.AutoRemove { // nobody knows of it
			err = errors.Join(err, e.RemoveContainer(context.WithoutCancel(ctx), c.ID, api.RemoveOptions{}))
		}
		return api.Exit{}, err
	}
	if err := e.StartContainer(ctx, c.ID, opt); err != nil {
		return api.Exit{}, err
	}
	if err := tell(progress, c.ID, api.StateRunning); err != nil {
		return api.Exit{}, err
	}
	return e.WaitContainer(ctx, c.ID, api.WaitOptions{})
}

func tell(progress func(api.RunProgress) error, id, state string) error {
	if progress == nil {
		return nil
	}
	return progress(api.RunProgress{ID: id, State: state})
}
