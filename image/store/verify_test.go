package store_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

// treeRoots are roots that can be looked into.
type treeRoots struct{ *imagetest.Roots }

func (r treeRoots) Tree(_ context.Context, chain digest.Digest) (string, error) {
	return filepath.Join(r.Dir(chain), "root"), nil
}

// withTrees opens images whose roots can be looked into, and whose files have
// times of their layers, as it were.
func withTrees(t *testing.T) (*store.Images, treeRoots) {
	t.Helper()
	m, roots := imagetest.Open(t)
	trees := treeRoots{roots}
	unpack := m.Unpack
	m.Roots = trees
	m.Unpack = func(ctx context.Context, into store.Draft, layer *os.File) (digest.Digest, error) {
		d, err := unpack(ctx, into, layer)
		return d, errors.Join(err, filepath.WalkDir(into.Dir(), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
		}))
	}
	return m, trees
}

// Files of a chain that are not as its layer has them are found, whatever has
// become of them, and a chain that was discarded is made again.
func TestCheckLooksIntoChains(t *testing.T) {
	m, roots := withTrees(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	add(t, m, "y", imagetest.NewImage(t, amd64, layer(t, "a"))) // shares a chain
	sound(t, m)
	base, top := filepath.Join(roots.Dir(img.Layers[0].Chain), "root"), filepath.Join(roots.Dir(img.Chain), "root")
	for name, tc := range map[string]struct {
		spoil func() error
		chain digest.Digest
		names string
	}{
		"content":   {func() error { return os.WriteFile(filepath.Join(top, "b"), []byte("other"), 0o644) }, img.Chain, `"/b"`},
		"mode":      {func() error { return os.Chmod(filepath.Join(top, "a"), 0o777) }, img.Chain, `"/a"`},
		"more":      {func() error { return os.WriteFile(filepath.Join(base, "new"), nil, 0o644) }, img.Layers[0].Chain, `"/new"`},
		"less":      {func() error { return os.Remove(filepath.Join(base, "a")) }, img.Layers[0].Chain, `"/a"`},
		"all of it": {func() error { return errors.Join(os.RemoveAll(top), os.Mkdir(top, 0o755)) }, img.Chain, `"/a", "/b"`},
		"other kind": {func() error {
			return errors.Join(os.Remove(filepath.Join(top, "b")), os.Mkdir(filepath.Join(top, "b"), 0o755))
		}, img.Chain, `"/b"`},
	} {
		if err := tc.spoil(); err != nil {
			t.Fatal(err)
		}
		problems, err := m.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, p := range problems {
			found = found || p.Chain == tc.chain && strings.Contains(p.String(), tc.names)
		}
		if !found {
			t.Errorf("%s: %v", name, problems)
		}
		if err := m.Discard(t.Context(), tc.chain); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, l := range img.Layers {
			if _, err := m.Unroll(t.Context(), l, nil); err != nil {
				t.Fatal(err)
			}
		}
		sound(t, m)
	}
	if entries, err := filepath.Glob(filepath.Join(roots.Path, ".*")); err != nil || len(entries) > 0 {
		t.Errorf("a check has left %q, %v", entries, err)
	}
}

// A chain that somebody needs is not discarded, nor what it stands on.
func TestDiscardSparesWhatIsNeeded(t *testing.T) {
	m, roots := imagetest.Open(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	used := img.Chain
	m.InUse = func(_ context.Context, chain digest.Digest) (bool, error) { return chain == used, nil }
	discard := func() error { return m.Discard(t.Context(), img.Layers[0].Chain) }
	if err := discard(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), img.Chain.String()) {
		t.Errorf("of a container: %v", err)
	}
	used = ""
	lease := m.Blobs.Lease()
	lease.PinChains(img.Layers[0].Chain)
	if err := discard(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("under a lease: %v", err)
	}
	lease.Release()
	if err := discard(); err != nil {
		t.Error(err)
	}
	if list, err := roots.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := m.Discard(t.Context()); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}
