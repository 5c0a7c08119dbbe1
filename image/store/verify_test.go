package store_test

import (
	"bytes"
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

	"github.com/joyboyid/xc/image"
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

// A blob that is damaged is no reason to think so of the chain that was made of it;
// what still works is told. One that no image needs is told to be of that kind.
func TestCheckOfDamagedBlob(t *testing.T) {
	m, roots := withTrees(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	imagetest.Damage(t, m, img.Layers[1].Blob.Digest)
	problems, err := m.Check(t.Context())
	if err != nil || len(problems) != 2 || problems[0].Blob != img.Layers[1].Blob.Digest || !strings.Contains(problems[1].String(), "containers of the image run") {
		t.Errorf("%v, %v", problems, err)
	}
	for _, p := range problems {
		if p.Chain != "" || !strings.Contains(p.String(), "damaged") || strings.Contains(p.String(), "prune") {
			t.Errorf("%v", p)
		}
	}
	if err := roots.Delete(t.Context(), img.Chain); err != nil {
		t.Fatal(err)
	}
	problems, err = m.Check(t.Context())
	if err != nil || len(problems) != 3 || strings.Contains(problems[1].String(), "run") {
		t.Errorf("without the chain: %v, %v", problems, err)
	}
	if err := m.Remove(t.Context(), img.Name); err != nil {
		t.Fatal(err)
	}
	problems, err = m.Check(t.Context())
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].String(), "prune") {
		t.Errorf("without the image: %v, %v", problems, err)
	}
}

// A layer that cannot be unpacked, for want of space maybe, says nothing about the
// chain that was made of it before.
func TestCheckThatCannotCompare(t *testing.T) {
	m, _ := withTrees(t)
	add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a")))
	m.Unpack = func(context.Context, store.Draft, *os.File) (digest.Digest, error) { return "", syscall.ENOSPC }
	problems, err := m.Check(t.Context())
	if err != nil || len(problems) != 1 || !errors.Is(problems[0].Err, syscall.ENOSPC) || problems[0].Chain != "" {
		t.Errorf("%v, %v", problems, err)
	}
}

// A blob that is damaged can be staged again; it is there until another is.
func TestRestage(t *testing.T) {
	m, _ := imagetest.Open(t)
	blob := []byte("what it was")
	desc := describe(blob, digest.SHA256)
	restage := func() (*store.Staging, error) { return m.Blobs.Restage(t.Context(), desc) }
	for _, spoil := range []func() error{
		func() error { return nil }, // it is not there yet
		func() error { imagetest.Damage(t, m, desc.Digest); return nil },
		func() error {
			return os.Truncate(filepath.Join(m.Blobs.Dir(), "blobs/sha256", desc.Digest.Encoded()), 3)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		g, err := restage()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(bytes.ToUpper(blob)); err != nil {
			t.Fatal(err)
		}
		before, _ := m.Blobs.Stat(desc.Digest) // 0 if it is not there
		var mismatch *image.MismatchError
		if err := g.Commit(); !errors.As(err, &mismatch) {
			t.Errorf("of something else: %v", err)
		}
		if after, _ := m.Blobs.Stat(desc.Digest); after != before {
			t.Errorf("the damaged one has %d bytes, before: %d", after, before)
		}
		if g, err = restage(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(blob); err != nil {
			t.Fatal(err)
		}
		if err := g.Commit(); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Blobs.Read(desc, 100); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := restage(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("of what is sound: %v", err)
		}
	}
}

// A chain that somebody needs is not discarded, nor what it stands on.
func TestDiscardSparesWhatIsNeeded(t *testing.T) {
	m, roots := imagetest.Open(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	used := img.Chain
	m.InUse = func(_ context.Context, chain digest.Digest) ([]string, error) {
		if chain == used {
			return []string{"db", "web"}, nil
		}
		return nil, nil
	}
	discard := func() error { return m.Discard(t.Context(), img.Layers[0].Chain) }
	if err := discard(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), img.Chain.String()) || !strings.Contains(err.Error(), "container db, web") {
		t.Errorf("of containers: %v", err)
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
	if err := discard(); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}
