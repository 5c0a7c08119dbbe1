package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Controller finds where groups with a controller ("memory", "cpu", "pids",
// "devices", "io") can be made: below what Find returns, or on a hybrid host the root
// of the hierarchy of version 1 that has it, as it is mounted. The error
// matches errors.ErrUnsupported when there is none that can be written to.
func Controller(name string) (Hierarchy, error) {
	base, err := Find()
	if err == nil {
		have, rerr := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
		if rerr != nil {
			return Hierarchy{}, fmt.Errorf("controllers of cgroup %s: %w", base, rerr)
		}
		if slices.Contains(strings.Fields(string(have)), name) {
			return Hierarchy{base, 2}, nil
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return Hierarchy{}, err
	}
	if name == "io" {
		name = "blkio" // as version 1 calls it
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find controller %s: %w", name, err)
	}
	defer f.Close()
	dir, err := versionOne(f, name)
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find controller %s: %w", name, err)
	}
	if dir == "" {
		return Hierarchy{}, fmt.Errorf("no hierarchy of cgroups that is mounted here has the controller %s: %w", name, errors.ErrUnsupported)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return Hierarchy{}, fmt.Errorf("controller %s: %s: %w (%w)", name, dir, errors.ErrUnsupported, err)
	}
	return Hierarchy{dir, 1}, nil
}

// Enable gives the groups below dir these controllers. It concerns version 2
// only, where a group that holds processes cannot have its controllers passed on.
func Enable(dir string, controllers ...string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	have, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("enable controllers: %w", err)
	}
	for _, name := range controllers {
		if slices.Contains(strings.Fields(string(have)), name) {
			continue
		}
		err := write(file, "+"+name)
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("enable controller %s below cgroup %s: %w: processes live in that group itself; "+
				"where systemd made it, its unit needs DelegateSubgroup= (systemd 254)", name, dir, err)
		}
		if err != nil {
			return fmt.Errorf("enable controller %s below cgroup %s: %w", name, dir, err)
		}
	}
	return nil
}

// Limit sets the limit of one controller on the group in dir, which may have
// processes already.
func (l Limits) Limit(dir string, controller string, version int) error {
	for _, s := range l.settings(controller, version) {
		err := write(filepath.Join(dir, s.file), s.value)
		if s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("limit of cgroup %s: %s=%s: %w", dir, s.file, s.value, err)
		}
	}
	return nil
}

// OOMKills tells how many processes of the group in dir the kernel has killed
// because its limit of memory was reached. It is 0 for a group that has no such
// limit or is gone.
func OOMKills(dir string, version int) (int, error) {
	file := "memory.events"
	if version == 1 {
		file = "memory.oom_control"
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	return oomKills(string(b)), nil
}

// RemoveOne kills what is in a group of version 1, and removes it. One that is
// gone is no error. Version 1 tells nobody that a group is empty.
func RemoveOne(ctx context.Context, dir string) error {
	for {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		if err := killOne(dir); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		select {
		case <-time.After(removeEvery):
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", dir, ctx.Err())
		}
	}
}

const removeEvery = 5 * time.Millisecond

func killOne(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := pids(string(b))
	for _, pid := range list {
		if kerr := unix.Kill(pid, unix.SIGKILL); kerr != unix.ESRCH {
			err = errors.Join(err, kerr)
		}
	}
	return err
}

// write writes to a file of a group with one write(2), as they want it.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// CPUTime is the processor time that a group of version 2 and those below it have
// used, with what has ended.
func CPUTime(dir string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	us, ok := number(string(b), "usage_usec")
	if !ok {
		return 0, fmt.Errorf("cgroup %s: cpu.stat has no usage: %w", dir, errors.ErrUnsupported)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// MemoryUse is the memory that a group uses which a controller counts, in bytes,
// without the pages of files that can be dropped at once.
func MemoryUse(dir string, version int) (int64, error) {
	current, inactive := "memory.current", "inactive_file"
	if version == 1 {
		current, inactive = "memory.usage_in_bytes", "total_inactive_file"
	}
	b, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	all, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: %s: %w", dir, current, err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, "memory.stat")); err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	files, _ := number(string(b), inactive)
	return max(0, all-files), nil
}
