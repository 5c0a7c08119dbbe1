package registry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ocitar"
)

func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; on Debian: apt-get install %s", name, debian)
	}
	return path
}

// startRegistry runs Debian's docker-registry on a port of its choice.
func startRegistry(t *testing.T) (host string) {
	t.Helper()
	return startRegistryWith(t, "", "")
}

// startRegistryWith runs it with more in its configuration: keys, and keys of
// http.
func startRegistryWith(t *testing.T, more, http string) (host string) {
	t.Helper()
	path := program(t, "docker-registry", "docker-registry")
	dir := t.TempDir()
	if http == "" {
		http = "headers: {}"
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:0, %s}\n%s", filepath.Join(dir, "data"), http, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve", config)
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)
	lines := bufio.NewScanner(logs)
	for host == "" && lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			host = m[1]
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-drained
		_ = cmd.Wait() // it was killed
	})
	if host == "" {
		t.Fatal("docker-registry did not say where it listens")
	}
	return host
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// output runs a program that may fail, and returns what it has printed and its
// exit code.
func output(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// unpack is what a program without a confined child does.
func unpack(ctx context.Context, into store.Draft, layer *os.File) (digest.Digest, error) {
	sum, err := new(ocitar.Unpacker).Unpack(ctx, into.Dir(), layer)
	return digest.Digest(sum.DiffID), err
}

// An image that was imported here is read out of our layout by skopeo, pushed to
// Debian's registry, in both formats, and pulled into another store.
func TestIntegrationSkopeoAndDockerRegistry(t *testing.T) {
	skopeo := program(t, "skopeo", "skopeo")
	host := startRegistry(t)
	from, _ := imagetest.Open(t)
	from.Refs, from.Unpack = from.Blobs.Refs(), unpack
	name, err := image.ParseReference("r.io/base:1")
	if err != nil {
		t.Fatal(err)
	}
	archive := imagetest.Tar(t, map[string]string{"etc/": "", "etc/os-release": "NAME=test\n", "big": strings.Repeat("0123456789abcdef", 1<<16)})
	imported, err := from.Import(t.Context(), bytes.NewReader(imagetest.Compress(t, ispec.MediaTypeImageLayerGzip, archive)), store.ImportOptions{
		Name: name, Platform: amd64, Config: ispec.ImageConfig{Cmd: []string{"/bin/sh"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	source := "oci:" + from.Blobs.Dir() + ":" + name.String()
	var seen struct{ Os, Architecture string }
	if err := json.Unmarshal(run(t, skopeo, "inspect", source), &seen); err != nil || seen.Os != "linux" || seen.Architecture != "amd64" {
		t.Errorf("skopeo sees %+v, %v", seen, err)
	}
	for _, format := range []string{"oci", "v2s2"} {
		run(t, skopeo, "--insecure-policy", "copy", "--format", format, "--dest-tls-verify=false", source, "docker://"+host+"/a/base:"+format)
		to, roots := imagetest.Open(t)
		to.Unpack = unpack
		p := &registry.Puller{Images: to, Client: &registry.Client{}}
		ref, err := image.ParseReference(host + "/a/base:" + format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Pull(t.Context(), ref, options())
		if err != nil {
			t.Fatal(err)
		}
		if got.Chain != imported.Chain || len(got.Config.Config.Cmd) != 1 {
			t.Errorf("%s: %+v", format, got)
		}
		if format == "oci" && got.Manifest.Digest != imported.Manifest.Digest {
			t.Errorf("pulled %s, imported %s", got.Manifest.Digest, imported.Manifest.Digest)
		}
		if format == "v2s2" && got.Manifest.MediaType != image.MediaTypeDockerManifest {
			t.Errorf("pulled a %s", got.Manifest.MediaType)
		}
		if b, err := os.ReadFile(filepath.Join(roots.Dir(got.Chain), "root/etc/os-release")); err != nil || string(b) != "NAME=test\n" {
			t.Errorf("%q, %v", b, err)
		}
		sound(t, to)
		// What is half here is completed by Range, which this registry does itself.
		l := got.Layers[0].Blob
		blob := filepath.Join(to.Blobs.Dir(), "blobs/sha256", l.Digest.Encoded())
		if err := os.Rename(blob, filepath.Join(to.Blobs.Dir(), "ingest/sha256-"+l.Digest.Encoded())); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(to.Blobs.Dir(), "ingest/sha256-"+l.Digest.Encoded()), l.Size/2); err != nil {
			t.Fatal(err)
		}
		first := int64(-1)
		o := options()
		o.Progress = func(e registry.Event) {
			if first < 0 && e.Phase == registry.Downloading {
				first = e.Current
			}
		}
		if _, err := p.Pull(t.Context(), ref, o); err != nil || first != l.Size/2 {
			t.Errorf("resumed at %d of %d, %v", first, l.Size, err)
		}
		sound(t, to)
	}
}
