package store_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; on Debian: apt-get install %s", name, name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out
}

// saved writes an archive of two images, the second a commit upon the first.
func saved(t *testing.T) (m *store.Images, archive string, images []store.Image) {
	t.Helper()
	m, _ = imagetest.Open(t)
	platform := ispec.Platform{OS: "linux", Architecture: "amd64"}
	base := add(t, m, "r.io/base:1", imagetest.NewImage(t, platform, imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"etc/": "", "etc/a": "1"})))
	top := imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"etc/b": "2"})
	made, err := m.Commit(t.Context(), base, store.CommitOptions{Name: ref(t, "r.io/made:2"), Config: base.Config.Config, CreatedBy: "sh", MediaType: top.MediaType, Layer: layerOf(top)})
	if err != nil {
		t.Fatal(err)
	}
	images = []store.Image{base, made}
	archive = filepath.Join(t.TempDir(), "archive.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.Save(t.Context(), f, images); err != nil {
		t.Fatal(err)
	}
	return m, archive, images
}

// skopeo reads what is saved, as both kinds of archive, and what it writes of
// it is loaded.
func TestIntegrationArchivesAndSkopeo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skopeo changes the owner of what it reads from an oci-archive: run as root")
	}
	skopeo := program(t, "skopeo")
	_, archive, images := saved(t)
	for _, source := range []string{"oci-archive:" + archive + ":2", "docker-archive:" + archive + ":r.io/made:2"} {
		var seen struct {
			Digest string
			Layers []string
		}
		if err := json.Unmarshal(run(t, skopeo, "inspect", source), &seen); err != nil || len(seen.Layers) != 2 {
			t.Errorf("%s: %+v, %v", source, seen, err)
		}
		if strings.HasPrefix(source, "oci") && seen.Digest != images[1].Manifest.Digest.String() {
			t.Errorf("%s: %+v", source, seen)
		}
	}
	for _, dest := range []string{"docker-archive:%:r.io/made:2", "oci-archive:%:r.io/made:2"} {
		name := filepath.Join(t.TempDir(), "copy.tar")
		run(t, skopeo, "--insecure-policy", "copy", "oci-archive:"+archive+":2", strings.Replace(dest, "%", name, 1))
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		to, _ := imagetest.Open(t)
		o := loadOptions()
		o.Platforms[0].OS = "linux"
		got, err := to.LoadArchive(t.Context(), f, o)
		if err != nil || len(got) != 1 || got[0].Chain != images[1].Chain || got[0].ConfigID != images[1].ConfigID || got[0].Name != images[1].Name {
			t.Errorf("%s: %+v, %v", dest, got, err)
		}
	}
}

// umoci unpacks what was committed, out of our layout.
func TestIntegrationCommitAndUmoci(t *testing.T) {
	umoci := program(t, "umoci")
	m, _, images := saved(t)
	layout := filepath.Join(t.TempDir(), "layout")
	if err := os.CopyFS(layout, os.DirFS(m.Blobs.Dir())); err != nil {
		t.Fatal(err)
	}
	run(t, umoci, "stat", "--image", layout+":"+images[1].Name.String())
	bundle := filepath.Join(t.TempDir(), "bundle")
	run(t, umoci, "unpack", "--rootless", "--image", layout+":"+images[1].Name.String(), bundle)
	for name, want := range map[string]string{"a": "1", "b": "2"} {
		if b, err := os.ReadFile(filepath.Join(bundle, "rootfs/etc", name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// podman loads what is saved, and saves what is loaded; buildah makes what is
// loaded.
func TestIntegrationArchivesAndPodman(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("podman's storage without root needs subordinate ids: run as root")
	}
	podman, buildah := program(t, "podman"), program(t, "buildah")
	_, archive, images := saved(t)
	dir, err := os.MkdirTemp("", "xc") // podman wants it short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	common := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	with := func(args ...string) []string { return append(append([]string{}, common...), args...) }
	run(t, podman, with("load", "-q", "-i", archive)...)
	var seen []struct {
		ID     string `json:"Id"`
		RootFS struct{ Layers []string }
	}
	if err := json.Unmarshal(run(t, podman, with("image", "inspect", "r.io/made:2")...), &seen); err != nil || len(seen) != 1 || seen[0].ID != images[1].ConfigID.Encoded() || len(seen[0].RootFS.Layers) != 2 {
		t.Errorf("podman sees %+v, %v", seen, err)
	}
	container := strings.TrimSpace(string(run(t, buildah, with("from", "--pull-never", "r.io/made:2")...)))
	run(t, buildah, with("config", "--user", "www", container)...)
	run(t, buildah, with("commit", "-q", container, "r.io/built:3")...)
	for _, format := range []string{"oci-archive", "docker-archive"} {
		name := filepath.Join(dir, format)
		run(t, podman, with("save", "-q", "--format", format, "-o", name, "r.io/built:3")...)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		to, _ := imagetest.Open(t)
		o := loadOptions()
		o.Platforms[0].OS = "linux"
		got, err := to.LoadArchive(t.Context(), f, o)
		if err != nil || len(got) != 1 || got[0].Config.Config.User != "www" || got[0].Name.Familiar() != "r.io/built:3" || got[0].Layers[1].Chain != images[1].Chain {
			t.Errorf("%s: %+v, %v", format, got, err)
		}
	}
}
