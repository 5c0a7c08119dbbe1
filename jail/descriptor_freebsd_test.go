package jail

import (
	"errors"
	"io/fs"
	"testing"
)

// probe is how a jail is opened and watched: an error of each, and ErrUnsupported
// of both where the kernel is older than descriptors.
func probe(t *testing.T, id ID) (opened, watched error) {
	t.Helper()
	d, opened := id.Open(false)
	if opened == nil {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	w, watched := Watch(id)
	if watched == nil {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	return opened, watched
}

// A kernel that does not have them says so, whether there is such a jail or not. One
// that does opens a jail, and tells when there is none.
func TestIntegrationDescriptorProbe(t *testing.T) {
	requireRoot(t)
	id := create(t, String("name", name(t, "desc")))
	opened, watched := probe(t, id)
	unsupported := errors.Is(opened, errors.ErrUnsupported)
	if unsupported != errors.Is(watched, errors.ErrUnsupported) {
		t.Errorf("one is there and not the other: open: %v; watch: %v", opened, watched)
	}
	if !unsupported && (opened != nil || watched != nil) {
		t.Errorf("a jail: open: %v; watch: %v", opened, watched)
	}
	if err := id.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := fs.ErrNotExist
	if unsupported {
		want = errors.ErrUnsupported
	}
	if opened, watched = probe(t, id); !errors.Is(opened, want) || !errors.Is(watched, want) {
		t.Errorf("no jail: open: %v; watch: %v; want %v", opened, watched, want)
	}
}
