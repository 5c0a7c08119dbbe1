package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/testroot"
)

// usage returns what system df tells of one kind.
func usage(t *testing.T, e api.Engine, kind string) api.DiskUsage {
	t.Helper()
	list, err := e.DiskUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(u api.DiskUsage) bool { return u.Kind == kind })
	if i < 0 {
		t.Fatalf("no %s in %+v", kind, list)
	}
	return list[i]
}

// importTar imports files as an image.
func importTar(t *testing.T, e api.Engine, name string, files map[string]string) api.Image {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := testroot.NewWriter(f)
	for name, content := range files {
		w.File(name, content, 0o644)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	img, err := e.ImportImage(t.Context(), api.ImportSpec{Name: name, Archive: f})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestIntegrationImageNames(t *testing.T) {
	e := testEngine(t)
	img := importRoot(t, e, "base:1")
	if err := e.TagImage(t.Context(), "base:1", "other/base"); err != nil {
		t.Fatal(err)
	}
	got, err := e.InspectImage(t.Context(), "other/base")
	if err != nil || got.ID != img.ID || len(got.Names) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := e.TagImage(t.Context(), "nothing", "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tag of nothing: %v", err)
	}
	if err := e.TagImage(t.Context(), "base:1", "x@"+img.Digest); err == nil {
		t.Error("a digest was taken as a name")
	}
	steps, err := e.ImageHistory(t.Context(), "base:1")
	if err != nil || len(steps) != 1 || steps[0].CreatedBy != "xc import" || steps[0].Layer != img.Layers[0] || steps[0].Size == 0 {
		t.Errorf("%+v, %v", steps, err)
	}
}

// What a container lives on stays, also when its image has lost its name; what
// nothing needs goes.
func TestIntegrationImagePrune(t *testing.T) {
	e := testEngine(t)
	img := importRoot(t, e, "base:1")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "base:1", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if u := usage(t, e, api.UsageImages); u.Total != 1 || u.Active != 1 || u.Size == 0 || u.Reclaimable != 0 {
		t.Errorf("in use: %+v", u)
	}
	if u := usage(t, e, api.UsageLayers); u.Total != 1 || u.Active != 1 || u.Reclaimable != 0 {
		t.Errorf("in use: %+v", u)
	}
	if u := usage(t, e, api.UsageContainers); u.Total != 1 || u.Active != 0 {
		t.Errorf("%+v", u)
	}
	// Another image takes the name.
	importTar(t, e, "base:1", map[string]string{"other": "image"})
	pruned, err := e.PruneImages(t.Context(), api.PruneImagesOptions{})
	if err != nil || len(pruned.Names)+len(pruned.Blobs)+len(pruned.Roots) != 0 {
		t.Errorf("a prune took %+v, %v", pruned, err)
	}
	pruned, err = e.PruneImages(t.Context(), api.PruneImagesOptions{All: true})
	if err != nil || !slices.Equal(pruned.Names, []string{"docker.io/library/base:1"}) || len(pruned.Roots) != 1 || pruned.Roots[0] == img.Chain || pruned.Bytes == 0 {
		t.Errorf("a prune of all took %+v, %v", pruned, err)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	pruned, err = e.PruneImages(t.Context(), api.PruneImagesOptions{})
	if err != nil || !slices.Equal(pruned.Roots, []string{img.Chain}) || len(pruned.Blobs) != 3 {
		t.Errorf("after the container: %+v, %v", pruned, err)
	}
	if u := usage(t, e, api.UsageImages); u != (api.DiskUsage{Kind: api.UsageImages}) {
		t.Errorf("left: %+v", u)
	}
}

// A saved image is loaded into another engine and runs there; what is spoiled is
// told of.
func TestIntegrationSaveLoadAndCheck(t *testing.T) {
	from, to := testEngine(t), testEngine(t)
	img := importRoot(t, from, "root:1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	saved := make(chan error, 1)
	go func() {
		saved <- from.SaveImages(t.Context(), api.SaveSpec{Names: []string{"root:1"}, Archive: w})
		w.Close()
	}()
	loaded, err := to.LoadImages(t.Context(), api.LoadSpec{Archive: r})
	if err := errors.Join(err, <-saved); err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 1 || loaded[0].ID != img.ID || loaded[0].Names[0] != "docker.io/library/root:1" {
		t.Errorf("%+v", loaded)
	}
	if out, exit := sh(t, to, api.ContainerSpec{Image: "root:1"}, "echo $FROM"); out != "image\n" || exit.Code != 0 {
		t.Errorf("%q %+v", out, exit)
	}
	check, err := to.CheckImages(t.Context(), api.CheckImagesOptions{})
	if err != nil || check.Images != 1 || check.Blobs != 3 || len(check.Problems) != 0 {
		t.Errorf("%+v, %v", check, err)
	}
	info, err := to.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(info.StateDir, "images/blobs/sha256/*"))
	if err != nil || len(blobs) != 3 {
		t.Fatal(blobs, err)
	}
	for _, b := range blobs {
		if st, err := os.Stat(b); err == nil && st.Size() > 100_000 { // the layer
			if err := os.Truncate(b, 1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	if check, err = to.CheckImages(t.Context(), api.CheckImagesOptions{}); err != nil || len(check.Problems) == 0 {
		t.Errorf("%+v, %v", check, err)
	}
	if err := from.SaveImages(t.Context(), api.SaveSpec{Names: []string{"nothing"}, Archive: w}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("save of nothing: %v", err)
	}
}
