package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/freebsd/mount"
)

// spareHost is a host on ZFS that has the chains chain and otherChain, each with
// its name in /chain.
type spareHost struct {
	*Host
	t *testing.T
}

var otherChain = digest.FromString("another")

func openSpareHost(t *testing.T, c Config) spareHost {
	t.Helper()
	h := spareHost{openHost(t, c), t}
	for _, d := range []digest.Digest{chain, otherChain} {
		draft, err := h.Roots().Begin(t.Context(), d, "")
		if err == nil {
			err = errors.Join(os.WriteFile(filepath.Join(draft.Dir(), "chain"), []byte(d), 0o644), draft.Commit(t.Context()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if left, err := h.Leftovers(nil); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
		if err := h.closeSpare(); err != nil {
			t.Error(err)
		}
		for _, d := range []digest.Digest{chain, otherChain} {
			if err := h.Roots().Delete(context.Background(), d); err != nil {
				t.Error(err)
			}
		}
		if marks, err := filepath.Glob(h.markPath("*")); err != nil || len(marks) > 0 {
			t.Errorf("left: %q, %v", marks, err)
		}
	})
	return h
}

// create makes and removes the root of a container that has nothing ready.
func (h spareHost) create(d digest.Digest) {
	h.t.Helper()
	s := Spec{ID: randomID(), Chain: d.String(), Program: "true"}
	if err := errors.Join(h.createRoot(h.t.Context(), s), h.removeRoot(h.t.Context(), thing{Name: s.ID})); err != nil {
		h.t.Fatal(err)
	}
}

// keep has a root of a chain kept ready, and returns its id.
func (h spareHost) keep(d digest.Digest) string {
	h.t.Helper()
	h.create(d)
	h.create(d)
	if err := h.Ready(); err != nil {
		h.t.Fatal(err)
	}
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	s := h.spares.now
	if s == nil || s.root == nil || s.root.chain != d.String() || s.root.err != nil {
		h.t.Fatalf("nothing is ready: %+v", s)
	}
	return s.id
}

// take makes a container of a chain, which gets what is ready.
func (h spareHost) take(d digest.Digest) Spec {
	h.t.Helper()
	id := h.keep(d)
	s := Spec{ID: h.NewID(d.String(), false), Chain: d.String()}
	if s.ID != id {
		h.t.Fatalf("the id is %s, what is ready is for %s", s.ID, id)
	}
	if err := h.createRoot(h.t.Context(), s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h spareHost) remove(s Spec) {
	h.t.Helper()
	if err := h.removeRoot(h.t.Context(), thing{Name: s.ID}); err != nil {
		h.t.Error(err)
	}
}

// mounted tells how a container's root is mounted, or fs.ErrNotExist.
func (h spareHost) mounted(id string) (mount.Status, error) { return mount.At(h.mountPath(id)) }

func (h spareHost) mountAt(s Spec) {
	h.t.Helper()
	if err := h.mountRoot(s, jailOptions{}, h.mountPath(s.ID)); err != nil {
		h.t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(h.mountPath(s.ID), "chain")); err != nil || string(b) != s.Chain {
		h.t.Errorf("the root of %s: %q, %v", s.Chain, b, err)
	}
}

func (h spareHost) unmount(s Spec) {
	h.t.Helper()
	if err := h.removeMounts(h.t.Context(), thing{Path: h.mountPath(s.ID)}); err != nil {
		h.t.Error(err)
	}
}

// roots are the ids of which there is a dataset.
func (h spareHost) roots() (ids []string) {
	h.t.Helper()
	list, err := h.zfs.List(h.t.Context(), h.cfg.ContainerDataset)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range list {
		if id, ok := h.datas.RootID(d.Name); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestIntegrationSpareRoot(t *testing.T) {
	needRoot(t)
	if os.Getenv(datasetEnv) == "" {
		t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
	}
	images, containers := makeDatasets(t)
	for name, test := range map[string]func(h spareHost){
		"the third container has it":         spareTaken,
		"not for another chain":              spareOfAnother,
		"made anew for another chain":        spareStale,
		"goes with its chain":                spareChainDeleted,
		"of an engine that has died":         spareSwept,
		"of a container that is not started": spareNotStarted,
		"of a container that is not made":    spareNotMade,
		"looked at":                          spareViewed,
		"read-only":                          spareReadOnly,
		"nobody asks for it":                 spareIdle,
		"everybody asks for others":          spareUnwanted,
		"somebody destroys it":               spareDestroyed,
		"somebody makes a snapshot of it":    spareSnapshot,
		"somebody needs it":                  spareNeeded,
		"volatile":                           spareVolatile,
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			c.ImageDataset, c.ContainerDataset = images, containers
			c.Report = func(err error) { t.Errorf("reported: %v", err) }
			test(openSpareHost(t, c))
		})
	}
}

func spareTaken(h spareHost) {
	s := h.take(chain)
	if _, err := os.Stat(h.markPath(s.ID)); !errors.Is(err, fs.ErrNotExist) {
		h.t.Errorf("it is still marked as nobody's: %v", err)
	}
	before, err := h.mounted(s.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.removeSpare(s.ID, h.takeSpare(s.ID)); err != nil {
		h.t.Error(err)
	}
	time.Sleep(claimTime + time.Second/2) // it is the container's by now
	h.mountAt(s)
	if after, err := h.mounted(s.ID); err != nil || after.ID != before.ID {
		h.t.Errorf("mounted again: %v, %v; %v", before, after, err)
	}
	h.unmount(s)
	h.mountAt(s)
	h.unmount(s)
	h.remove(s)
}

func spareOfAnother(h spareHost) {
	id := h.keep(chain)
	if other := h.NewID(otherChain.String(), false); other == id {
		h.t.Error("its id was given to a container of another chain")
	}
	h.create(otherChain)
	if err := h.Ready(); err != nil {
		h.t.Error(err)
	}
	if got := h.NewID(chain.String(), false); got != id {
		h.t.Errorf("after one of another chain %s is ready, no longer %s", got, id)
	}
}

func spareStale(h spareHost) {
	old := h.keep(chain)
	id := h.keep(otherChain)
	if roots := h.roots(); id == old || !slices.Equal(roots, []string{id}) {
		h.t.Errorf("roots %q, ready is %s, was %s", roots, id, old)
	}
}

func spareChainDeleted(h spareHost) {
	h.keep(chain)
	if err := h.Roots().Delete(h.t.Context(), chain); err != nil {
		h.t.Error(err)
	}
	if err := h.Ready(); err != nil { // by what was made last it would be of that chain
		h.t.Error(err)
	}
	if roots := h.roots(); len(roots) > 0 {
		h.t.Errorf("left: %q", roots)
	}
}

func spareSwept(h spareHost) {
	dead := spareHost{openHost(h.t, h.cfg), h.t}
	free := dead.keep(chain)
	// It dies: only what it has on the host is left.
	spare := dead.spares.now
	dead.spares.now = nil
	if err := spare.loop.abandon(); err != nil {
		h.t.Error(err)
	}
	taken := Spec{ID: randomID(), Chain: chain.String()}
	if err := errors.Join(h.mark(taken.ID), h.createRoot(h.t.Context(), taken)); err != nil {
		h.t.Fatal(err)
	}
	if roots := h.roots(); !slices.Contains(roots, free) {
		h.t.Fatalf("roots %q, want %s", roots, free)
	}
	if err := h.Sweep(h.t.Context(), map[string]bool{taken.ID: false}); err != nil {
		h.t.Error(err)
	}
	if roots := h.roots(); !slices.Equal(roots, []string{taken.ID}) {
		h.t.Errorf("left: %q, want %s", roots, taken.ID)
	}
	h.remove(taken)
}

func spareNotStarted(h spareHost) {
	s := h.take(chain)
	for end := time.Now().Add(claimTime + 10*time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := h.mounted(s.ID); errors.Is(err, fs.ErrNotExist) {
			break
		} else if time.Now().After(end) {
			h.t.Fatalf("still mounted (%v)", err)
		}
	}
	h.mountAt(s)
	h.unmount(s)
	h.remove(s)
}

func spareNotMade(h spareHost) {
	if id := h.keep(chain); h.NewID(chain.String(), false) != id {
		h.t.Error("not the id of what is ready")
	}
	h.waitGone()
}

// waitGone waits until there are no roots.
func (h spareHost) waitGone() {
	h.t.Helper()
	for end := time.Now().Add(claimTime + 10*time.Second); len(h.roots()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("left: %q", h.roots())
		}
	}
}

func spareViewed(h spareHost) {
	s := h.take(chain)
	if err := h.View(h.t.Context(), s, func(root string) error {
		time.Sleep(claimTime + time.Second/2) // what is ready is given up meanwhile
		b, err := os.ReadFile(filepath.Join(root, "chain"))
		if string(b) != s.Chain {
			h.t.Errorf("%q", b)
		}
		return err
	}); err != nil {
		h.t.Error(err)
	}
	h.remove(s)
	s = h.take(chain)
	if err := h.Changes(h.t.Context(), s, false, func(c Changes) error {
		for change, err := range c.List {
			h.t.Errorf("changed: %v, %v", change, err)
		}
		return nil
	}); err != nil {
		h.t.Error(err)
	}
	h.remove(s)
}

func spareReadOnly(h spareHost) {
	s := h.take(chain)
	s.ReadOnly = true
	h.mountAt(s)
	if st, err := h.mounted(s.ID); err != nil || !slices.Contains(st.Options, "ro") {
		h.t.Errorf("%+v, %v", st, err)
	}
	h.unmount(s)
	h.remove(s)
}

func spareIdle(h spareHost) {
	h.spares.patience = time.Second
	id := h.keep(chain)
	h.waitGone()
	s := Spec{ID: h.NewID(otherChain.String(), false), Chain: otherChain.String()}
	if s.ID != id {
		h.t.Errorf("its run loop is not ready any more: %s, not %s", s.ID, id)
	}
	if err := h.createRoot(h.t.Context(), s); err != nil {
		h.t.Fatal(err)
	}
	h.mountAt(s)
	h.unmount(s)
	h.remove(s)
}

func spareUnwanted(h spareHost) {
	id := h.keep(chain)
	for range 2 { // in a directory given
		if h.NewID("", false) == id {
			h.t.Error("its id was given to a container without a chain")
		}
	}
	if err := h.Ready(); err != nil {
		h.t.Error(err)
	}
	if roots := h.roots(); len(roots) > 0 {
		h.t.Errorf("left: %q", roots)
	}
	if got := h.NewID("", false); got != id {
		h.t.Errorf("its run loop is not ready any more: %s, not %s", got, id)
	}
}

func spareDestroyed(h spareHost) {
	s := Spec{ID: h.keep(chain), Chain: chain.String()}
	if err := errors.Join(mount.Unmount(h.mountPath(s.ID), true), h.zfs.Destroy(h.t.Context(), h.datas.Container(s.ID))); err != nil {
		h.t.Fatal(err)
	}
	if id := h.NewID(s.Chain, false); id != s.ID {
		h.t.Errorf("the id is %s, what is ready is for %s", id, s.ID)
	}
	if err := h.createRoot(h.t.Context(), s); err != nil {
		h.t.Fatal(err)
	}
	h.mountAt(s)
	h.unmount(s)
	h.remove(s)
}

func spareSnapshot(h spareHost) {
	id := h.keep(chain)
	if err := h.zfs.Snapshot(h.t.Context(), h.datas.Container(id)+"@daily"); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Roots().Delete(h.t.Context(), chain); err != nil {
		h.t.Error(err)
	}
	if roots := h.roots(); len(roots) > 0 {
		h.t.Errorf("left: %q", roots)
	}
}

func spareNeeded(h spareHost) {
	id := h.keep(chain)
	name, kept := h.datas.Container(id), h.cfg.ContainerDataset+"/kept"
	if err := errors.Join(h.zfs.Snapshot(h.t.Context(), name+"@daily"), h.zfs.Clone(h.t.Context(), name+"@daily", kept, nil)); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Roots().Delete(h.t.Context(), chain); !errors.Is(err, syscall.EBUSY) {
		h.t.Errorf("deleted: %v", err)
	}
	if got := h.NewID(otherChain.String(), false); got == id {
		h.t.Error("the id is given out again")
	}
	if err := h.Sweep(h.t.Context(), nil); !errors.Is(err, syscall.EBUSY) { // as the next engine does
		h.t.Errorf("swept: %v", err)
	}
	if err := h.zfs.Destroy(h.t.Context(), kept); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Roots().Delete(h.t.Context(), chain); err != nil {
		h.t.Error(err)
	}
	if roots := h.roots(); len(roots) > 0 {
		h.t.Errorf("left: %q", roots)
	}
}

// A root that need not survive a power cut is another kind of root.
func spareVolatile(h spareHost) {
	var kept Spec
	for range 2 {
		kept = Spec{ID: randomID(), Chain: chain.String(), Volatile: true}
		if err := errors.Join(h.createRoot(h.t.Context(), kept), h.removeRoot(h.t.Context(), thing{Name: kept.ID})); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := h.Ready(); err != nil {
		h.t.Fatal(err)
	}
	id := h.NewID(kept.Chain, false)
	kept.ID = h.NewID(kept.Chain, true)
	if roots := h.roots(); id == kept.ID || !slices.Equal(roots, []string{kept.ID}) {
		h.t.Errorf("roots %q, the ids are %s and, for what need not survive, %s", roots, id, kept.ID)
	}
	if err := h.createRoot(h.t.Context(), kept); err != nil {
		h.t.Fatal(err)
	}
	h.mountAt(kept)
	st, err := h.mounted(kept.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	if props, err := h.zfs.Props(h.t.Context(), st.From, "sync"); err != nil || props["sync"] != "disabled" {
		h.t.Errorf("%s: %v, %v", st.From, props, err)
	}
	if err := os.WriteFile(filepath.Join(st.Path, "written"), []byte("x"), 0o644); err != nil {
		h.t.Error(err)
	}
	h.unmount(kept)
	h.mountAt(kept) // and it is writable again
	if err := os.Remove(filepath.Join(st.Path, "written")); err != nil {
		h.t.Error(err)
	}
	h.unmount(kept)
	h.remove(kept)
	if roots := h.roots(); len(roots) > 0 {
		h.t.Errorf("left: %q", roots)
	}
}
