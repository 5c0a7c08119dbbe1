package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Archives go to a container and come back through pipes, and tar(1) reads them.
func TestIntegrationCopyStreams(t *testing.T) {
	d := newDaemon(t)
	d.must("run", "-d", "--name", "c", "bb", "sleep", "1000")
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, h := range []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 7, Gid: 8}, {Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o640, Uid: 9, Gid: 10, Size: 3},
		{Name: "d/l", Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "f"}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/f"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			fmt.Fprint(w, "abc")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, owners := range []bool{false, true} {
		args, dir := []string{"cp", "-", "c:/tmp"}, "/tmp"
		want := "drwxr-x--- 0/0 d/|-rw-r----- 0/0 d/f|hrw-r----- 0/0 d/h|lrwxrwxrwx 0/0 d/l"
		if owners {
			dir = "/root"
			args, want = []string{"cp", "-a", "-", "c:/root"}, "drwxr-x--- 7/8 d/|-rw-r----- 9/10 d/f|hrw-r----- 9/10 d/h|lrwxrwxrwx 0/0 d/l"
		}
		cmd := d.command(args...)
		cmd.Stdin = bytes.NewReader(archive.Bytes())
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
		if out := d.must("exec", "c", "sh", "-c", "cat "+dir+"/d/l "+dir+"/d/h"); out != "abcabc" {
			t.Errorf("in the container: %q", out)
		}
		got := listed(t, []byte(d.must("cp", "c:"+dir+"/d", "-")))
		if g := strings.Join(got, "|"); g != want {
			t.Errorf("owners %v:\n%s, want\n%s", owners, g, want)
		}
	}
	if _, stderr, code := d.xc("cp", "c:/nosuch", "-"); code != 125 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "/nosuch") {
		t.Errorf("%d, %q", code, stderr)
	}
}

// listed is what tar(1) tells of an archive that comes through a pipe: mode, owner
// and name of each entry.
func listed(t *testing.T, archive []byte) (lines []string) {
	t.Helper()
	cmd := exec.Command("tar", "--numeric-owner", "-tvf", "-")
	cmd.Stdin = bytes.NewReader(archive)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, entry(strings.Fields(line)))
	}
	return lines
}
