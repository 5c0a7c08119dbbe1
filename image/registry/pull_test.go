package registry_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

func TestPull(t *testing.T) {
	s := newServer(t)
	base, top := layer(t, "base", 100_000), layer(t, "top", 1_000)
	img := imagetest.NewImage(t, amd64, base, top)
	s.push(t, "a/b", "v1", img)
	p, roots := newPuller(t)

	var mu sync.Mutex
	phases := map[digest.Digest][]registry.Phase{}
	o := options()
	o.Progress = func(e registry.Event) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(phases[e.Layer]); n == 0 || phases[e.Layer][n-1] != e.Phase {
			phases[e.Layer] = append(phases[e.Layer], e.Phase)
		}
	}
	got, err := p.Pull(t.Context(), s.ref(t, "a/b:v1"), o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Chain != img.Chain() || got.Manifest.Digest != img.Manifest.Digest || !got.Updated || got.Warning != "" {
		t.Errorf("pulled %+v", got)
	}
	for _, f := range []string{"base", "top"} {
		if _, err := os.Stat(filepath.Join(roots.Dir(got.Chain), "root", f)); err != nil {
			t.Error(err)
		}
	}
	want := []registry.Phase{registry.Waiting, registry.Downloading, registry.Downloaded, registry.Unpacking, registry.Done}
	for _, l := range img.Layers {
		if got := phases[l.Digest]; !equal(got, want) {
			t.Errorf("phases of %s are %v, want %v", l.Digest, got, want)
		}
	}
	sound(t, p.Images)

	// Again: nothing is fetched but the manifest.
	clear(phases)
	again, err := p.Pull(t.Context(), s.ref(t, "a/b:v1"), o)
	if err != nil || again.Updated {
		t.Errorf("second pull: updated %v, %v", again.Updated, err)
	}
	if n := s.count(base.Digest); n != 1 {
		t.Errorf("base was fetched %d times", n)
	}
	for _, l := range img.Layers {
		if got := phases[l.Digest]; !equal(got, []registry.Phase{registry.Exists}) {
			t.Errorf("second pull: phases of %s are %v", l.Digest, got)
		}
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
