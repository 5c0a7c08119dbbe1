package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// On a full disk a container that ends is seen to end, with its code; what
// fails says why; and removing it makes room.
func TestIntegrationFullDisk(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	c := config(dir)
	c.Spare = false
	reported := make(chan error, 100)
	c.Report = func(err error) { reported <- err }
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer closeClean(t, e)
	importRoot(t, e, "root")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a := startWith(t, e, api.ContainerSpec{Name: "a", Image: "root", Command: []string{"sh", "-c", "read x; exit 7"}}, api.StartOptions{Stdio: api.Stdio{Stdin: r}})
	r.Close()

	full := filepath.Join(dir, "full")
	fill(t, full)
	w.Close()
	exit, err := e.WaitContainer(t.Context(), a.ID, api.WaitOptions{})
	if err != nil || exit.Code != 7 {
		t.Errorf("the end of a container on a full disk: %+v, %v", exit, err)
	}
	if got, err := e.InspectContainer(t.Context(), a.ID); err != nil || got.State != api.StateExited {
		t.Errorf("state %q, %v", got.State, err)
	}
	_, err = e.CreateContainer(t.Context(), api.ContainerSpec{Name: "b", Image: "root"})
	if err != nil && !strings.Contains(err.Error(), "no space") && !strings.Contains(err.Error(), "full") {
		t.Errorf("create on a full disk: %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := e.RemoveContainer(t.Context(), a.ID, api.RemoveOptions{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("remove once there is room: %v", err)
		}
	}
}

// fill fills the file system of a file.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 12, 1} {
		b := make([]byte, size)
		for err == nil {
			_, err = f.Write(b)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}
