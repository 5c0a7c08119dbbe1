package registry_test

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

// A store of blobs alone: what is pulled is verified and named, nothing is
// unpacked or missed, and what no name leads to is pruned.
func TestPullWithoutRoots(t *testing.T) {
	s := newServer(t)
	a, b := layer(t, "a", 1000), layer(t, "b", 2000)
	s.push(t, "a", "1", imagetest.NewImage(t, amd64, a, b))
	blobs, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	m := &store.Images{Blobs: blobs, Refs: blobs.Refs()}
	p := &registry.Puller{Images: m, Client: &registry.Client{Retry: patient}}
	o := options()
	phases := map[registry.Phase]int{}
	o.Progress = func(e registry.Event) { phases[e.Phase]++ }
	got, err := p.Pull(t.Context(), s.ref(t, "a:1"), o)
	if err != nil || len(got.Layers) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if phases[registry.Done] != 2 || phases[registry.Unpacking] != 0 {
		t.Errorf("phases: %v", phases)
	}
	for _, l := range got.Layers {
		if size, err := blobs.Stat(l.Blob.Digest); err != nil || size != l.Blob.Size {
			t.Errorf("%s: %d bytes, %v", l.Blob.Digest, size, err)
		}
	}
	if problems, err := m.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if err := m.Remove(t.Context(), got.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.Stat(got.Layers[0].Blob.Digest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a prune: %v", err)
	}
	// False content is refused here as well.
	s.spoil = func(w http.ResponseWriter, _ *http.Request, object string, _ int) bool {
		if object != b.Digest.String() {
			return false
		}
		_, err := w.Write([]byte(strings.Repeat("x", int(b.Size))))
		return err == nil
	}
	if _, err := p.Pull(t.Context(), s.ref(t, "a:1"), o); err == nil || !strings.Contains(err.Error(), b.Digest.String()) {
		t.Errorf("false content: %v", err)
	}
}
