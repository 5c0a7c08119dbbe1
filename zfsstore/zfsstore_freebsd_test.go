package zfsstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/zfs"
	"github.com/joyboyid/xc/zfsstore"
)

// datasetEnv names a dataset below which the tests make theirs.
const datasetEnv = "XC_TEST_DATASET"

func chain(n int) digest.Digest { return digest.Digest(fmt.Sprintf("sha256:%064x", n+1)) }

var opened atomic.Int32

// everyWay runs a test by ioctl, where the kernel's are known, and by zfs(8).
func everyWay(t *testing.T, test func(t *testing.T, s *zfsstore.Store)) {
	t.Run("ioctl", func(t *testing.T) {
		s := open(t, &zfs.ZFS{})
		if !s.ZFS.Native() {
			t.Skip("this kernel's ZFS ioctls are not of the version that package zfs knows")
		}
		test(t, s)
	})
	t.Run("exec", func(t *testing.T) { test(t, open(t, &zfs.ZFS{Run: zfs.Exec})) })
}

// open opens a store of its own, on datasets of its own.
func open(t testing.TB, z *zfs.ZFS) *zfsstore.Store {
	t.Helper()
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
	}
	base := fmt.Sprintf("%s/zfsstore%d-%d", parent, os.Getpid(), opened.Add(1))
	s := &zfsstore.Store{
		ZFS: z, Images: base + "/images", Containers: base + "/containers", Tag: "t", Dir: t.TempDir(),
		Mount: func(dataset, dir string, options ...string) error {
			return mount.Mount(mount.Entry{Type: "zfs", From: dataset, Path: dir, Options: options})
		},
		Unmount: func(dir string) error {
			st, err := mount.At(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return errors.Join(err, st.Unmount(true))
		},
	}
	t.Cleanup(func() {
		for _, name := range []string{s.Containers, s.Images, base} {
			destroyAll(t, z, name)
		}
	})
	for _, name := range []string{base, s.Images, s.Containers} {
		if err := z.Create(t.Context(), name, map[string]string{"mountpoint": "none"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// destroyAll destroys a dataset and what is below it, clones before what they
// are of.
func destroyAll(t testing.TB, z *zfs.ZFS, name string) {
	t.Helper()
	ctx := context.Background() // the test's has ended
	for left := -1; ; {
		list, err := z.List(ctx, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == left {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		left = len(list)
		for i := len(list) - 1; i >= 0; i-- {
			_ = z.Destroy(ctx, list[i].Name) // one that has clones goes in the next round
		}
	}
}

func begin(t testing.TB, s *zfsstore.Store, n int, parent digest.Digest) store.Draft {
	t.Helper()
	d, err := s.Begin(t.Context(), chain(n), parent)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestIntegrationLifeOfAChain(t *testing.T) { everyWay(t, lifeOfAChain) }

func lifeOfAChain(t *testing.T, s *zfsstore.Store) {
	ctx := t.Context()
	if err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	has := func(n int, want bool) {
		t.Helper()
		if got, err := s.Has(ctx, chain(n)); got != want || err != nil {
			t.Errorf("has %d: %v, %v", n, got, err)
		}
	}
	d := begin(t, s, 0, "")
	if err := os.WriteFile(filepath.Join(d.Dir(), "base"), []byte("base"), 0o644); err != nil {
		t.Fatal(err)
	}
	has(0, false)
	if _, err := s.Begin(ctx, chain(1), chain(0)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("on a parent that is not complete: %v", err)
	}
	if err := d.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	has(0, true)
	if _, err := s.Begin(ctx, chain(0), ""); !errors.Is(err, fs.ErrExist) {
		t.Errorf("begun again: %v", err)
	}
	d = begin(t, s, 1, chain(0))
	if b, err := os.ReadFile(filepath.Join(d.Dir(), "base")); err != nil || string(b) != "base" {
		t.Errorf("of the parent: %q, %v", b, err)
	}
	if err := d.Abort(ctx); err != nil {
		t.Error(err)
	}
	has(1, false)
	begin(t, s, 1, chain(0)) // and forgotten, as by a crash
	if err := s.Sweep(ctx); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(s.Dir); err != nil || len(entries) > 0 {
		t.Errorf("left where drafts are mounted: %v, %v", entries, err)
	}
	if err := begin(t, s, 1, chain(0)).Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(ctx); err != nil || len(list) != 2 || list[chain(1)] != chain(0) || list[chain(0)] != "" {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.Create(ctx, "c", chain(1).String()); err != nil {
		t.Fatal(err)
	}
	for n := range 2 { // each has a clone
		if err := s.Delete(ctx, chain(n)); err == nil {
			t.Errorf("chain %d was deleted under its clone", n)
		}
		has(n, true)
	}
	if err := s.Remove(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 1, 0} {
		if err := s.Delete(ctx, chain(n)); err != nil {
			t.Error(err)
		}
		has(n, false)
	}
	for _, bad := range []string{"", "a/b", "a@b"} {
		if err := s.Remove(ctx, bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("remove %q: %v", bad, err)
		}
	}
}

// What a container, and a layer, cost among so many images: the same.
func BenchmarkAmongChains(b *testing.B) {
	for _, many := range []int{1, 2000} {
		s := open(b, &zfs.ZFS{})
		for n := range many {
			name := fmt.Sprintf("%s/%s-%s", s.Images, s.Tag, chain(n).Encoded())
			if err := errors.Join(s.ZFS.Create(b.Context(), name, nil), s.ZFS.Snapshot(b.Context(), name+"@frozen")); err != nil {
				b.Fatal(err)
			}
		}
		middle := chain(many / 2)
		b.Run(fmt.Sprint(many, "/Has"), func(b *testing.B) {
			for b.Loop() {
				if ok, err := s.Has(b.Context(), middle); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprint(many, "/CreateRemove"), func(b *testing.B) {
			for b.Loop() {
				if err := errors.Join(s.Create(b.Context(), "c", middle.String()), s.Remove(b.Context(), "c")); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(many, "/Layer"), func(b *testing.B) {
			for b.Loop() {
				d, err := s.Begin(b.Context(), chain(many), middle)
				if err == nil {
					err = d.Commit(b.Context())
				}
				if err := errors.Join(err, s.Delete(b.Context(), chain(many))); err != nil {
					b.Fatal(err)
				}
			}
		})
		for n := range many {
			if err := s.Delete(b.Context(), chain(n)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Somebody makes snapshots of the whole pool.
func TestIntegrationSnapshotsOfOthers(t *testing.T) { everyWay(t, snapshotsOfOthers) }

func snapshotsOfOthers(t *testing.T, s *zfsstore.Store) {
	ctx := t.Context()
	if err := begin(t, s, 0, "").Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, "c1", chain(0).String()); err != nil {
		t.Fatal(err)
	}
	root := s.Container("c1")
	snapshot := func(name string) {
		t.Helper()
		if err := s.ZFS.Snapshot(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	snapshot(root + "@hourly")
	snapshot(root + "@daily")
	if err := s.ZFS.Clone(ctx, root+"@daily", s.Containers+"/kept", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "c1"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("removed with a snapshot that has a clone: %v", err)
	}
	if there, err := s.ZFS.Exists(ctx, root+"@daily"); err != nil || !there {
		t.Errorf("what had a clone: %v, %v", there, err)
	}
	if err := s.ZFS.Destroy(ctx, s.Containers+"/kept"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "c1"); err != nil {
		t.Error(err)
	}
	if there, err := s.ZFS.Exists(ctx, root); err != nil || there {
		t.Errorf("after its removal: %v, %v", there, err)
	}
	name := s.Images + "/t-" + chain(0).Encoded()
	snapshot(name + "@hourly")
	if err := s.Delete(ctx, chain(0)); err != nil {
		t.Error(err)
	}
	if there, err := s.ZFS.Exists(ctx, name); err != nil || there {
		t.Errorf("after its removal: %v, %v", there, err)
	}
}

// A root that need not survive a power cut.
func TestIntegrationVolatile(t *testing.T) { everyWay(t, volatile) }

func volatile(t *testing.T, s *zfsstore.Store) {
	ctx := t.Context()
	for range 2 {
		if err := s.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(t, s, 0, "").Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Root(ctx, "c1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	if err := errors.Join(s.CreateVolatile(ctx, "c1", chain(0).String()), s.Create(ctx, "c2", chain(0).String())); err != nil {
		t.Fatal(err)
	}
	for id, sync := range map[string]string{"c1": "disabled", "c2": "standard"} {
		name, err := s.Root(ctx, id)
		if of, ok := s.RootID(name); err != nil || !ok || of != id {
			t.Errorf("the root of %s is %s, of %q (%v), %v", id, name, of, ok, err)
		}
		if props, err := s.ZFS.Props(ctx, name, "sync"); err != nil || props["sync"] != sync {
			t.Errorf("%s: %v, %v", name, props, err)
		}
		if err := s.Look(ctx, id, chain(0).String(), "", func(old, now string, changed []zfs.Change) error {
			if len(changed) > 0 {
				t.Errorf("%s: %+v", id, changed)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	_, roots, err := s.Sizes(ctx)
	if err != nil || len(roots) != 2 {
		t.Errorf("sizes: %v, %v", roots, err)
	}
	for _, id := range []string{"c1", "c2", "c3"} { // the last is not there
		if n, err := s.RootSize(ctx, id); err != nil || n != roots[id] {
			t.Errorf("size of %s: %d, %v", id, n, err)
		}
	}
	for _, id := range []string{"c1", "c2", "c1"} {
		if err := s.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if _, roots, err := s.Sizes(ctx); err != nil || len(roots) != 0 {
		t.Errorf("left: %v, %v", roots, err)
	}
}

// A root that something holds is removed as soon as it is let go, by ioctl(2) and by
// zfs(8).
func TestIntegrationRemoveWaits(t *testing.T) {
	everyWay(t, func(t *testing.T, s *zfsstore.Store) {
		if err := begin(t, s, 0, "").Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), "c", chain(0).String()); err != nil {
			t.Fatal(err)
		}
		root, dir := s.Container("c"), t.TempDir()
		if err := s.Mount(root, dir); err != nil {
			t.Fatal(err)
		}
		if err := s.ZFS.Destroy(t.Context(), root); !errors.Is(err, syscall.EBUSY) {
			t.Fatalf("it is mounted, and destroyed: %v", err)
		}
		// Whoever waits asks for Done: so many times in the second round at the earliest.
		ctx := &patient{Context: t.Context(), left: 8, last: func() {
			if there, err := s.ZFS.Exists(t.Context(), root); err != nil || !there {
				t.Errorf("while it is mounted: %v, %v", there, err)
			}
			if err := s.Unmount(dir); err != nil {
				t.Error(err)
			}
		}}
		if err := s.Remove(ctx, "c"); err != nil {
			t.Error(err)
		}
		if ctx.left > 0 {
			t.Error("nothing waited for the unmount")
		}
		if there, err := s.ZFS.Exists(t.Context(), root); err != nil || there {
			t.Errorf("after its removal: %v, %v", there, err)
		}
	})
}

// patient is a context that does something when it has been asked for Done so many
// times.
type patient struct {
	context.Context
	mu   sync.Mutex
	left int
	last func()
}

func (p *patient) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		p.last()
	}
	return p.Context.Done()
}
