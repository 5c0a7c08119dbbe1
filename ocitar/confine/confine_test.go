package confine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/ocitar"
	"golang.org/x/sys/unix"
)

// The test binary is the child as well. As "probe" it is a child that has gone over to
// the attacker: confined, it tries to reach a file outside by all names it can think of.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Verb {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) == 4 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[3]))
	}
	testns.Enter()
	os.Exit(m.Run())
}

func probe(arg string) int {
	var o orders
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		panic(err)
	}
	var reached []string
	root, err := enter(o.Root, false)
	if err == nil {
		secret := filepath.Join(filepath.Dir(o.Root), "secret")
		up := strings.Repeat("../", 30)
		for _, name := range []string{secret, up + secret[1:], "/" + up + secret[1:], "../secret", "/proc/self/root" + secret, "/proc/1/root" + secret, "/etc/passwd", "/proc/self/status", "/dev/null"} {
			if f, err := os.Open(name); err == nil {
				f.Close()
				reached = append(reached, name)
			}
			if fd, err := unix.Openat(int(root.File().Fd()), name, unix.O_RDONLY, 0); err == nil {
				unix.Close(fd)
				reached = append(reached, "openat "+name)
			}
		}
	}
	f := newFailure(err)
	if len(reached) > 0 {
		f = &failure{Text: fmt.Sprintf("reached %q", reached)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer{Failure: f}); err != nil {
		return 1
	}
	return 0
}

func child(t *testing.T, args ...string) *Child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Child{Path: exe, Argv: append([]string{"ocitar"}, args...)}
}

// skipUnconfinable skips where this user may not make namespaces or a jail.
func skipUnconfinable(t *testing.T, err error) {
	t.Helper()
	if os.Geteuid() != 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOSPC)) {
		t.Skipf("user namespaces are not allowed here (%v): run as root", err)
	}
}

func roots(t *testing.T) (root string) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "root")
	for _, err := range []error{os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func layer(t *testing.T, hs ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		h.Uid, h.Gid, h.Mode = os.Geteuid(), os.Getegid(), 0o755
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestProbeReachesNothing(t *testing.T) {
	root := roots(t)
	_, err := child(t, "probe").Unpack(context.Background(), root, strings.NewReader(""))
	skipUnconfinable(t, err)
	if err != nil {
		t.Error(err)
	}
}

func TestChildUnpacks(t *testing.T) {
	root := roots(t)
	plain := layer(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "/../secret"}, &tar.Header{Name: "f"})
	sum, err := child(t).Unpack(context.Background(), root, bytes.NewReader(plain))
	skipUnconfinable(t, err)
	if err != nil || sum.Entries != 3 || sum.TarSize != int64(len(plain)) {
		t.Fatalf("%+v, %v", sum, err)
	}
	if to, err := os.Readlink(filepath.Join(root, "d/l")); to != "/../secret" || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	ref, err := ocitar.Verify(context.Background(), bytes.NewReader(plain), ocitar.Limits{})
	if err != nil || ref.DiffID != sum.DiffID {
		t.Errorf("%s, %s, %v", ref.DiffID, sum.DiffID, err)
	}
}

func TestChildErrors(t *testing.T) {
	bad := layer(t, &tar.Header{Name: "ok"}, &tar.Header{Name: "../secret"})
	_, err := child(t).Unpack(context.Background(), roots(t), bytes.NewReader(bad))
	skipUnconfinable(t, err)
	var le *ocitar.Error
	if !errors.As(err, &le) || le.Entry != "../secret" || le.Offset != 512 || !errors.Is(err, ocitar.ErrName) {
		t.Errorf("%v", err)
	}
	_, err = child(t).Unpack(context.Background(), roots(t), bytes.NewReader(bad[:700]))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	c := child(t)
	c.Limits.Entries = 1
	if _, err = c.Unpack(context.Background(), roots(t), bytes.NewReader(layer(t, &tar.Header{Name: "a"}, &tar.Header{Name: "b"}))); !errors.Is(err, ocitar.ErrLimit) {
		t.Errorf("limit: %v", err)
	}
	if _, err = child(t).Unpack(context.Background(), filepath.Join(roots(t), "no"), strings.NewReader("")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no root: %v", err)
	}
	if _, err = (&Child{Argv: []string{"/nonexistent"}}).Unpack(context.Background(), "/", strings.NewReader("")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = child(t).Unpack(ctx, roots(t), strings.NewReader("")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// run is one call of the program.
func run(stdin []byte, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, bytes.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestProgram(t *testing.T) {
	src, dst := roots(t), roots(t)
	for _, name := range []string{"a", "b", "skip"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "0")
	code, archive, said := run(nil, "create", "-C", src, "--compression", "gzip", "--exclude", "skip", "--remove", "gone/x", ".")
	if code != 0 || !strings.HasPrefix(said, "diffid sha256:") {
		t.Fatal(code, said)
	}
	if _, err := gzip.NewReader(strings.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	code, listed, _ := run([]byte(archive), "list")
	for _, want := range []string{`"./"`, `"a"`, `"b"`, `"gone/.wh.x"`, "1970-01-01T00:00:00Z"} {
		if code != 0 || !strings.Contains(listed, want) || strings.Contains(listed, "skip") {
			t.Errorf("list: %d %s", code, listed)
		}
	}
	code, out, errs := run([]byte(archive), "extract", "-C", dst, "--json")
	var sum ocitar.Summary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 0 || sum.Files != 2 || sum.Compression != ocitar.Gzip {
		t.Errorf("%d %s %s %v", code, out, errs, err)
	}
	code, out, _ = run([]byte(archive), "verify", "--format", "json")
	var again ocitar.Summary
	if err := json.Unmarshal([]byte(out), &again); err != nil || code != 0 || again.Digest != sum.Digest || again.DiffID != sum.DiffID {
		t.Errorf("%d %s %v", code, out, err)
	}
	code, diff, _ := run(nil, "diff", src, dst)
	_, listed, _ = run([]byte(diff), "list")
	if code != 0 || !strings.Contains(listed, ".wh.skip") {
		t.Errorf("diff: %d %s", code, listed)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "usage", nil}, {2, "usage", []string{"unknown"}}, {2, "usage", []string{"diff", "one"}}, {2, "xz", []string{"create", "--compression", "xz"}},
		{1, "no such file", []string{"list", "-f", "/nonexistent"}}, {1, "missing: file does not exist", []string{"create", "-C", src, "missing"}},
		{1, "not a tar header", []string{"verify"}}, {0, "limit-bytes", []string{"extract", "-h"}}, {2, "INSIDE", []string{"extract", "--uidmap", "1:2"}},
	} {
		code, _, errs := run([]byte(strings.Repeat("garbage", 100)), c.args...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%q: %d %s", c.args, code, errs)
		}
	}
}
