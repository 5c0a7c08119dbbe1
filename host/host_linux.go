package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/runloop"
)

// Kinds of undos of this host.
const (
	kindCgroup    = "cgroup"    // path: a site's group
	kindCgroupOne = "cgroup-v1" // path: the same in a hierarchy of version 1
)

// Host is this machine. It is safe for concurrent use.
type Host struct {
	cfg     Config
	dirs    *dirstore.Store
	store   rootStore // dirs
	program string    // the run loop's, for execve(2)
	sealed  *os.File  // what program names: a memfd that nobody can write to
	cgroups string    // where our groups go; empty: there is no cgroup2 to write to
	devices devices
	spares  spares
}

// Open looks at the machine and opens the store of roots.
func Open(_ context.Context, c Config) (*Host, error) {
	if c.ImageDataset != "" {
		return nil, fmt.Errorf("image_dataset: roots on ZFS: %w on Linux", errors.ErrUnsupported)
	}
	if c.VolumeDataset != "" {
		return nil, fmt.Errorf("default_volume_dataset: volumes on ZFS: %w on Linux", errors.ErrUnsupported)
	}
	h := &Host{cfg: c}
	if err := h.checkRunDir(); err != nil {
		return nil, err
	}
	s, err := dirstore.Open(filepath.Join(c.StateDir, "roots"), nil)
	if err != nil {
		return nil, err
	}
	h.dirs, h.store = s, dirRoots{s}
	h.cgroups, err = cgroup.Find()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	if err := h.openDevices(); err != nil {
		return nil, err
	}
	return h, h.seal(c.RunLoop[0])
}

// Close closes what Open opened.
func (h *Host) Close() error {
	err := errors.Join(h.closeSpare(), h.devices.close())
	if h.sealed != nil {
		err = errors.Join(err, h.sealed.Close())
	}
	return err
}

// OpenSource opens the source of a mount, without reading from it.
func OpenSource(path string) (*os.File, error) {
	return os.OpenFile(path, openPath|unix.O_CLOEXEC, 0)
}

// openPath is the flag to open a file that is only to be pointed at.
const openPath = unix.O_PATH

// Table does the undos of this host.
func (h *Host) Table() site.Table {
	return site.Table{
		kindDir:     undo(h.removeSiteDir),
		kindLog:     undo(h.removeLog),
		kindRoot:    undo(h.removeRoot),
		kindSocket:  undo(removeSocket),
		kindCgroup:  undo(h.removeCgroup),
		kindRunLoop: undo(removeLoop),
		kindPublish: undo(h.removePublish),
		kindProxy:   undo(h.removeProxy),
		kindView:    undo(func(context.Context, thing) error { return nil }),

		kindInterface: undo(h.removeInterface),
		kindCgroupOne: undo(h.removeCgroupOne),
	}
}

// firstFile is the first descriptor of a run loop that is for its tenant; see
// package runloop.
const firstFile = 6

// spareOf returns the run loop that is ready for a container, which stays.
func (h *Host) spareOf(id string) *spare {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if s := h.spares.now; s != nil && s.id == id {
		return s
	}
	return nil
}

// Run returns the steps for what a running container has. The last one starts
// the run loop and leaves the connection to it in loop. On Linux everything
// else (namespaces, mounts) is the run loop's to make, and dies with it.
func (h *Host) Run(s Spec, config func(tenant json.RawMessage) runloop.Config, loop *Loop) ([]site.Step, error) {
	if err := checkSpec(s); err != nil {
		return nil, err
	}
	// One that is ready cannot be given the files of mounts any more.
	if slices.ContainsFunc(s.Mounts, func(m Mount) bool { return m.File != nil }) {
		if err := h.dropSpare(h.spareOf(s.ID)); err != nil {
			return nil, err
		}
	}
	spare := h.takeSpare(s.ID)
	steps, err := h.runSteps(s, spare, config, loop)
	if err != nil && spare != nil {
		err = errors.Join(err, h.removeSpare(s.ID, spare))
	}
	return steps, err
}

func (h *Host) runSteps(s Spec, spare *started, config func(tenant json.RawMessage) runloop.Config, loop *Loop) ([]site.Step, error) {
	var steps []site.Step
	t := tenant.Config{ID: s.ID, Hostname: s.Hostname, ReadOnly: s.ReadOnly, Network: s.Network}
	if h.cgroups != "" {
		t.Cgroup = h.cgroup(s.ID)
		steps = append(steps, step(kindCgroup, thing{Path: t.Cgroup}, func(context.Context) error {
			if spare != nil {
				return nil
			}
			return h.makeGroup(s.ID)
		}))
	}
	limits, err := h.limitSteps(s, &t)
	if err != nil {
		return nil, err
	}
	steps = append(append(steps, limits...), h.deviceSteps(s.ID, &t)...)
	if t.Root, err = h.root(s); err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range s.Mounts {
		mount := tenant.Mount{Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly, NoSUID: m.NoSUID, NoExec: m.NoExec}
		if m.Tmpfs != nil {
			mount.Tmpfs = (*tenant.Tmpfs)(m.Tmpfs)
		}
		if m.File != nil {
			mount.FD = firstFile + len(files)
			files = append(files, m.File)
		}
		t.Mounts = append(t.Mounts, mount)
	}
	t.Interfaces = h.tenantInterfaces(s)
	steps = append(steps, h.interfaceSteps(s)...)
	steps = append(steps, h.publishSteps(s)...)
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	configure := func() (runloop.Config, error) { return config(b), nil }
	return append(steps, h.loopSteps(s.ID, spare, configure, files, loop)...), nil
}

// root is where the tenant gets its root from.
func (h *Host) root(s Spec) (tenant.Root, error) {
	if s.Dir != "" {
		return tenant.Root{Kind: tenant.Bind, Dir: s.Dir}, nil
	}
	l, err := h.dirs.Layout(s.ID)
	if err != nil {
		return tenant.Root{}, err
	}
	if l.Dir != "" {
		return tenant.Root{Kind: tenant.Bind, Dir: l.Dir}, nil
	}
	r := tenant.Root{Kind: tenant.Overlay, Volatile: s.Volatile, Upper: filepath.Join(l.Base, l.Upper), Work: filepath.Join(l.Base, l.Work)}
	for _, dir := range l.Lower {
		r.Lower = append(r.Lower, filepath.Join(l.Base, dir))
	}
	if !s.Volatile {
		return r, nil
	}
	// A start that failed, or whose engine died, has left the sign that forbids to
	// mount once more (overlayfs, "Volatile mount"). Main never ran.
	if err := os.RemoveAll(filepath.Join(r.Work, "work/incompat/volatile")); err != nil {
		return r, fmt.Errorf("root of %s: %w", s.ID, err)
	}
	return r, nil
}

// RootDir is where a root can be seen on the host: what an overlay shows is
// only seen inside, so it is the directory of what the container has written.
func (h *Host) RootDir(s Spec) string {
	if s.Dir != "" {
		return s.Dir
	}
	l, err := h.dirs.Layout(s.ID)
	switch {
	case err != nil:
		return ""
	case l.Dir != "":
		return l.Dir
	}
	return filepath.Join(l.Base, l.Upper)
}

// cgroup is the group of a site.
func (h *Host) cgroup(id string) string {
	return filepath.Join(h.cgroups, h.groupName(id))
}

func (h *Host) groupName(id string) string { return "xc-" + h.cfg.Tag + "-" + id }

// makeGroup makes the group of a site.
func (h *Host) makeGroup(id string) error {
	if h.cgroups == "" {
		return nil
	}
	g, err := cgroup.Make(h.cgroup(id))
	if err != nil {
		return err
	}
	return errors.Join(h.devices.guard(g), g.Close())
}

// dropGroup kills what is in the group of a site, and removes it.
func (h *Host) dropGroup(id string) error {
	if h.cgroups == "" {
		return nil
	}
	return h.removeCgroup(context.Background(), thing{Path: h.cgroup(id)})
}

// loopEnv is the environment of a run loop.
func (h *Host) loopEnv(id string) []string {
	if h.cgroups == "" {
		return []string{}
	}
	return []string{tenant.GroupEnv + "=" + h.cgroup(id)}
}

// ourGroup tells by its name whether a group is one of ours.
func (h *Host) ourGroup(path string) bool {
	ok, err := filepath.Match("xc-"+h.cfg.Tag+"-*", filepath.Base(path))
	return err == nil && ok
}

// removeCgroup kills what is in a site's group and removes it.
func (h *Host) removeCgroup(ctx context.Context, t thing) error {
	if !h.ourGroup(t.Path) {
		return fmt.Errorf("remove cgroup %s: it is not ours", t.Path)
	}
	g, err := cgroup.Open(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	return errors.Join(g.Kill(), g.Remove(ctx))
}

// JID is 0: there are no jails here.
func (h *Host) JID(string) int { return 0 }

// CheckJail tells what a container cannot be given: there are no jails here.
func (h *Host) CheckJail(_ context.Context, params, datasets []string) error {
	switch {
	case len(params) > 0:
		return fmt.Errorf("jail parameter %s: %w on Linux", params[0], errors.ErrUnsupported)
	case len(datasets) > 0:
		return fmt.Errorf("dataset %s: %w on Linux", datasets[0], errors.ErrUnsupported)
	}
	return nil
}

// HiddenDevices tells which devices a container would not see: rulesets of
// devices are FreeBSD's.
func (h *Host) HiddenDevices(_, devices []string) ([]string, error) {
	return devices, nil
}

// CheckDatasetMount tells why a dataset cannot be mounted into a container.
func (h *Host) CheckDatasetMount(_ context.Context, dataset string) error {
	return fmt.Errorf("dataset %s: %w on Linux", dataset, errors.ErrUnsupported)
}

// Platforms are those this host can run, the best first.
func (h *Host) Platforms() []string { return []string{h.Platform()} }

// CanRun tells why a platform cannot run here, or nil.
func (h *Host) CanRun(os, arch string) error {
	if os == "linux" && arch == runtime.GOARCH {
		return nil
	}
	return fmt.Errorf("an image for %s/%s cannot run on %s: %w", os, arch, h.Platform(), errors.ErrUnsupported)
}

// OSRelease is the kernel's release.
func (h *Host) OSRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return string(bytes.TrimRight(u.Release[:], "\x00"))
}

// Storage names how roots are kept.
func (h *Host) Storage() string { return string(h.dirs.Mode()) }

// Warnings tell what this host lacks, and what follows from that.
func (h *Host) Warnings() []string {
	var out []string
	if h.cgroups == "" {
		out = append(out, "no cgroup2 hierarchy can be written to: exec'ed processes count as part of main's tree")
	}
	if h.devices.lacks != nil {
		out = append(out, "no cgroup can keep containers to their devices: that they can make none is all there is")
	}
	if h.Storage() == string(dirstore.Copy) {
		out = append(out, "neither overlayfs nor reflinks work in "+h.cfg.StateDir+": each container copies its root")
	}
	return out
}
