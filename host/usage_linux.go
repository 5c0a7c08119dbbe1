package host

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/proc"
)

// Usage adds up what the processes of a container use, of which pids are those of
// main's tree. Where it has a control group, that knows them all and the processor
// time of those that have ended; the memory that a controller counts is only
// counted where it is limited.
func (h *Host) Usage(s Spec, pids []int) (Usage, error) {
	var u Usage
	pids, adopter, err := h.members(s, pids)
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		if err := u.add(pid); err != nil {
			return u, err
		}
	}
	// Who waits for a process is given its account: in the end that is pid 1.
	for _, pid := range append(adopter, pids...) {
		io, err := proc.ReadIO(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			u.missing("io", err)
			break
		}
		u.IO.Read += io.Read
		u.IO.Written += io.Written
	}
	if err := h.groupTime(s, &u); err != nil {
		return u, err
	}
	return u, h.groupMemory(s, &u)
}

// groupsOf are the control groups of a container, of which the first has its pid 1.
func (h *Host) groupsOf(s Spec) []string {
	if h.cgroups == "" {
		return nil
	}
	return []string{h.cgroup(s.ID), h.cgroup(s.ID) + limitedSuffix}
}

// members are the processes of a container, and its pid 1, which is ours.
func (h *Host) members(s Spec, pids []int) (list, adopter []int, err error) {
	for i, path := range h.groupsOf(s) {
		g, err := cgroup.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is not limited by version 2
		}
		if err != nil {
			return nil, nil, err
		}
		all, err := g.Members()
		_ = g.Close() // only read from
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			adopter = all
		}
		list = append(list, all...)
	}
	if list == nil { // the tree is the pid namespace
		return pids, nil, nil
	}
	own, err := first(adopter)
	return slices.DeleteFunc(list, func(pid int) bool { return slices.Contains(own, pid) }), own, err
}

// first are those of some processes that are the first of their pid namespace.
func first(pids []int) (list []int, err error) {
	for _, pid := range pids {
		dir, err := openProc(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, first, err := ancestry(dir)
		_ = dir.Close() // only looked at
		if err == nil && first {
			list = append(list, pid)
		}
	}
	return list, nil
}

// groupTime replaces the processor time by what the groups have counted.
func (h *Host) groupTime(s Spec, u *Usage) error {
	var sum time.Duration
	groups := h.groupsOf(s)
	for _, path := range groups {
		t, err := cgroup.CPUTime(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errors.ErrUnsupported):
			return nil // an older kernel: the sum over the processes stands
		case err != nil:
			return err
		}
		sum += t
	}
	if len(groups) > 0 {
		u.CPU = sum
	}
	return nil
}

// groupMemory replaces the memory by what is counted against the limit.
func (h *Host) groupMemory(s Spec, u *Usage) error {
	if s.Limits.Memory == 0 {
		return nil
	}
	where, err := cgroup.Controller("memory")
	if err != nil {
		return err
	}
	path := filepath.Join(where.Dir, h.groupName(s.ID))
	if where.Version == 2 {
		path += limitedSuffix
	}
	n, err := cgroup.MemoryUse(path, where.Version)
	if err == nil {
		u.Memory = n
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is ending
	}
	return err
}
