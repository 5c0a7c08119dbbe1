package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// A container that removes itself and whose first start was broken off, after its
// root had been mounted and before main ran, can be started.
func TestIntegrationStartAfterBrokenStart(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"sh", "-c", "exit 7"}, AutoRemove: true})
	if err != nil {
		t.Fatal(err)
	}
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	works, err := filepath.Glob(filepath.Join(info.StateDir, "roots", "roots", c.ID, "w"))
	if err != nil || len(works) != 1 {
		t.Skipf("the root of %s is no overlay: %q, %v", c.ID, works, err)
	}
	if err := os.MkdirAll(filepath.Join(works[0], "work", "incompat", "volatile"), 0o700); err != nil { // as the kernel does
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 7 {
		t.Errorf("%+v, %v", exit, err)
	}
}
