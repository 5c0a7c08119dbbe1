package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/joyboyid/xc/internal/testprograms"
	"github.com/joyboyid/xc/internal/testroot"
)

// startRegistry starts Debian's docker-registry on a loopback port and returns
// its address.
func startRegistry(t *testing.T) string { return startRegistryWith(t, "") }

// startRegistryWith starts it with more in its configuration.
func startRegistryWith(t *testing.T, more string) string {
	t.Helper()
	for _, p := range []string{"docker-registry", "skopeo"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: apt-get install %s", p, p)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n%s", dir, addr, more)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // Wait reaps it
		cmd.Wait()         //nolint:errcheck // killed
	})
	testprograms.Within(t, "docker-registry", func() {
		for {
			if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
				resp.Body.Close()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return addr
}

// push makes an image of layers and has skopeo push it.
func push(t *testing.T, name string, layers ...string) {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, path := range layers {
		l, err := tarball.LayerFromFile(path, tarball.WithMediaType(types.OCILayer))
		if err == nil {
			img, err = mutate.AppendLayers(img, l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = runtime.GOOS, runtime.GOARCH
	file.Config.Cmd, file.Config.Env, file.Config.WorkingDir = []string{"sh", "-c", "pwd; echo $FROM"}, []string{"PATH=/bin", "FROM=image"}, "/etc"
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "x"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("skopeo", "copy", "--dest-tls-verify=false", "oci:"+dir+":x", "docker://"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v: %s", err, out)
	}
}

func TestIntegrationPull(t *testing.T) {
	registry := startRegistry(t)
	d := newDaemon(t)
	root := writeRoot(t, t.TempDir())
	push(t, registry+"/team/root:v1", root)
	if out, stderr, code := d.xc("pull", registry+"/team/root:v1"); code != 0 {
		t.Fatalf("pull: %d: %s%s", code, out, stderr)
	}
	if out := d.must("run", "--rm", registry+"/team/root:v1"); out != "/etc\nimage\n" {
		t.Errorf("run of what was pulled: %q", out)
	}
	// run pulls what is missing.
	push(t, registry+"/team/other:v2", root)
	out, stderr, code := d.xc("run", "--rm", registry+"/team/other:v2", "cat", "/etc/os-release")
	if out != testroot.Release || code != 0 {
		t.Errorf("run of what is to be pulled: %q, %q, %d", out, stderr, code)
	}
	out, stderr, code = d.xc("pull", registry+"/team/nosuch:v1")
	if code != 125 && code != 1 || !strings.Contains(stderr, "nosuch") {
		t.Errorf("pull of nothing: %q, %q, %d", out, stderr, code)
	}
	d.must("rmi", registry+"/team/root:v1", registry+"/team/other:v2")
}

// A login is tried, kept where nobody else reads it, used by who pushes and pulls,
// and forgotten.
func TestIntegrationLogin(t *testing.T) {
	htpasswd, err := exec.LookPath("htpasswd")
	if err != nil {
		t.Skip("htpasswd is not installed: apt-get install apache2-utils")
	}
	d := newDaemon(t)
	users := filepath.Join(t.TempDir(), "users")
	if out, err := exec.Command(htpasswd, "-Bbc", users, "me", "s3cret word").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	registry := startRegistryWith(t, fmt.Sprintf("auth: {htpasswd: {realm: xc, path: %s}}\n", users))
	name := registry + "/team/bb:1"
	login := func(password string) (string, error) {
		cmd := d.command("login", "-u", "me", "--password-stdin", registry)
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	d.must("tag", "bb", name)
	if _, stderr, code := d.xc("push", "-q", name); code != 125 || !strings.Contains(stderr, "log in") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("push without login: %d: %q", code, stderr)
	}
	if out, err := login("wrong"); err == nil || strings.Contains(out, "wrong") {
		t.Errorf("false login: %q, %v", out, err)
	}
	if out, err := login("s3cret word"); err != nil || !strings.Contains(out, registry) {
		t.Fatalf("login: %q, %v", out, err)
	}
	kept := filepath.Join(d.dir, "state/credentials.json")
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	d.must("push", name)
	d.must("rmi", name)
	d.must("pull", name)
	d.must("logout", registry)
	if b, err := os.ReadFile(kept); err != nil || strings.Contains(string(b), registry) {
		t.Errorf("after the logout: %q, %v", b, err)
	}
	if _, stderr, code := d.xc("pull", "-q", name); code != 125 || !strings.Contains(stderr, "log in") {
		t.Errorf("pull after the logout: %d: %q", code, stderr)
	}
	if _, stderr, code := d.xc("logout", registry); code != 125 || !strings.Contains(stderr, "not logged in") {
		t.Errorf("logged out twice: %d: %q", code, stderr)
	}
	d.must("rmi", name)
}

// What is damaged of an image is named by a check, and fetched again by one that
// may repair.
func TestIntegrationRepair(t *testing.T) {
	registry := startRegistry(t)
	d := newDaemon(t)
	name := registry + "/team/root:v1"
	push(t, name, writeRoot(t, t.TempDir()))
	all := func() []string {
		blobs, err := filepath.Glob(filepath.Join(d.dir, "state/images/blobs/sha256/*"))
		if err != nil {
			t.Fatal(err)
		}
		return blobs
	}
	imported := all() // which no registry has
	d.must("pull", name)
	n := 0
	for _, blob := range all() {
		if slices.Contains(imported, blob) {
			continue
		}
		err := os.Remove(blob)
		if n++; n%2 == 0 && err == nil {
			err = os.WriteFile(blob, []byte("spoilt"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 3 { // manifest, configuration, layer
		t.Fatalf("%d blobs were pulled", n)
	}
	if out, stderr, code := d.xc("system", "check"); code == 0 || !strings.Contains(out+stderr, "--repair") {
		t.Errorf("check of what is damaged: %d: %s%s", code, out, stderr)
	}
	if out, stderr, code := d.xc("system", "check", "--repair"); code != 0 || !strings.Contains(out, "repaired") {
		t.Errorf("repair: %d: %s%s", code, out, stderr)
	}
	if out, stderr, code := d.xc("system", "check"); code != 0 {
		t.Errorf("check of what was repaired: %d: %s%s", code, out, stderr)
	}
	if out := d.must("run", "--rm", name); out != "/etc\nimage\n" {
		t.Errorf("run of what was repaired: %q", out)
	}
	d.must("rmi", name)
}

// A pull whose daemon is killed again and again ends right.
func TestIntegrationPullKilledAtRandom(t *testing.T) {
	registry := startRegistry(t)
	d := newDaemon(t)
	dir := t.TempDir()
	// Two layers that take a moment.
	big := filepath.Join(dir, "big")
	if err := os.Mkdir(big, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(big, fmt.Sprint("f", i)), []byte(strings.Repeat(fmt.Sprintf("%d ", i), 200_000)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	layer := filepath.Join(dir, "layer.tar")
	if out, err := exec.Command("tar", "-C", dir, "-cf", layer, "big").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	push(t, registry+"/big:1", writeRoot(t, dir), layer)
	for i := range 8 {
		pull := d.command("pull", registry+"/big:1")
		if err := pull.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+i*25) * time.Millisecond) // later each time
		d.kill(syscall.SIGKILL)
		pull.Wait() //nolint:errcheck // its daemon died, or it had finished
		d.start()
	}
	d.must("pull", registry+"/big:1")
	if out := d.must("run", "--rm", registry+"/big:1", "sh", "-c", "ls /big | wc -l"); strings.TrimSpace(out) != "40" {
		t.Errorf("files in what was pulled: %q", out)
	}
	d.must("rmi", registry+"/big:1")
}
