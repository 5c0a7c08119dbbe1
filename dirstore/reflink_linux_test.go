package dirstore

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// On a file system that can share blocks, a layer and the roots made of it
// take the space of one.
func TestIntegrationReflink(t *testing.T) {
	needRoot(t)
	for _, fs := range []string{"xfs", "btrfs"} {
		t.Run(fs, func(t *testing.T) {
			mkfs, err := exec.LookPath("mkfs." + fs)
			if err != nil {
				t.Skipf("needs mkfs.%s: install %sprogs or btrfs-progs", fs, fs)
			}
			image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
			must(t, os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20))
			if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", mkfs, err, out)
			}
			alone(t, func() {
				// A child of this thread, so in its mount namespace.
				if out, err := exec.Command("mount", "-o", "loop", "-t", fs, image, dir).CombinedOutput(); err != nil {
					t.Errorf("mount: %v: %s", err, out)
					return
				}
				shares(t, dir)
			})
		})
	}
}

func shares(t *testing.T, dir string) {
	const size = 64 << 20
	s, err := Open(dir+"/roots", &Options{Mode: Reflink})
	if err != nil {
		t.Error(err)
		return
	}
	c := "sha256:" + strings.Repeat("0", 64)
	d, err := s.Begin(t.Context(), c, "")
	if err != nil {
		t.Error(err)
		return
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(d.Dir()+"/large", content, 0o600); err != nil {
		t.Error(err)
		return
	}
	if err := d.Commit(t.Context()); err != nil {
		t.Error(err)
		return
	}
	before := free(t, dir)
	for _, id := range []string{"a", "b", "c"} {
		if err := s.Create(t.Context(), id, c); err != nil {
			t.Error(err)
		}
	}
	if used := before - free(t, dir); used > size/4 {
		t.Errorf("three roots take %d bytes more", used)
	}
	l, err := s.Layout("b")
	if err != nil {
		t.Error(err)
		return
	}
	if got, err := os.ReadFile(l.Dir + "/large"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the clone differs: %d bytes, %v", len(got), err)
	}
}

func free(t *testing.T, dir string) int64 {
	var st unix.Statfs_t
	f, err := os.Open(dir)
	if err == nil {
		err = unix.Syncfs(int(f.Fd()))
		f.Close()
	}
	if err == nil {
		err = unix.Statfs(dir, &st)
	}
	if err != nil {
		t.Error(err)
	}
	return int64(st.Bfree) * st.Bsize
}
