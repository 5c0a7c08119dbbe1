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
	e.mu.Lock()
	list := slices.Collect(maps.Values(e.containers))
	e.mu.Unlock()
	slices.SortFunc(list, func(a, b *container) int { return a.created.Compare(b.created) })
	for _, c := range list {
		if ctx.Err() != nil {
			return out, fmt.Errorf("prune containers: %w", ctx.Err())
		}
		size, removed, err := e.removeStopped(ctx, c)
		if err != nil {
			out.Failed = append(out.Failed, fmt.Sprintf("remove container %s: %v", c.name(), err))
		}
		if removed {
			out.Names = append(out.Names, c.name())
			out.Bytes += size
		}
	}
	return out, nil
}

// removeStopped removes a container that does not run, unless somebody starts or
// removes it just now. One that has ended a moment ago gives back first what its run
// had. The size is that of its root, or 0 if that cannot be said.
func (e *Engine) removeStopped(ctx context.Context, c *container) (size int64, removed bool, err error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	default:
		return 0, false, nil
	}
	if !c.stopped() {
		return 0, false, nil
	}
	release, err := e.hold(ctx, c)
	if err != nil {
		return 0, false, err
	}
	defer release()
	if !c.stopped() { // it removed itself
		return 0, false, nil
	}
	size, err = e.host.RootSize(ctx, c.id)
	if err != nil {
		e.cfg.Report(fmt.Errorf("prune containers: %w", err))
	}
	err = e.remove(context.WithoutCancel(ctx), c, false)
	return size, err == nil, err
}

// stopped tells whether a container is complete and does not run, or an earlier
// removal has failed.
func (c *container) stopped() bool {
	st, _ := c.get()
	return st.Phase == api.StateCreated || st.Phase == api.StateExited || st.Phase == phaseRemoving
}
