package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

var amd64 = ispec.Platform{OS: "freebsd", Architecture: "amd64", OSVersion: "14.3"}

func ref(t testing.TB, s string) image.Reference {
	t.Helper()
	r, err := image.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// add puts an image into the store by hand, as a pull does.
func add(t testing.TB, m *store.Images, name string, img imagetest.Image) store.Image {
	t.Helper()
	lease := m.Blobs.Lease()
	defer lease.Release()
	blobs := []imagetest.Blob{img.Manifest, img.Config}
	for _, l := range img.Layers {
		blobs = append(blobs, l.Blob)
	}
	for _, b := range blobs {
		if _, err := m.Blobs.Write(t.Context(), lease, b.MediaType, b.Data); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.Load(img.Manifest.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	lease.Pin(got)
	for _, l := range got.Layers {
		if _, err := m.Unroll(t.Context(), l, nil); err != nil {
			t.Fatal(err)
		}
	}
	got.Name = ref(t, name)
	if err := m.Put(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	return got
}

func layer(t testing.TB, name string) imagetest.Layer {
	t.Helper()
	return imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{name: name})
}

func sound(t testing.TB, m *store.Images) {
	t.Helper()
	if problems, err := m.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Fatalf("Check: %v, %v", problems, err)
	}
}

func TestImport(t *testing.T) {
	plain := imagetest.Tar(t, map[string]string{"bin/": "", "bin/sh": "#!"})
	for _, mediaType := range []string{ispec.MediaTypeImageLayer, ispec.MediaTypeImageLayerGzip, ispec.MediaTypeImageLayerZstd} {
		m, roots := imagetest.Open(t)
		created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		o := store.ImportOptions{
			Name: ref(t, "base:1"), Platform: amd64, Created: created, Comment: "by hand",
			Config: ispec.ImageConfig{Cmd: []string{"/bin/sh"}, Env: []string{"A=1"}, User: "www", WorkingDir: "/tmp"},
		}
		got, err := m.Import(t.Context(), bytes.NewReader(imagetest.Compress(t, mediaType, plain)), o)
		if err != nil {
			t.Fatal(err)
		}
		if got.Chain != digest.FromBytes(plain) || got.Layers[0].Blob.MediaType != mediaType {
			t.Errorf("%+v", got)
		}
		if b, err := os.ReadFile(filepath.Join(roots.Dir(got.Chain), "root", "bin/sh")); err != nil || string(b) != "#!" {
			t.Errorf("%q, %v", b, err)
		}
		found, err := m.Resolve(t.Context(), ref(t, "base:1"))
		if err != nil || found.Config.Config.User != "www" || found.Config.OSVersion != "14.3" || !found.Config.Created.Equal(created) || found.Manifest.Platform.OS != "freebsd" {
			t.Errorf("%+v, %v", found, err)
		}
		again, err := m.Import(t.Context(), bytes.NewReader(imagetest.Compress(t, mediaType, plain)), o)
		if err != nil || again.Manifest.Digest != got.Manifest.Digest {
			t.Errorf("not reproducible: %s, %v", again.Manifest.Digest, err)
		}
		sound(t, m)
	}
}

func TestImportRefuses(t *testing.T) {
	good := imagetest.Tar(t, map[string]string{"f": "x"})
	o := store.ImportOptions{Name: ref(t, "x"), Platform: amd64}
	for name, test := range map[string]struct {
		archive []byte
		change  func(*store.ImportOptions)
		words   string
	}{
		"empty":       {nil, nil, "empty"},
		"xz":          {[]byte("\xfd7zXZ\x00rest"), nil, "xz -dc"},
		"bzip2":       {[]byte("BZh91AY"), nil, "bzip2 -dc"},
		"cut gzip":    {imagetest.Compress(t, ispec.MediaTypeImageLayerGzip, good)[:50], nil, "decompress"},
		"cut zstd":    {imagetest.Compress(t, ispec.MediaTypeImageLayerZstd, good)[:20], nil, "decompress"},
		"not a tar":   {bytes.Repeat([]byte("x"), 1024), nil, "read layer"},
		"no name":     {good, func(o *store.ImportOptions) { o.Name = image.Reference{} }, "name"},
		"digest":      {good, func(o *store.ImportOptions) { o.Name.Digest = digest.FromString("") }, "digest"},
		"no platform": {good, func(o *store.ImportOptions) { o.Platform = ispec.Platform{} }, "platform"},
	} {
		m, roots := imagetest.Open(t)
		o := o
		if test.change != nil {
			test.change(&o)
		}
		_, err := m.Import(t.Context(), bytes.NewReader(test.archive), o)
		if err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", name, err)
		}
		for _, pattern := range []string{"blobs/*/*", "ingest/*"} {
			if left := files(t, m.Blobs.Dir(), pattern); len(left) > 0 {
				t.Errorf("%s: left %v", name, left)
			}
		}
		if left, err := os.ReadDir(roots.Path); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func TestResolveByDigest(t *testing.T) {
	m, _ := imagetest.Open(t)
	img := imagetest.NewImage(t, amd64, layer(t, "a"))
	got := add(t, m, "r.io/x:1", img)
	found, err := m.Resolve(t.Context(), ref(t, "r.io/x@"+got.Manifest.Digest.String()))
	if err != nil || found.Chain != img.Chain() {
		t.Errorf("%+v, %v", found, err)
	}
	for _, s := range []string{"r.io/x:2", "r.io/y@" + got.Manifest.Digest.String(), "r.io/x@" + digest.FromString("other").String()} {
		if _, err := m.Resolve(t.Context(), ref(t, s)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestTagRemoveList(t *testing.T) {
	m, _ := imagetest.Open(t)
	ctx := t.Context()
	add(t, m, "x:1", imagetest.NewImage(t, amd64, layer(t, "a")))
	if err := m.Tag(ctx, ref(t, "x:1"), ref(t, "y")); err != nil {
		t.Fatal(err)
	}
	if err := m.Tag(ctx, ref(t, "z"), ref(t, "y")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	list, err := m.List(ctx)
	if err != nil || len(list) != 2 || list[0].Name.Familiar() != "x:1" || list[1].Name.Familiar() != "y:latest" || list[0].Size == 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := m.Remove(ctx, ref(t, "x:1")); err != nil {
		t.Error(err)
	}
	if err := m.Remove(ctx, ref(t, "x:1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := m.Prune(ctx); err != nil {
		t.Error(err)
	}
	sound(t, m)
	if _, err := m.Resolve(ctx, ref(t, "y")); err != nil {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	m, roots := imagetest.Open(t)
	ctx := t.Context()
	a, b, c, d := layer(t, "a"), layer(t, "b"), layer(t, "c"), layer(t, "d")
	kept := add(t, m, "kept", imagetest.NewImage(t, amd64, a, b))
	used := add(t, m, "used", imagetest.NewImage(t, amd64, a, b, c))
	gone := add(t, m, "gone", imagetest.NewImage(t, amd64, d, a, b))
	m.InUse = func(_ context.Context, chain digest.Digest) ([]string, error) {
		if chain == used.Chain {
			return []string{"web"}, nil
		}
		return nil, nil
	}
	for _, name := range []string{"used", "gone"} {
		if err := m.Remove(ctx, ref(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(m.Blobs.Dir(), "ingest", "sha256-"+digest.FromString("part").Encoded()), []byte("part"), 0o600); err != nil {
		t.Fatal(err)
	}
	pruned, err := m.Prune(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(pruned.Chains) != 3 || pruned.Chains[0] != gone.Chain {
		t.Errorf("chains %v, want those of gone, the topmost first", pruned.Chains)
	}
	if len(pruned.Blobs) != 6 { // two manifests, two configs, c and d
		t.Errorf("blobs %v", pruned.Blobs)
	}
	for _, l := range append(kept.Layers, used.Layers...) {
		if there, err := roots.Has(ctx, l.Chain); err != nil || !there {
			t.Errorf("chain %s is gone, %v", l.Chain, err)
		}
	}
	if left := files(t, m.Blobs.Dir(), "ingest", "*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	sound(t, m)
	if again, err := m.Prune(ctx); err != nil || len(again.Blobs)+len(again.Chains) > 0 || again.Bytes != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestPruneSparesLeases(t *testing.T) {
	m, roots := imagetest.Open(t)
	ctx := t.Context()
	add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	img, lease, err := m.Acquire(ctx, ref(t, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, ref(t, "x")); err != nil {
		t.Fatal(err)
	}
	if pruned, err := m.Prune(ctx); err != nil || len(pruned.Blobs)+len(pruned.Chains) > 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	if there, err := roots.Has(ctx, img.Chain); err != nil || !there {
		t.Errorf("%v, %v", there, err)
	}
	lease.Release()
	lease.Release()
	if pruned, err := m.Prune(ctx); err != nil || len(pruned.Blobs) != 4 || len(pruned.Chains) != 2 {
		t.Errorf("%+v, %v", pruned, err)
	}
}

// A pull that ends while the prune is under way has put its name after the
// prune read the names: what it releases stays until the end of the prune.
func TestPruneSparesWhatIsPutMeanwhile(t *testing.T) {
	m, roots := imagetest.Open(t)
	ctx := t.Context()
	img := imagetest.NewImage(t, amd64, layer(t, "a"))
	refs := &lateRefs{Refs: m.Refs}
	m.Refs = refs
	got := add(t, m, "x", img)
	if err := m.Remove(ctx, got.Name); err != nil {
		t.Fatal(err)
	}
	lease := m.Blobs.Lease()
	lease.Pin(got)
	refs.after = func() {
		if err := m.Put(ctx, got); err != nil {
			t.Error(err)
		}
		lease.Release()
	}
	if pruned, err := m.Prune(ctx); err != nil || len(pruned.Blobs)+len(pruned.Chains) > 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	sound(t, m)
	if there, err := roots.Has(ctx, got.Chain); err != nil || !there {
		t.Errorf("%v, %v", there, err)
	}
}

type lateRefs struct {
	store.Refs
	after func()
}

func (r *lateRefs) List(ctx context.Context) (map[string]ispec.Descriptor, error) {
	list, err := r.Refs.List(ctx)
	if r.after != nil {
		r.after()
		r.after = nil
	}
	return list, err
}

func TestUnroll(t *testing.T) {
	m, roots := imagetest.Open(t)
	l := layer(t, "a")
	if _, err := m.Blobs.Write(t.Context(), nil, l.MediaType, l.Data); err != nil {
		t.Fatal(err)
	}
	step := store.Layer{Blob: l.Descriptor, DiffID: l.DiffID, Chain: l.DiffID}
	failing := errors.New("no space left")
	unpack := m.Unpack
	m.Unpack = func(context.Context, store.Draft, *os.File) (digest.Digest, error) { return "", failing }
	if created, err := m.Unroll(t.Context(), step, nil); created || !errors.Is(err, failing) {
		t.Errorf("%v, %v", created, err)
	}
	if left, err := os.ReadDir(roots.Path); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	m.Unpack = unpack
	for _, want := range []bool{true, false} {
		started := false
		created, err := m.Unroll(t.Context(), step, func() { started = true })
		if err != nil || created != want || started != want {
			t.Errorf("created %v, started %v, %v; want %v", created, started, err, want)
		}
	}
	if roots.Commits[l.DiffID] != 1 {
		t.Errorf("unpacked %d times", roots.Commits[l.DiffID])
	}
}

func TestCheckFindsDamage(t *testing.T) {
	m, roots := imagetest.Open(t)
	ctx := t.Context()
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	sound(t, m)
	blob := func(d digest.Digest) string { return filepath.Join(m.Blobs.Dir(), "blobs", "sha256", d.Encoded()) }
	if err := os.WriteFile(blob(img.Layers[0].Blob.Digest), []byte("spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blob(img.Layers[1].Blob.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := roots.Delete(ctx, img.Chain); err != nil {
		t.Fatal(err)
	}
	problems, err := m.Check(ctx)
	if err != nil || len(problems) != 4 { // the blob, its size, the missing one, the chain
		t.Errorf("%d problems: %v, %v", len(problems), problems, err)
	}
	if err := os.Remove(blob(img.ConfigID)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Prune(ctx); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fmt.Sprint(err), "docker.io/library/x:latest") {
		t.Errorf("pruned though an image cannot be read: %v", err)
	}
	if list, err := m.List(ctx); err == nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
