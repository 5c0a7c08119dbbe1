package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// spoilChain changes a file of the image's layer behind the engine's back; on ZFS,
// where nobody can, it destroys the layer.
func spoilChain(t *testing.T, e api.Engine, img api.Image) (says string) {
	t.Helper()
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Storage == "zfs" {
		images, _ := datasets(os.Getenv(datasetEnv), filepath.Dir(info.StateDir))
		zfsDestroy(t, images, strings.TrimPrefix(img.Chain, "sha256:"))
		return img.Chain
	}
	files, err := filepath.Glob(filepath.Join(info.StateDir, "roots/layers/*/d/etc/os-release"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("NAME=spoilt\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return `"/etc/os-release"`
}

// A layer whose files were changed, or that is gone, is found by a check, and
// unpacked again by one that may repair; but not under a container.
func TestIntegrationRepairOfChains(t *testing.T) {
	e := testEngine(t)
	img := importRoot(t, e, "root")
	wholeImages(t, e)
	says := spoilChain(t, e, img)
	check, err := e.CheckImages(t.Context(), api.CheckImagesOptions{})
	if err != nil || len(check.Problems) != 1 || !strings.Contains(check.Problems[0].Problem, says) {
		t.Errorf("%+v, %v", check, err)
	}
	check, err = e.CheckImages(t.Context(), api.CheckImagesOptions{Repair: true})
	if err != nil || len(check.Problems) != 0 || len(check.Repaired) != 1 {
		t.Errorf("%+v, %v", check, err)
	}
	if out, exit := sh(t, e, api.ContainerSpec{}, "cat /etc/os-release"); out != "NAME=test\n" {
		t.Errorf("%q, %+v", out, exit)
	}
	if says == img.Chain {
		return // a container keeps it
	}
	if err := e.TagImage(t.Context(), "root", "again"); err != nil {
		t.Fatal(err)
	}
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "here", Image: "root", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	spoilChain(t, e, img)
	check, err = e.CheckImages(t.Context(), api.CheckImagesOptions{Repair: true})
	// One problem of each image, and one of what is in the way.
	if err != nil || len(check.Problems) != 3 || !strings.Contains(check.Problems[2].Problem, "by the container here") {
		t.Fatalf("under a container: %+v, %v", check, err)
	}
	if n := strings.Count(fmt.Sprint(check.Problems), "busy"); n != 1 {
		t.Errorf("told %d times: %+v", n, check.Problems)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if check, err = e.CheckImages(t.Context(), api.CheckImagesOptions{Repair: true}); err != nil || len(check.Problems) != 0 {
		t.Errorf("after it: %+v, %v", check, err)
	}
}

// A damaged blob that no registry gives again stays, and containers of the image run
// as before; nothing is called repaired.
func TestIntegrationRepairWithoutRegistry(t *testing.T) {
	e := testEngine(t)
	const name = "127.0.0.1:1/root" // where nobody listens
	importRoot(t, e, name)
	path := layerBlob(t, e, name)
	damaged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(path, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	check, err := e.CheckImages(t.Context(), api.CheckImagesOptions{Repair: true})
	if err != nil || len(check.Repaired) > 0 || len(check.Problems) != 3 {
		t.Fatalf("%+v, %v", check, err)
	}
	for i, want := range []string{"damaged", "containers of the image run", "connection refused"} {
		if !strings.Contains(check.Problems[i].Problem, want) {
			t.Errorf("%+v, want %s", check.Problems[i], want)
		}
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, damaged) {
		t.Errorf("the blob is not what it was, %v", err)
	}
	if out, exit := sh(t, e, api.ContainerSpec{Image: name}, "cat /etc/os-release"); out != "NAME=test\n" {
		t.Errorf("%q, %+v", out, exit)
	}
}

// layerBlob is the file of the blob of an image's only layer.
func layerBlob(t *testing.T, e api.Engine, name string) string {
	t.Helper()
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	steps, err := e.ImageHistory(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(info.StateDir, "images/blobs/sha256", strings.TrimPrefix(steps[0].Blob, "sha256:"))
}

// zfsDestroy destroys the dataset of a layer.
func zfsDestroy(t *testing.T, images, hex string) {
	t.Helper()
	list := strings.Fields(command(t, "zfs", "list", "-H", "-o", "name", "-r", images))
	for _, name := range list {
		if strings.HasSuffix(name, "-"+hex) {
			command(t, "zfs", "destroy", "-r", name)
			return
		}
	}
	t.Fatalf("no layer %s among %q", hex, list)
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}
