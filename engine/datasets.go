package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/joyboyid/xc/engine/api"
)

// A dataset that a container administers, and all below it, is that container's
// alone until it is removed: two of them would each take the other's snapshots,
// mount points and quotas for their own.

// nested tells whether two datasets are one, or one is below the other.
func nested(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// datasets are those that a plan keeps from all others.
func (p *plan) datasets() []string {
	list := append([]string{}, p.Spec.Datasets...)
	for _, m := range p.Spec.Mounts {
		if m.Type == api.MountZFS {
			list = append(list, m.Source)
		}
	}
	return list
}

// holderLocked finds a container that has one of a plan's datasets.
func (e *Engine) holderLocked(p *plan) (holder *container, dataset string) {
	wanted := p.datasets()
	if len(wanted) == 0 {
		return nil, ""
	}
	for _, c := range e.containers {
		for _, has := range c.plan.datasets() {
			for _, d := range wanted {
				if nested(d, has) {
					return c, d
				}
			}
		}
	}
	return nil, ""
}

// haveDatasetsLocked tells which dataset of a plan another container has. Once the
// container is among the others, they are its own.
func (e *Engine) haveDatasetsLocked(p *plan) error {
	if c, d := e.holderLocked(p); c != nil {
		return fmt.Errorf("dataset %s: %w: by the container %s", d, api.ErrInUse, c.name())
	}
	return nil
}

// awaitDatasets waits for containers that have a dataset of a plan and are
// removing themselves.
func (e *Engine) awaitDatasets(ctx context.Context, p *plan) error {
	for {
		e.mu.Lock()
		c, d := e.holderLocked(p)
		e.mu.Unlock()
		if c == nil {
			return nil
		}
		if left, err := e.gone(ctx, c); err != nil || !left {
			return errors.Join(fmt.Errorf("dataset %s: %w: by the container %s", d, api.ErrInUse, c.name()), err)
		}
	}
}
