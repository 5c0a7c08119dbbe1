package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/joyboyid/xc/engine/api"
)

// PruneContainers implements api.Containers.
func (e *Engine) PruneContainers(ctx context.Context) (api.PrunedContainers, error) {
	out := api.PrunedContainers{Names: []string{}}
	if err := e.begin(); err != nil {
		return out, err
	}
	defer e.end()
	_, sizes, err := e.host.RootSizes(ctx)
	if err != nil {
		return out, fmt.Errorf("prune containers: %w", err)
	}
	e.mu.Lock()
	list := slices.Collect(maps.Values(e.containers))
	e.mu.Unlock()
	slices.SortFunc(list, func(a, b *container) int { return a.created.Compare(b.created) })
	for _, c := range list {
		if ctx.Err() != nil {
			return out, fmt.Errorf("prune containers: %w", ctx.Err())
		}
		removed, err := e.removeStopped(ctx, c)
		if err != nil {
			out.Failed = append(out.Failed, fmt.Sprintf("remove container %s: %v", c.name(), err))
		}
		if removed {
			out.Names = append(out.Names, c.name())
			out.Bytes += sizes[c.id]
		}
	}
	return out, nil
}

// removeStopped removes a container that does not run, unless somebody starts or
// removes it just now. One that has ended a moment ago gives back first what its run
// had.
func (e *Engine) removeStopped(ctx context.Context, c *container) (bool, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	default:
		return false, nil
	}
	if !c.stopped() {
		return false, nil
	}
	release, err := e.hold(ctx, c)
	if err != nil {
		return false, err
	}
	defer release()
	if !c.stopped() { // it removed itself
		return false, nil
	}
	err = e.remove(context.WithoutCancel(ctx), c, false)
	return err == nil, err
}

// stopped tells whether a container is complete and does not run, or an earlier
// removal has failed.
func (c *container) stopped() bool {
	st, _ := c.get()
	return st.Phase == api.StateCreated || st.Phase == api.StateExited || st.Phase == phaseRemoving
}
