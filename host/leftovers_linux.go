package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

func (h *Host) leftovers(ids map[string]bool) ([]string, error) {
	var left []string
	add := func(kind, name, id string) {
		if !ids[id] {
			left = append(left, kind+" "+name)
		}
	}
	groups, err := h.groups()
	if err != nil {
		return nil, err
	}
	for path, id := range groups {
		add("cgroup", path, id)
	}
	limits, err := h.limitGroups()
	if err != nil {
		return nil, err
	}
	for path, id := range limits {
		add("cgroup", path, id)
	}
	if err := h.leftDirs(add); err != nil {
		return nil, err
	}
	roots, err := h.dirs.Roots()
	if err != nil {
		return nil, err
	}
	for _, id := range roots {
		add("root", id, id)
	}
	if err := errors.Join(h.leftMounts(add), h.leftInterfaces(ids, add), h.leftRedirections(add)); err != nil {
		return nil, err
	}
	return left, leftLoops(h.cfg.SitesDir, add)
}

// groups are the cgroups that carry our tag, with the ids of their sites.
func (h *Host) groups() (map[string]string, error) {
	if h.cgroups == "" {
		return nil, nil
	}
	return h.groupsIn(h.cgroups)
}

func (h *Host) groupsIn(dir string) (map[string]string, error) {
	out := map[string]string{}
	prefix := filepath.Join(dir, h.groupName(""))
	paths, err := filepath.Glob(prefix + "*")
	for _, p := range paths {
		out[p] = strings.TrimSuffix(strings.TrimPrefix(p, prefix), limitedSuffix)
	}
	return out, err
}

// sweepGroups removes the groups of spare run loops whose engine has died.
func (h *Host) sweepGroups(ctx context.Context, running map[string]bool) error {
	groups, err := h.groups()
	for path, id := range groups {
		if !running[id] && h.spareOf(id) == nil {
			err = errors.Join(err, h.removeCgroup(ctx, thing{Path: path}))
		}
	}
	return err
}

// leftMounts finds mounts below the state directory in our own namespace.
func (h *Host) leftMounts(add func(kind, name, id string)) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if fields := strings.Fields(in.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], h.cfg.StateDir+"/") {
			add("mount", fields[4], "")
		}
	}
	return in.Err()
}

// leftLoops finds the run loops and proxies of our sites: processes of that name whose
// configuration is not to be seen, so it goes by the id in their arguments and
// the site's directory.
func leftLoops(sites string, add func(kind, name, id string)) error {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended
		}
		args := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
		if len(args) < 2 || string(args[0]) != "xc-runloop" && string(args[0]) != proxyName {
			continue
		}
		id := string(args[len(args)-1])
		if _, err := os.Stat(filepath.Join(sites, id)); err == nil {
			add("process", filepath.Base(filepath.Dir(p)), id)
		}
	}
	return nil
}
