package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/runloop"
	"github.com/joyboyid/xc/zfs"
	"github.com/joyboyid/xc/zfsstore"
)

// Kinds of undos of this host.
const (
	kindMounts  = "mounts"  // path: a root, with what is mounted in it
	kindJail    = "jail"    // name
	kindDataset = "dataset" // path: lent to the jail of that name
	kindRules   = "rctl"    // name: a jail, with limits
)

// Host is this machine. It is safe for concurrent use.
type Host struct {
	cfg     Config
	zfs     *zfs.ZFS
	datas   *zfsstore.Store // nil without datasets
	dirs    *dirstore.Store // nil with datasets
	store   rootStore
	program string // the run loop's, for execve(2)
	spares  spares
}

// Open looks at the machine and opens the store of roots.
func Open(ctx context.Context, c Config) (*Host, error) { return open(ctx, c, &zfs.ZFS{}) }

// open is Open with a way to ZFS.
func open(ctx context.Context, c Config, z *zfs.ZFS) (*Host, error) {
	h := &Host{cfg: c, program: c.RunLoop[0], zfs: z}
	if err := h.checkRunDir(); err != nil {
		return nil, err
	}
	if c.ImageDataset != "" {
		h.datas = &zfsstore.Store{
			ZFS: h.zfs, Images: c.ImageDataset, Containers: c.ContainerDataset, Tag: c.Tag,
			Dir: filepath.Join(c.StateDir, "drafts"), Mount: mountDataset, Unmount: h.unmount, Finish: h.finishChain,
		}
		h.store = sparedRoots{h.datas, h}
		if err := h.datas.Prepare(ctx); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	} else {
		s, err := dirstore.Open(filepath.Join(c.StateDir, "roots"), nil)
		if err != nil {
			return nil, err
		}
		h.dirs, h.store = s, dirRoots{s}
	}
	if err := os.MkdirAll(h.mountDir(), 0o700); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	for i, n := range h.rulesets() {
		if err := devfs.Set(uint16(c.DevfsOffset+i), n.Rules()...); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

// Close closes what Open opened.
func (h *Host) Close() error {
	return errors.Join(h.closeSpare(), h.zfs.Close())
}

// rulesets are the devfs(5) rulesets that containers use, in the order of their
// numbers. Two engines with the same offset agree on what is in them.
func (h *Host) rulesets() []devfs.Needs {
	return []devfs.Needs{
		{Terminal: true}, {Terminal: true, Linux: true},
		{Terminal: true, Paths: []string{"zfs"}}, {Terminal: true, Linux: true, Paths: []string{"zfs"}},
	}
}

// ruleset is the one with what a container needs, and no more.
func (h *Host) ruleset(s Spec, o jailOptions) string {
	n := h.cfg.DevfsOffset
	if s.Linux {
		n++
	}
	if len(s.Datasets) > 0 {
		n += 2
	}
	if o.ruleset > 0 {
		n = o.ruleset
	}
	return "ruleset=" + strconv.Itoa(n)
}

// OpenSource opens the source of a mount. O_PATH does not read from it, and is
// no directory that jail_attach(2) would mind in another process.
func OpenSource(path string) (*os.File, error) {
	return os.OpenFile(path, syscall.O_CLOEXEC|openPath, 0)
}

// openPath is O_PATH of sys/fcntl.h.
const openPath = 0x00400000

func mountDataset(dataset, dir string, options ...string) error {
	return mount.Mount(mount.Entry{Type: "zfs", From: dataset, Path: dir, Options: options})
}

// unmount unmounts what is on dir, if anything is.
func (h *Host) unmount(dir string) error {
	st, err := mount.At(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.forceUnmount(st)
}

// forceUnmount unmounts m whoever uses it. A volatile root is made read-only first:
// zfs_umount then does not wait for the pool (zfsvfs_teardown, txg_wait_synced). Of
// another file system of ZFS it would still wait for what was written (zil_close).
func (h *Host) forceUnmount(m mount.Status) error {
	if h.datas != nil && strings.HasPrefix(m.From, h.datas.Volatile("")) {
		_ = m.Update(append(m.Options, "ro")...) // else it takes longer
	}
	return m.Unmount(true)
}

// Table does the undos of this host.
func (h *Host) Table() site.Table {
	return site.Table{
		kindDir:     undo(h.removeSiteDir),
		kindLog:     undo(h.removeLog),
		kindRoot:    undo(h.removeRoot),
		kindSocket:  undo(removeSocket),
		kindMounts:  undo(h.removeMounts),
		kindJail:    undo(h.removeJail),
		kindDataset: undo(h.returnDataset),
		kindRules:   undo(h.removeRules),
		kindRunLoop: undo(removeLoop),
		kindPublish: undo(h.removePublish),
		kindProxy:   undo(h.removeProxy),

		kindInterface: undo(h.removeInterface),
		kindAlias:     undo(removeAlias),
		kindTable:     undo(removeTable),
	}
}

func (h *Host) mountDir() string           { return filepath.Join(h.cfg.StateDir, "mnt") }
func (h *Host) jailName(id string) string  { return "xc-" + h.cfg.Tag + "-" + id }
func (h *Host) mountPath(id string) string { return filepath.Join(h.mountDir(), id) }

// Run returns the steps for what a running container has: the mounts, the
// jail, and last the run loop, whose connection is left in loop.
func (h *Host) Run(s Spec, config func(tenant json.RawMessage) runloop.Config, loop *Loop) ([]site.Step, error) {
	if err := checkSpec(s); err != nil {
		return nil, err
	}
	o, err := parseParams(s.Params)
	if err != nil {
		return nil, err
	}
	root := h.RootDir(s)
	name := h.jailName(s.ID)
	network, err := h.networkSteps(s, name)
	if err != nil {
		return nil, err
	}
	steps := []site.Step{h.mountStep(s, o, root), step(kindJail, thing{Name: name}, func(context.Context) error {
		id, err := jail.Create(jail.Merge(jailParams(s, name, root), o.params...)...)
		if err != nil || s.Network != NetworkOwn || len(network) > 0 {
			return err
		}
		return loopback(id)
	})}
	// Limits come last: who configures the network from inside has the size of the
	// engine, and would be killed by a small one.
	steps = slices.Concat(steps, network, h.datasetSteps(s, name), h.publishSteps(s), h.limitSteps(s, name))
	// The jail's number is known when the run loop is started.
	configure := func() (runloop.Config, error) {
		info, err := jail.Lookup(name)
		if err != nil {
			return runloop.Config{}, err
		}
		b, err := json.Marshal(tenant.Config{ID: s.ID, Jail: int(info.ID), Path: root})
		return config(b), err
	}
	return append(steps, h.loopSteps(s.ID, h.takeSpare(s.ID), configure, nil, loop)...), nil
}

// loopback brings up lo0 in a jail with a network stack of its own.
func loopback(id jail.ID) error {
	in, err := netif.Enter(int(id))
	if err != nil {
		return err
	}
	return errors.Join(in.Loopback(), in.Close())
}

// A run loop has neither group nor environment here.
func (h *Host) makeGroup(string) error  { return nil }
func (h *Host) dropGroup(string) error  { return nil }
func (h *Host) loopEnv(string) []string { return []string{} }

func (h *Host) sweepGroups(context.Context, map[string]bool) error { return nil }

// jailParams are the parameters of a container's jail: what jail(8) would be
// given. What is not here has the kernel's default, which for allow.* is no,
// but for the three that are taken away or kept below.
func jailParams(s Spec, name, root string) []jail.Param {
	p := []jail.Param{
		jail.String("name", name), jail.String("path", root), jail.String("host.hostname", s.Hostname),
		jail.Flag("persist"), jail.Int("enforce_statfs", 2), jail.Bool("allow.set_hostname", false),
	}
	switch s.Network {
	case NetworkHost:
		p = append(p, jail.Int("ip4", jail.Inherit), jail.Int("ip6", jail.Inherit))
	case NetworkAlias:
		p = append(p, addressParams(s)...)
	default:
		p = append(p, jail.Int("vnet", jail.New))
	}
	for _, ipc := range []string{"sysvmsg", "sysvsem", "sysvshm"} {
		if jail.Supports(ipc) {
			p = append(p, jail.Int(ipc, jail.New))
		}
	}
	return jail.Merge(p, datasetParams(s)...)
}

// JID is the number of a container's jail, or 0 when it has none.
func (h *Host) JID(id string) int {
	info, err := jail.Lookup(h.jailName(id))
	if err != nil {
		return 0
	}
	return int(info.ID)
}

func (h *Host) removeJail(ctx context.Context, t thing) error {
	if !strings.HasPrefix(t.Name, h.jailName("")) {
		return fmt.Errorf("remove jail %s: it is not ours", t.Name)
	}
	info, err := jail.Lookup(t.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dyingTime)
	defer cancel()
	err = info.ID.Remove(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return err
}

// dyingTime is how long the end of a jail is waited for that has no processes any
// more, as its run loop has ended. A connection of TCP that it has closed holds it
// for a minute longer (TIME_WAIT, net.inet.tcp.msl in tcp(4)). A dying jail lets its
// root be unmounted by force, and another one have its name.
const dyingTime = 300 * time.Millisecond

// RootDir is where the root is on the host, while the container runs.
func (h *Host) RootDir(s Spec) string {
	if h.mountsRoot(s) {
		return h.mountPath(s.ID)
	}
	l, err := h.dirs.Layout(s.ID)
	if err != nil {
		return ""
	}
	return l.Dir
}

// mountsRoot tells whether the root has to be mounted, or is a directory of
// ours as it is.
func (h *Host) mountsRoot(s Spec) bool { return s.ReadOnly || s.Dir != "" || h.datas != nil }

// Platforms are those this host can run, the best first.
func (h *Host) Platforms() []string {
	list := []string{h.Platform()}
	if tenant.Linuxulator() {
		list = append(list, "linux/"+runtime.GOARCH)
	}
	return list
}

// CanRun tells why a platform cannot run here, or nil.
func (h *Host) CanRun(os, arch string) error { return canRun(os, arch, tenant.Linuxulator()) }

// canRun is CanRun where the Linuxulator is loaded, or is not.
func canRun(os, arch string, linux bool) error {
	switch {
	case arch != runtime.GOARCH:
	case os == "freebsd", os == "linux" && linux:
		return nil
	case os == "linux":
		return fmt.Errorf("an image for linux/%s needs the Linuxulator: kldload linux64 linprocfs linsysfs (or service linux onestart): %w", arch, errors.ErrUnsupported)
	}
	return fmt.Errorf("an image for %s/%s cannot run on freebsd/%s: %w", os, arch, runtime.GOARCH, errors.ErrUnsupported)
}

// OSRelease is the kernel's release, such as 14.3-RELEASE.
func (h *Host) OSRelease() string {
	s, err := syscall.Sysctl("kern.osrelease")
	if err != nil {
		return ""
	}
	return s
}

// Storage names how roots are kept.
func (h *Host) Storage() string {
	if h.datas != nil {
		return "zfs"
	}
	return string(h.dirs.Mode())
}

// Warnings tell what this host lacks, and what follows from that.
func (h *Host) Warnings() []string {
	if h.datas == nil {
		return []string{"no datasets are configured: each container copies its root"}
	}
	return nil
}
