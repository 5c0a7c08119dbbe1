package registry_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
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
	change := func(d digest.Digest) error { imagetest.Damage(t, p.Images, d); return nil }
	lose := func(d digest.Digest) error { return os.Remove(path(d)) }
	for name, spoilIt := range map[string]func() error{
		"manifest spoiled": func() error { return spoil(got.Manifest.Digest) },
		"manifest lost":    func() error { return lose(got.Manifest.Digest) },
		"config spoiled":   func() error { return spoil(got.ConfigID) },
		"manifest changed": func() error { return change(got.Manifest.Digest) },
		"config changed":   func() error { return change(got.ConfigID) },
		"layer changed":    func() error { return change(got.Layers[0].Blob.Digest) },
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
		if left, err := p.Repair(t.Context(), problems); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", name, left, err)
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
	if left, err := p.Repair(t.Context(), problems); err != nil || len(left) != 1 {
		t.Errorf("repaired from a registry that is not there: %v, %v", left, err)
	}
	if problems, err := p.Images.Check(t.Context()); err != nil || len(problems) == 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// What the registry does not give again stays: the damaged blob, and the chains
// that may be all there is of an image.
func TestRepairDeletesNothingItCannotReplace(t *testing.T) {
	s := newServer(t)
	base, top := layer(t, "a", 1000), layer(t, "b", 1000)
	s.push(t, "a", "1", imagetest.NewImage(t, amd64, base, top))
	s.push(t, "b", "1", imagetest.NewImage(t, amd64, base))
	p, roots := newPuller(t)
	got, err := p.Pull(t.Context(), s.ref(t, "a:1"), options())
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.Pull(t.Context(), s.ref(t, "b:1"), options())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	blobs := map[digest.Digest][]byte{}
	for _, d := range []digest.Digest{got.Layers[1].Blob.Digest, got.ConfigID, got.Manifest.Digest} {
		blobs[d] = imagetest.Damage(t, p.Images, d)
		problems, err := p.Images.Check(t.Context())
		if err != nil || len(problems) < 2 { // of the blob and of the image
			t.Fatalf("%v, %v", problems, err)
		}
		// As if the chain that both stand on were damaged, and found by both.
		wrong := store.Problem{Object: "image", Err: os.ErrInvalid, Chain: other.Chain}
		left, err := p.Repair(t.Context(), append(problems, wrong, wrong))
		if err != nil || len(left) != 2 || !strings.Contains(left[0].String(), got.Name.String()) || left[1].Object != "image "+got.Name.String() {
			t.Errorf("%v, %v", left, err)
		}
		again, err := p.Images.Check(t.Context())
		if err != nil || len(again) != len(problems) {
			t.Errorf("%v, %v, before: %v", again, err, problems)
		}
		for d, want := range blobs {
			b, err := os.ReadFile(filepath.Join(p.Images.Blobs.Dir(), "blobs/sha256", d.Encoded()))
			if err != nil || !bytes.Equal(b, want) {
				t.Errorf("blob %s is another, %v", d, err)
			}
		}
		for _, l := range got.Layers {
			if there, err := roots.Has(t.Context(), l.Chain); err != nil || !there {
				t.Errorf("chain %s is gone, %v", l.Chain, err)
			}
		}
	}
}

// What one repository does not have of an image any more, another has.
func TestRepairFromWhereItIs(t *testing.T) {
	s := newServer(t)
	img := imagetest.NewImage(t, amd64, layer(t, "a", 1000))
	s.push(t, "a", "1", img)
	s.push(t, "b", "1", img)
	p, _ := newPuller(t)
	for _, name := range []string{"a:1", "b:1"} {
		if _, err := p.Pull(t.Context(), s.ref(t, name), options()); err != nil {
			t.Fatal(err)
		}
	}
	s.spoil = func(w http.ResponseWriter, r *http.Request, _ string, _ int) bool {
		return strings.HasPrefix(r.URL.Path, "/v2/a/") && status(404)(w)
	}
	imagetest.Damage(t, p.Images, img.Layers[0].Digest)
	problems, err := p.Images.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := p.Repair(t.Context(), problems); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	sound(t, p.Images)
}
