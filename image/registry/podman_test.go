package registry_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

// busybox is a root file system of one static program and a shell.
func busybox(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("no /bin/busybox; on Debian: apt-get install busybox-static")
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is pushed here podman pulls and runs.
func TestIntegrationPodmanRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("podman's storage without root needs subordinate ids: run as root")
	}
	podman, root := program(t, "podman", "podman"), busybox(t)
	program(t, "runc", "runc")
	host := startRegistry(t)
	ref, err := image.ParseReference(host + "/made/here:1")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := imagetest.Open(t)
	o := store.ImportOptions{Name: ref, Platform: amd64}
	o.Platform.OS = "linux"
	o.Config.Cmd, o.Config.Env = []string{"/bin/sh", "-c", "echo $FROM runs; exit 3"}, []string{"FROM=xc"}
	img, err := m.Import(t.Context(), bytes.NewReader(root), o)
	if err != nil {
		t.Fatal(err)
	}
	p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient}}
	if _, err := p.Push(t.Context(), img, ref, registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "xc") // podman wants it short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	// The limits that podman sets by itself are above what a restricted root may have.
	args := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs",
		"--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm", "--quiet", "--tls-verify=false", "--network", "none",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", ref.String()}
	out, code := output(t, podman, args...)
	if code == 125 || code == 126 {
		t.Skipf("podman runs nothing here: %s", out) // no right to make containers
	}
	if code != 3 || strings.TrimSpace(out) != "xc runs" {
		t.Errorf("exit code %d, said %q", code, out)
	}
}
