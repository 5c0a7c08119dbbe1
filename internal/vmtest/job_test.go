package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRewrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		want  []string
		files []outFile
	}{
		{name: "nothing"},
		{
			name: "what go test passes",
			args: []string{"-test.testlogfile=/b001/testlog.txt", "-test.paniconexit0", "-test.timeout=10m0s", "-test.run=^A$"},
			want: []string{"-test.paniconexit0", "-test.timeout=10m0s", "-test.run=^A$"},
		},
		{
			name:  "an absolute file",
			args:  []string{"-test.coverprofile=/b001/_cover_.out"},
			want:  []string{"-test.coverprofile=/var/vmtest/out/coverprofile"},
			files: []outFile{{guest: "/var/vmtest/out/coverprofile", host: "/b001/_cover_.out"}},
		},
		{
			name:  "a file in the output directory",
			args:  []string{"-test.cpuprofile=cpu.out", "-test.outputdir=/out"},
			want:  []string{"-test.cpuprofile=/var/vmtest/out/cpuprofile"},
			files: []outFile{{guest: "/var/vmtest/out/cpuprofile", host: "/out/cpu.out"}},
		},
		{
			name:  "a file in the working directory",
			args:  []string{"-test.trace=t"},
			want:  []string{"-test.trace=/var/vmtest/out/trace"},
			files: []outFile{{guest: "/var/vmtest/out/trace", host: "/pkg/t"}},
		},
		{
			name:  "a directory",
			args:  []string{"-test.gocoverdir=/b001/gocoverdir"},
			want:  []string{"-test.gocoverdir=/var/vmtest/out/gocoverdir"},
			files: []outFile{{guest: "/var/vmtest/out/gocoverdir", host: "/b001/gocoverdir", dir: true}},
		},
		{
			name: "the test's own flags and arguments",
			args: []string{"-trace=x", "-test.v=true", "word", "-test.trace=y"},
			want: []string{"-trace=x", "-test.v=true", "word", "-test.trace=y"},
		},
		{
			name: "an empty value",
			args: []string{"-test.trace="},
			want: []string{"-test.trace="},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, files := rewrite(c.args, "/pkg")
			if !slices.Equal(got, c.want) || !reflect.DeepEqual(files, c.files) {
				t.Errorf("got %q %v, want %q %v", got, files, c.want, c.files)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	for arg, want := range map[string]time.Duration{
		"-test.timeout=10m0s": 10*time.Minute + grace,
		"-test.timeout=0s":    0,
		"-test.timeout=x":     0,
		"-test.v":             0,
	} {
		if got := timeLimit([]string{"-test.paniconexit0", arg}); got != want {
			t.Errorf("%s: got %v, want %v", arg, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"HOME=/h", "XC_TEST_A=1=2", "XC_TESTB=1", "GODEBUG=x", "XC_TEST_=e"}, []string{"GODEBUG", "NONE"})
	if want := []string{"XC_TEST_A=1=2", "GODEBUG=x", "XC_TEST_=e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestQuote asks the shell itself.
func TestQuote(t *testing.T) {
	for _, s := range []string{"", "a b", "it's", "'", `"$HOME" \n *`, "new\nline", "-n", "#;&|"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q: got %q, %v", s, out, err)
		}
	}
}

// TestScript has the shell run a job's script here, with the guest's paths
// moved to a directory of this machine.
func TestScript(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	if err := os.MkdirAll(filepath.Join(dir, "work/pkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\npwd\necho $0\nfor a; do echo \"<$a>\"; done\necho \"$XC_TEST_A $LEAK $HOME\"\n[ -d \"$1\" ] && exit 5\n"
	if err := os.WriteFile(filepath.Join(dir, "work/a b.test"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEAK", "leaked")
	s := script("pkg", "a b.test", []string{guestOut + "/cover", "two  words", "$HOME"}, []string{"XC_TEST_A=it's"},
		[]outFile{{guest: guestOut + "/cover", dir: true}})
	// Within single quotes and without: both take the escaped form.
	s = strings.ReplaceAll(s, "rm -rf "+guestOut+" && mkdir "+guestOut, "rm -rf "+quote(guestOut)+" && mkdir "+quote(guestOut))
	s = strings.ReplaceAll(s, guestDir, strings.ReplaceAll(dir, "'", `'\''`))
	out, err := exec.Command("sh", "-c", s).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("%v: %s", err, out)
	}
	want := dir + "/work/pkg\n" + dir + "/work/a b.test\n<" + dir + "/out/cover>\n<two  words>\n<$HOME>\nit's  /root\n"
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestJobArchive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pkg")
	for name, content := range map[string]string{"testdata/sub/a": "A", "pkg.go": "package pkg", "pkg.test": "ELF"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/a", filepath.Join(dir, "testdata/link")); err != nil {
		t.Fatal(err)
	}
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.Write(bytes.Repeat([]byte{0xff}, 2*block)); err != nil { // an earlier job
		t.Fatal(err)
	}
	blocks, err := job{script: "true\n", binary: filepath.Join(dir, "pkg.test"), dir: dir}.write(disk)
	if err != nil || blocks != 1 {
		t.Fatal(blocks, err)
	}
	r := tar.NewReader(io.NewSectionReader(disk, 0, blocks*block))
	got := map[string]string{}
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		got[h.Name] = string(content) + h.Linkname
	}
	want := map[string]string{
		"run": "true\n", "pkg.test": "ELF", "pkg/": "", "pkg/testdata/": "", "pkg/testdata/link": "sub/a",
		"pkg/testdata/sub/": "", "pkg/testdata/sub/a": "A",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnpack(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"./coverprofile", "./gocoverdir/meta", "./other", "../../coverprofile-outside", "./gocoverdir/../../x"} {
		if err := addBytes(w, name, 0o644, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	host := t.TempDir()
	if err := os.Mkdir(filepath.Join(host, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := []outFile{
		{guest: guestOut + "/coverprofile", host: filepath.Join(host, "c.out")},
		{guest: guestOut + "/gocoverdir", host: filepath.Join(host, "d"), dir: true},
	}
	if err := unpack(&b, files); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(host, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(p, host))
		}
		return err
	})
	if want := []string{"/c.out", "/d/meta"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
