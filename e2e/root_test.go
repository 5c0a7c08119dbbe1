package e2e

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"
)

// writeRoot writes an archive of a busybox root file system.
func writeRoot(t *testing.T, dir string) string {
	t.Helper()
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("no busybox for a root: apt-get install busybox-static")
	}
	path := filepath.Join(dir, "root.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "etc", "dev", "proc", "sys", "root", "tmp"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:*:0:0:root:/root:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/os-release", Mode: 0o644}, []byte("NAME=busybox\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, box)
	for _, p := range []string{"sh", "cat", "echo", "sleep", "true", "stty", "tar", "ls", "id", "yes", "kill", "head", "wc"} {
		add(tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + p, Linkname: "bin/busybox", Mode: 0o755}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
