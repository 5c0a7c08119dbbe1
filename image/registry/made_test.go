package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

// pulledFrom pulls an image into a store of its own and returns its root.
func pulledFrom(t *testing.T, name string) (got registry.Result, root string) {
	t.Helper()
	ref, err := image.ParseReference(name)
	if err != nil {
		t.Fatal(err)
	}
	m, roots := imagetest.Open(t)
	m.Unpack = unpack
	p := &registry.Puller{Images: m, Client: &registry.Client{Retry: patient}}
	if got, err = p.Pull(t.Context(), ref, options()); err != nil {
		t.Fatal(err)
	}
	sound(t, m)
	return got, filepath.Join(roots.Dir(got.Chain), "root")
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What umoci makes, layer by layer, is pulled out of Debian's registry.
func TestIntegrationPullWhatUmociMade(t *testing.T) {
	umoci, skopeo := program(t, "umoci", "umoci"), program(t, "skopeo", "skopeo")
	host := startRegistry(t)
	dir := t.TempDir()
	layout, file := filepath.Join(dir, "layout"), filepath.Join(dir, "file")
	run(t, umoci, "init", "--layout", layout)
	run(t, umoci, "new", "--image", layout+":x")
	for _, content := range []string{"one", "two"} {
		writeFile(t, file, content)
		run(t, umoci, "insert", "--rootless", "--image", layout+":x", file, "/"+content)
	}
	run(t, umoci, "insert", "--rootless", "--image", layout+":x", "--whiteout", "/one")
	run(t, umoci, "config", "--image", layout+":x", "--config.user", "www", "--architecture", "amd64", "--os", "linux")
	run(t, skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+layout+":x", "docker://"+host+"/umoci:1")
	got, root := pulledFrom(t, host+"/umoci:1")
	if got.Config.Config.User != "www" || len(got.Layers) != 3 {
		t.Errorf("%+v", got.Config)
	}
	if b, err := os.ReadFile(filepath.Join(root, "two")); err != nil || string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "one")); !os.IsNotExist(err) {
		t.Errorf("what a layer deletes: %v", err)
	}
}

// What buildah makes of nothing and pushes is pulled, in both formats.
func TestIntegrationPullWhatBuildahMade(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("buildah's storage without root needs subordinate ids: run as root")
	}
	buildah := program(t, "buildah", "buildah")
	host := startRegistry(t)
	dir, err := os.MkdirTemp("", "xc") // buildah wants it short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	with := func(args ...string) []string {
		return append([]string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}, args...)
	}
	file := filepath.Join(dir, "file")
	writeFile(t, file, "built")
	container := strings.TrimSpace(string(run(t, buildah, with("from", "scratch")...)))
	run(t, buildah, with("copy", "-q", container, file, "/etc/built")...)
	run(t, buildah, with("config", "--os", "linux", "--arch", "amd64", "--cmd", "/bin/true", "--label", "a=b", container)...)
	for _, format := range []string{"oci", "docker"} {
		run(t, buildah, with("commit", "-q", "--format", format, container, format)...)
		run(t, buildah, with("push", "-q", "--tls-verify=false", format, "docker://"+host+"/built:"+format)...)
		got, root := pulledFrom(t, host+"/built:"+format)
		if got.Config.Config.Labels["a"] != "b" || (format == "docker") != (got.Manifest.MediaType == image.MediaTypeDockerManifest) {
			t.Errorf("%s: %+v", format, got)
		}
		if b, err := os.ReadFile(filepath.Join(root, "etc/built")); err != nil || string(b) != "built" {
			t.Errorf("%s: %q, %v", format, b, err)
		}
	}
}
