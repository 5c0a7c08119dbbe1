package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site"
)

// limitedSuffix is added to the name of a site's group for the one that its
// trees are in when they are limited: beside it, so that pid 1 of the container,
// without which it ends, is neither counted nor starved nor killed.
const limitedSuffix = ".limited"

// onHost are the limits that controllers enforce.
func (l Limits) onHost() cgroup.Limits {
	return cgroup.Limits{Memory: l.Memory, CPU: l.CPUs, Pids: l.Pids}
}

// canLimit tells which limits no controller can enforce here.
func (h *Host) canLimit(l Limits) error {
	for _, name := range l.onHost().Controllers() {
		_, err := cgroup.Controller(name)
		if errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("limit of %s: %w; xc system check shows what to do", limited(name), err)
		}
		if err != nil {
			return fmt.Errorf("limit of %s: %w", limited(name), err)
		}
	}
	return nil
}

// limited is what a controller limits.
func limited(controller string) string {
	return map[string]string{"memory": "memory", "cpu": "processor time", "pids": "processes"}[controller]
}

// limitSteps make the groups that a container's processes are limited in, and
// tell its tenant of them.
func (h *Host) limitSteps(s Spec, t *tenant.Config) ([]site.Step, error) {
	limits := s.Limits.onHost()
	var steps []site.Step
	var unified []string // controllers of version 2
	for _, name := range limits.Controllers() {
		where, err := cgroup.Controller(name)
		if err != nil {
			return nil, fmt.Errorf("limit of %s: %w", limited(name), err)
		}
		if where.Version == 2 {
			unified = append(unified, name)
			continue
		}
		path := filepath.Join(where.Dir, h.groupName(s.ID))
		t.Join = append(t.Join, filepath.Join(path, "cgroup.procs"))
		steps = append(steps, step(kindCgroupOne, thing{Path: path}, func(context.Context) error {
			if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) { // controllers may share a hierarchy
				return err
			}
			return limits.Limit(path, name, 1)
		}))
	}
	if len(unified) == 0 {
		return steps, nil
	}
	t.Limited = h.cgroup(s.ID) + limitedSuffix
	return append(steps, step(kindCgroup, thing{Path: t.Limited}, func(context.Context) error {
		return h.makeLimited(t.Limited, limits, unified)
	})), nil
}

// makeLimited makes a group of version 2 with limits.
func (h *Host) makeLimited(path string, limits cgroup.Limits, controllers []string) error {
	if err := cgroup.Enable(h.cgroups, controllers...); err != nil {
		return err
	}
	g, err := cgroup.Make(path)
	if err != nil {
		return err
	}
	err = h.devices.guard(g)
	for _, name := range controllers {
		err = errors.Join(err, limits.Limit(path, name, 2))
	}
	return errors.Join(err, g.Close())
}

// removeCgroupOne removes a site's group from a hierarchy of version 1.
func (h *Host) removeCgroupOne(ctx context.Context, t thing) error {
	if !h.ourGroup(t.Path) {
		return fmt.Errorf("remove cgroup %s: it is not ours", t.Path)
	}
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	return cgroup.RemoveOne(ctx, t.Path)
}

// limitGroups are the groups of version 1 that carry our tag, with the ids of
// their sites.
func (h *Host) limitGroups() (map[string]string, error) {
	out := map[string]string{}
	all := cgroup.Limits{Memory: 1, CPU: 1, Pids: 1}
	for _, name := range append(all.Controllers(), "devices") {
		where, err := cgroup.Controller(name)
		if errors.Is(err, errors.ErrUnsupported) || err == nil && where.Version == 2 {
			continue
		}
		if err != nil {
			return nil, err
		}
		groups, err := h.groupsIn(where.Dir)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, groups)
	}
	return out, nil
}

// OutOfMemory tells whether the kernel has killed a process of a container
// because its limit of memory was reached. It can be asked until the run stack is
// unwound.
func (h *Host) OutOfMemory(s Spec) (bool, error) {
	if s.Limits.Memory == 0 {
		return false, nil
	}
	where, err := cgroup.Controller("memory")
	if err != nil {
		return false, err
	}
	path := filepath.Join(where.Dir, h.groupName(s.ID))
	if where.Version == 2 {
		path += limitedSuffix
	}
	n, err := cgroup.OOMKills(path, where.Version)
	return n > 0, err
}
