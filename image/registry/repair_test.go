package registry_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/internal/imagetest"
)

// Whatever is spoiled or lost of an image is fetched and unpacked again.
func TestRepair(t *testing.T) {
	s := newServer(t)
	img := imagetest.NewImage(t, amd64, layer(t, "a", 1000), layer(t, "b", 1000))
	s.push(t, "a", "1", img)
	p, roots := newPuller(t)
	got, err := p.Pull(t.Context(), s.ref(t, "a:1"), options())
	if err != nil {
		t.Fatal(err)
	}
	path := func(d digest.Digest) string { return filepath.Join(p.Images.Blobs.Dir(), "blobs/sha256", d.Encoded()) }
	spoil := func(d digest.Digest) error { return os.WriteFile(path(d), []byte("spoiled"), 0o600) }
	lose := func(d digest.Digest) error { return os.Remove(path(d)) }
	for name, spoilIt := range map[string]func() error{
		"manifest spoiled": func() error { return spoil(got.Manifest.Digest) },
		"manifest lost":    func() error { return lose(got.Manifest.Digest) },
		"config spoiled":   func() error { return spoil(got.ConfigID) },
		"layer spoiled":    func() error { return spoil(got.Layers[1].Blob.Digest) },
		"layer lost":       func() error { return lose(got.Layers[0].Blob.Digest) },
		"chain lost":       func() error { return roots.Delete(t.Context(), got.Chain) },
		"all of it": func() error {
			for _, d := range []digest.Digest{got.Manifest.Digest, got.ConfigID, got.Layers[0].Blob.Digest} {
				if err := spoil(d); err != nil {
					return err
				}
			}
			return roots.Delete(t.Context(), got.Chain)
		},
	} {
		if err := spoilIt(); err != nil {
			t.Fatal(err)
		}
		problems, err := p.Images.Check(t.Context())
		if err != nil || len(problems) == 0 {
			t.Fatalf("%s: %v, %v", name, problems, err)
		}
		if err := p.Repair(t.Context(), problems); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sound(t, p.Images)
	}
	// What the registry does not have is told, and nothing is made up.
	s.Close()
	if err := lose(got.Layers[0].Blob.Digest); err != nil {
		t.Fatal(err)
	}
	problems, err := p.Images.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Repair(t.Context(), problems); err == nil {
		t.Error("repaired from a registry that is not there")
	}
	if problems, err := p.Images.Check(t.Context()); err != nil || len(problems) == 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
