package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestSaveAndLoad(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "save", "alpine:3", "alpine:3"); r.code != 0 || r.out != "archive of alpine:3 alpine:3" {
		t.Errorf("%+v", r)
	}
	name := filepath.Join(t.TempDir(), "archive")
	if r := f.xc(t, "image", "save", "-o", name, "nothing"); r.code != 125 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a save that failed has left a file")
	}
	if r := f.xc(t, "save", "-o", name, "alpine:3"); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "load", "-i", name, "--name", "x:1"); r.out != "Loaded image: a:1\n" || f.archive != "archive of alpine:3" || f.loaded != (api.LoadSpec{Name: "x:1"}) {
		t.Errorf("%+v %q %+v", r, f.archive, f.loaded)
	}
	a, done := f.app(t, "from a stream")
	if r := done(a.Run(t.Context(), []string{"load", "-q"})); r.out != "sha256:loaded\n" || f.archive != "from a stream" {
		t.Errorf("%+v %q", r, f.archive)
	}
}
