package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

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
	root := filepath.Join(info.StateDir, "roots", "roots", c.ID)
	if _, err := os.Stat(filepath.Join(root, "w")); err != nil {
		t.Skip("the roots of this store are no overlays: ", err)
	}
	lower := t.TempDir()
	err = unix.Mount("overlay", lower, "overlay", 0, "lowerdir="+lower+",upperdir="+root+"/u,workdir="+root+"/w,volatile")
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no volatile overlays (since 5.10)")
	}
	if err := errors.Join(err, unix.Unmount(lower, 0)); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 7 {
		t.Errorf("%+v, %v", exit, err)
	}
}
