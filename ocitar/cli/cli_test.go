package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/ocitar/confine"
)

// The test binary is the processes that the program starts as well.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == confine.Verb || os.Args[1] == reading) {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// call is one call of the program.
func call(stdin []byte, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, bytes.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// unconfinable says that this user cannot confine a process, as the program said.
func unconfinable(t *testing.T, code int, said string) {
	t.Helper()
	if code != 0 && os.Geteuid() != 0 && strings.Contains(said, "--unconfined") {
		t.Skipf("user namespaces are not allowed here (%s): run as root", strings.TrimSpace(said))
	}
}

func directory(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(filepath.Base(name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProgram(t *testing.T) {
	src, dst := directory(t, "a", "b", "skip", "d/x.o", "d/y", "e.o"), directory(t)
	t.Setenv("SOURCE_DATE_EPOCH", "0")
	code, archive, said := call(nil, "create", "-C", src, "--compression", "gzip", "--exclude", "skip", "--exclude", "*.o", "--remove", "gone/x", ".")
	if code != 0 || !strings.HasPrefix(said, "diffid sha256:") {
		t.Fatal(code, said)
	}
	if _, err := gzip.NewReader(strings.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	code, listed, said := call([]byte(archive), "list")
	unconfinable(t, code, said)
	for _, want := range []string{`"./"`, `"a"`, `"b"`, `"d/y"`, `"gone/.wh.x"`, "1970-01-01T00:00:00Z"} {
		if code != 0 || !strings.Contains(listed, want) || strings.Contains(listed, "skip") || strings.Contains(listed, ".o") {
			t.Errorf("list: %d %s %s", code, listed, said)
		}
	}
	code, out, errs := call([]byte(archive), "extract", "-C", dst, "--json")
	var sum ocitar.Summary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 0 || sum.Files != 3 || sum.Compression != ocitar.Gzip {
		t.Errorf("%d %s %s %v", code, out, errs, err)
	}
	code, out, errs = call([]byte(archive), "verify", "--format", "json", "--digest", sum.Digest, "--diff-id", sum.DiffID)
	var again ocitar.Summary
	if err := json.Unmarshal([]byte(out), &again); err != nil || code != 0 || again.Digest != sum.Digest || again.DiffID != sum.DiffID {
		t.Errorf("%d %s %s %v", code, out, errs, err)
	}
	for _, flag := range []string{"--digest", "--diff-id"} {
		if code, _, errs := call([]byte(archive), "verify", flag, "sha256:other"); code != 1 || !strings.Contains(errs, "not sha256:other") {
			t.Errorf("%s: %d %s", flag, code, errs)
		}
	}
	code, diff, _ := call(nil, "diff", src, dst)
	_, listed, _ = call([]byte(diff), "list")
	if code != 0 || !strings.Contains(listed, ".wh.skip") {
		t.Errorf("diff: %d %s", code, listed)
	}
}

// TestFiles: the same with files for standard input and output.
func TestFiles(t *testing.T) {
	src := directory(t, "a", "b")
	top := t.TempDir()
	plain, zipped := filepath.Join(top, "plain"), filepath.Join(top, "zipped")
	code, out, errs := call(nil, "create", "-C", src, "-f", plain)
	if code != 0 || !strings.HasPrefix(out, "diffid") || errs != "" {
		t.Fatal(code, out, errs)
	}
	code, converted, errs := call(nil, "create", "--from", plain, "-f", zipped, "--compression", "zstd")
	unconfinable(t, code, errs)
	if code != 0 || strings.Fields(converted)[1] != strings.Fields(out)[1] {
		t.Errorf("%d %s %s", code, converted, errs)
	}
	data, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if code, onStdout, errs := call(data, "create", "--from", "-"); code != 0 || onStdout != string(data) {
		t.Errorf("%d, %d bytes, %s", code, len(onStdout), errs)
	}
	if code, out, errs := call(nil, "verify", "-f", zipped); code != 0 || strings.Fields(out)[1] != strings.Fields(converted)[1] {
		t.Errorf("%d %s %s", code, out, errs)
	}
	dst := directory(t)
	if code, _, errs := call(nil, "extract", "-f", zipped, "-C", dst); code != 0 {
		t.Error(errs)
	}
	if got, err := os.ReadFile(filepath.Join(dst, "b")); string(got) != "b" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestOutputKept: a layer that does not come to its end takes nothing away that was
// there, and leaves no part of itself.
func TestOutputKept(t *testing.T) {
	src, dir := directory(t, "a"), directory(t, "old")
	old, link, fifo := filepath.Join(dir, "old"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink("old", link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"create", "-C", src, "-f", old, "missing"},
		{"create", "-C", src, "-f", filepath.Join(dir, "new"), "missing"},
		{"create", "--from", filepath.Join(src, "a"), "-f", link},
		{"create", "--from", filepath.Join(src, "a"), "-f", link, "--unconfined"},
		{"diff", "-f", old, filepath.Join(src, "missing"), src},
	} {
		code, _, errs := call(nil, args...)
		unconfinable(t, code, errs)
		if code != 1 {
			t.Errorf("%q: %d %s", args, code, errs)
		}
		if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
			t.Errorf("%q: then there is %q, %v", args, b, err)
		}
	}
	got := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(fifo)
		got <- b
	}()
	if code, out, errs := call(nil, "create", "-C", src, "-f", fifo); code != 0 || !strings.HasPrefix(out, "diffid") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	layer := <-got
	if code, out, errs := call(nil, "create", "-C", src, "-f", link); code != 0 || !strings.HasPrefix(out, "diffid") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if b, err := os.ReadFile(old); err != nil || !bytes.Equal(b, layer) {
		t.Errorf("%d bytes behind the link, %d through the FIFO, %v", len(b), len(layer), err)
	}
	if names := entries(t, dir); !slices.Equal(names, []string{"fifo", "link", "old"}) {
		t.Errorf("%q", names)
	}
}

// interrupting is a layer in whose middle the program is interrupted.
type interrupting struct{ n int }

func (r *interrupting) Read(b []byte) (int, error) {
	r.n++
	switch {
	case r.n == 3:
		return len(b), syscall.Kill(os.Getpid(), syscall.SIGHUP)
	case r.n > 10_000:
		return 0, io.EOF
	}
	time.Sleep(time.Millisecond)
	clear(b) // which a tar ends with, however many there are
	return len(b), nil
}

// TestInterrupted: the same of a signal, also of one that would end us at once.
func TestInterrupted(t *testing.T) {
	caught := make(chan os.Signal, 1) // under nohup(1) SIGHUP is ignored
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	dir := directory(t, "old")
	old := filepath.Join(dir, "old")
	if code := Main([]string{"create", "--from", "-", "-f", old, "--unconfined"}, &interrupting{}, io.Discard, io.Discard); code != 1 {
		t.Error(code)
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("%q", names)
	}
}

// TestOutputInTree: a layer of the directory that it is in has not itself in it, neither
// as it is being written nor as it was.
func TestOutputInTree(t *testing.T) {
	dir := directory(t, "a", "d/layer")
	layer := filepath.Join(dir, "layer")
	for range 2 {
		if code, _, errs := call(nil, "create", "-C", dir, "-f", layer); code != 0 {
			t.Fatal(errs)
		}
		code, listed, said := call(nil, "list", "-f", layer, "--unconfined")
		if n := strings.Count(listed, "\n"); code != 0 || n != 4 || !strings.Contains(listed, `"d/layer"`) { // with the directories
			t.Errorf("%s %s", listed, said)
		}
	}
	if code, _, errs := call(nil, "create", "-C", dir, "-f", layer, "--remove", "layer"); code != 0 {
		t.Error(errs)
	}
	if _, listed, _ := call(nil, "list", "-f", layer, "--unconfined"); !strings.Contains(listed, `".wh.layer"`) {
		t.Errorf("%s", listed)
	}
	// What is written anew can be what is read.
	if code, _, errs := call(nil, "create", "--from", layer, "-f", layer, "--compression", "zstd", "--unconfined"); code != 0 {
		t.Error(errs)
	}
}

// TestPlain: an archive of one path under another name, which is no layer, and what it
// may not do where it is unpacked.
func TestPlain(t *testing.T) {
	src, dst := directory(t, "top/d/.wh.x", "top/d/f", "top/skip", "other"), directory(t, "d/f", "clash/in")
	for _, tc := range []struct{ path, as, first, last string }{
		{"top", "new", `"new/"`, `"new/skip"`}, {"top/.", ".", `"./"`, `"skip"`}, {"top/d/f", "g", `"g"`, `"g"`}, {".", "all", `"all/"`, `"all/top/skip"`},
	} {
		code, archive, said := call(nil, "create", "-C", src, "--plain", "--as", tc.as, tc.path)
		_, listed, _ := call([]byte(archive), "list", "--unconfined")
		lines := strings.Split(strings.TrimSpace(listed), "\n")
		if code != 0 || !strings.HasSuffix(lines[0], tc.first) || !strings.HasSuffix(lines[len(lines)-1], tc.last) {
			t.Errorf("%+v: %d %s\n%s", tc, code, said, listed)
		}
	}
	_, archive, _ := call(nil, "create", "-C", src, "--plain", "--as", ".", "--exclude", "top/skip", "top")
	extract := []string{"extract", "-C", dst, "--plain", "--merge", "--json"}
	code, out, said := call([]byte(archive), extract...)
	unconfinable(t, code, said)
	var sum ocitar.Summary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 0 || sum.Files != 2 || sum.Whiteouts != 0 {
		t.Fatal(code, out, said, err)
	}
	if got, err := os.ReadFile(filepath.Join(dst, "d/.wh.x")); string(got) != ".wh.x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, archive, _ = call(nil, "create", "-C", src, "--plain", "--as", "clash", "other")
	code, out, said = call([]byte(archive), append(extract, "--unconfined")...)
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "clash") {
		t.Errorf("%d %s %s, %v", code, out, said, err)
	}
}

// TestUnconfined: the same without a process of its own.
func TestUnconfined(t *testing.T) {
	_, archive, _ := call(nil, "create", "-C", directory(t, "a"))
	for _, args := range [][]string{{"list"}, {"verify"}, {"extract", "-C", t.TempDir()}, {"create", "--from", "-"}} {
		if code, out, errs := call([]byte(archive), append(args, "--unconfined")...); code != 0 || out == "" {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
}

func TestListShowsAll(t *testing.T) {
	var b bytes.Buffer
	e := ocitar.Entry{Name: "\xff", Type: ocitar.Regular, UID: 1, GID: 2, Uname: "u", Gname: "g x", Xattrs: map[string]string{"user.a": "\x00\xfe"}}
	if err := line(&b, &e, false); err != nil || !strings.Contains(b.String(), `"u":"g x" 0 `) || !strings.Contains(b.String(), `"\xff"`) {
		t.Errorf("%s, %v", b.String(), err)
	}
	b.Reset()
	if err := line(&b, &e, true); err != nil || !strings.Contains(b.String(), " 1:2 ") {
		t.Errorf("%s, %v", b.String(), err)
	}
	text, err := json.Marshal(listed(e))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Type    ocitar.Type
		RawName []byte
		Xattrs  map[string][]byte
	}
	if err := json.Unmarshal(text, &back); err != nil || string(back.RawName) != "\xff" || string(back.Xattrs["user.a"]) != "\x00\xfe" || back.Type != ocitar.Regular {
		t.Errorf("%s, %v", text, err)
	}
}

func TestUsage(t *testing.T) {
	src := directory(t)
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "usage", nil}, {2, "usage", []string{"unknown"}}, {2, "usage", []string{"reading"}}, {2, "usage", []string{"diff", "one"}}, {2, "xz", []string{"create", "--compression", "xz"}},
		{2, "usage", []string{"create", "--zfs-diff", "one"}}, {2, "usage", []string{"create", "--from", "x", "y"}}, {2, "usage", []string{"list", "x"}},
		{2, "usage", []string{"create", "--as", "x"}}, {2, "usage", []string{"create", "--as", "x", "a", "b"}}, {2, "usage", []string{"create", "--plain", "--remove", "x"}},
		{2, "usage", []string{"create", "--from", "x", "--plain"}}, {2, "usage", []string{"extract", "--plain", "--overlay"}},
		{1, "no such file", []string{"create", "-C", src, "--as", "x", "missing"}},
		{1, "syntax error in pattern", []string{"create", "-C", src, "--exclude", "[x"}},
		{1, "no such file", []string{"list", "-f", "/nonexistent"}}, {1, "missing: file does not exist", []string{"create", "-C", src, "missing"}},
		{1, "no such file", []string{"create", "-C", src, "-f", "/nonexistent/x"}}, {1, "no such file", []string{"create", "--from", "/nonexistent"}},
		{1, "not a tar header", []string{"verify", "--unconfined"}}, {1, "limit exceeded", []string{"list", "--unconfined", "--limit-bytes", "100"}},
		{0, "limit-bytes", []string{"extract", "-h"}}, {0, "limit-bytes", []string{"list", "-h"}}, {2, "INSIDE", []string{"extract", "--uidmap", "1:2"}}, {2, "neither", []string{"list", "--format", "xml"}},
	} {
		code, _, errs := call([]byte(strings.Repeat("garbage", 100)), c.args...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%q: %d %s", c.args, code, errs)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if code, _, errs := call(nil, "create", "-C", src); code != 1 || !strings.Contains(errs, "no number of seconds") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestProgress(t *testing.T) {
	if got := progress(50, 200); got != " 25% of 0.0 MB" {
		t.Error(got)
	}
	if got := progress(1_500_000, 0); got != "1.5 MB" {
		t.Error(got)
	}
}
