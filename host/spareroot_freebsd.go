package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/zfsstore"
)

// A container on ZFS waits for its clone until a transaction group is written, and
// main, which executes files of a file system that nobody has read from, for their
// pages: each clone has its own. Once two containers in a row were made of the same
// chain, the root of a third is made with the run loop that is kept ready: cloned,
// mounted where the container will have it, and with main's program in memory. It is
// given up when nobody has asked for it for idleTime.
//
// It has the name that goes with the id. A mark, a file in the state directory, tells
// of it until the container's journal does, so that one whose engine has died is
// swept. It is durable before the clone is made; so as not to wait for it, that of
// the next root is made with this one.
//
// The root of a container that was created and not started can thus be found
// mounted. Whoever wants it in another way calls settleRoot first, and it is
// unmounted anyway when the container is not started in time.

// makeRoot makes a root for what is kept ready, in the background, if there is to
// be one. Spares.making is held until it has been made, so that no chain is deleted
// meanwhile.
func (h *Host) makeRoot(id string, k rootKind, marked bool) *spareRoot {
	if h.datas == nil || k.chain == "" {
		return nil
	}
	root := &spareRoot{rootKind: k, ready: make(chan struct{}), warm: make(chan struct{})}
	go func() {
		defer close(root.warm)
		root.err = h.prepareRoot(context.Background(), id, k, marked)
		close(root.ready)
		if root.err == nil {
			warm(h.mountPath(id), k.program)
		}
	}()
	return root
}

// prepareRoot makes a root that no container has, and mounts it where its container
// will have it. If it cannot, nothing of it is left.
func (h *Host) prepareRoot(ctx context.Context, id string, k rootKind, marked bool) error {
	var err error
	if !marked {
		err = h.mark(id)
	}
	if err == nil {
		err = h.mountNew(ctx, id, k)
	}
	if err == nil {
		return nil
	}
	rerr := h.removeSpareRoot(ctx, id)
	if rerr != nil {
		h.stick(id, k.chain)
	}
	return fmt.Errorf("keep a root ready: %w", errors.Join(err, rerr))
}

// mountNew makes a root and mounts it.
func (h *Host) mountNew(ctx context.Context, id string, k rootKind) error {
	if err := h.newRoot(ctx, id, k); err != nil {
		return err
	}
	from, err := h.datas.Root(ctx, id)
	if err != nil {
		return err
	}
	dir := h.mountPath(id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return mount.Mount(rootEntry(from, dir))
}

// rootEntry is how the root of a container is mounted. Without access times: one
// that was written makes the unmount wait until the whole pool is synced
// (zfs_umount, txg_wait_synced).
func rootEntry(dataset, dir string) mount.Entry {
	return mount.Entry{Type: "zfs", From: dataset, Path: dir, Options: []string{"noatime"}}
}

// newRoot makes the root of a container.
func (h *Host) newRoot(ctx context.Context, id string, k rootKind) error {
	if h.datas != nil && k.volatile {
		return h.datas.CreateVolatile(ctx, id, k.chain)
	}
	return h.store.Create(ctx, id, k.chain)
}

func (h *Host) removeRoot(ctx context.Context, t thing) error {
	if err := h.settleRoot(t.Name); err != nil {
		return err
	}
	return h.store.Remove(ctx, t.Name)
}

// dropRoot gives up a root that was to be kept ready.
func (h *Host) dropRoot(id string, root *spareRoot) error {
	if root == nil || root.wait() != nil {
		return nil
	}
	<-root.warm
	return h.removeSpareRoot(context.Background(), id)
}

// removeSpareRoot removes a root that no container has.
func (h *Host) removeSpareRoot(ctx context.Context, id string) error {
	if err := h.unmountRoot(id); err != nil {
		return err
	}
	if err := h.datas.Remove(ctx, id); err != nil {
		return err
	}
	return h.unmark(id)
}

// rootThere tells whether a root that was ready still is: it is a dataset like any
// other to whoever administers the pool.
func (h *Host) rootThere(ctx context.Context, id string) (bool, error) {
	if st, err := mount.At(h.mountPath(id)); err == nil && h.isRoot(st, id) {
		return true, nil
	}
	_, err := h.datas.Root(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// isRoot tells whether the root of a container is what is mounted.
func (h *Host) isRoot(st mount.Status, id string) bool {
	of, ok := h.datas.RootID(st.From)
	return ok && of == id
}

// settleRoot unmounts the root of a container that does not run, if it is
// mounted where a running one has it.
func (h *Host) settleRoot(id string) error {
	if there, err := h.rootMounted(id); err != nil || !there {
		return err
	}
	return h.unmountRoot(id)
}

// rootMounted tells whether the root of a container that does not run is mounted
// where a running one has it. From now on that is the caller's to unmount.
func (h *Host) rootMounted(id string) (bool, error) {
	if h.datas == nil || !idRule.MatchString(id) {
		return false, nil
	}
	h.spares.lockFor(id)
	defer h.spares.mu.Unlock()
	if s := h.spares.now; s != nil && s.id == id {
		s.taken = nil
	}
	st, err := mount.At(h.mountPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && h.isRoot(st, id), err
}

func (h *Host) unmountRoot(id string) error {
	dir := h.mountPath(id)
	if err := h.unmount(dir); err != nil {
		return err
	}
	if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// markPath is the file that tells of a root no container has.
func (h *Host) markPath(id string) string { return filepath.Join(h.cfg.StateDir, sparePrefix+id) }

func (h *Host) mark(id string) error {
	f, err := os.OpenFile(h.markPath(id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil { // it is its name that has to be there
		return err
	}
	dir, err := os.Open(h.cfg.StateDir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// markNext makes the mark of the next root. There is none yet, as one has just been
// made.
func (h *Host) markNext() error {
	id := randomID()
	if err := h.mark(id); err != nil {
		return fmt.Errorf("keep a root ready: %w", err)
	}
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	h.spares.marked = id
	return nil
}

func (h *Host) unmark(id string) error {
	if err := os.Remove(h.markPath(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweepRoots removes the roots that were kept ready by an engine that has died.
// Those that are in known have become a container's.
func (h *Host) sweepRoots(ctx context.Context, known map[string]bool) error {
	h.spares.making.Lock()
	defer h.spares.making.Unlock()
	entries, err := os.ReadDir(h.cfg.StateDir)
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), sparePrefix)
		if !ok || !idRule.MatchString(id) || h.isSpare(id) { // a container that ended during recovery had it made
			continue
		}
		if _, taken := known[id]; taken {
			err = errors.Join(err, h.unmark(id))
		} else if h.datas != nil { // else it is kept for when the datasets are configured again
			if rerr := h.removeSpareRoot(ctx, id); rerr != nil {
				err = errors.Join(err, rerr)
				h.stick(id, "")
			}
		}
	}
	return err
}

// stick remembers a root that could not be removed.
func (h *Host) stick(id, chain string) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	h.spares.stuck = append(h.spares.stuck, stuckRoot{id, chain})
}

// sparedRoots are the roots of a store of which one may be kept ready: that is
// given up where its chain is to go.
type sparedRoots struct {
	*zfsstore.Store
	h *Host
}

// Delete removes a chain without children.
func (r sparedRoots) Delete(ctx context.Context, chain digest.Digest) error {
	if err := r.h.dropChain(ctx, chain.String()); err != nil {
		return err
	}
	return r.Store.Delete(ctx, chain)
}

// dropChain gives up what is ready if it has a root of a chain.
func (h *Host) dropChain(ctx context.Context, chain string) error {
	h.spares.mu.Lock()
	if h.spares.last[0].chain == chain {
		h.spares.last = [2]rootKind{}
	}
	do := func() error { return nil }
	if s := h.spares.now; s != nil && s.root != nil && s.root.chain == chain {
		do = h.retireLocked(s)
	}
	var leaving []*departure
	for _, d := range h.spares.leaving {
		if d.chain == chain {
			leaving = append(leaving, d)
		}
	}
	h.spares.mu.Unlock()
	err := do()
	for _, d := range leaving {
		<-d.gone
		err = errors.Join(err, d.err)
	}
	if err != nil {
		return err // what is stuck is tried again the next time
	}
	return h.unstick(ctx, chain)
}

// unstick tries again to give up the roots of a chain that could not be.
func (h *Host) unstick(ctx context.Context, chain string) error {
	h.spares.mu.Lock()
	stuck := slices.Clone(h.spares.stuck)
	h.spares.mu.Unlock()
	var errs []error
	for _, r := range stuck {
		if r.chain != chain && r.chain != "" {
			continue
		}
		if err := h.removeSpareRoot(ctx, r.id); err != nil {
			if r.chain != "" { // else it may be in nobody's way
				errs = append(errs, fmt.Errorf("give up root %s, which was kept ready: %w", r.id, err))
			}
			continue
		}
		h.spares.mu.Lock()
		h.spares.stuck = slices.DeleteFunc(h.spares.stuck, func(other stuckRoot) bool { return other == r })
		h.spares.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Warming a root.
const (
	programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	warmSize    = 8 << 20 // of a file, in bytes
)

// mapped are what programs that are not linked statically have in memory.
var mapped = []string{
	"/libexec/ld-elf.so.1", "/lib/libc.so.7", "/lib/libsys.so.7", "/lib/libthr.so.3",
	"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib64/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6",
}

// warm brings into memory what main will execute, as far as that can be guessed.
// Nothing depends on it.
func warm(root, program string) {
	r, err := inroot.Open(root)
	if err != nil {
		return
	}
	defer r.Close()
	if path, err := r.LookPath(program, programPath, "/"); err == nil {
		_ = load(r, path)
	}
	for _, path := range mapped {
		_ = load(r, path)
	}
}

// load brings the pages of a file into memory. It does so by mlock(2), which tells
// of what cannot be read; to touch them would be SIGBUS. They stay when it is
// unmapped.
func load(r *inroot.Root, name string) error {
	f, err := r.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(min(info.Size(), warmSize)), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return errors.Join(unix.Mlock(b), unix.Munmap(b))
}
