package confine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	if len(os.Args) == 4 && (os.Args[1] == "naive" || os.Args[1] == "naive-at-large") {
		os.Exit(naive(os.Args[3], os.Args[1] == "naive"))
	}
	if len(os.Args) == 3 && os.Args[1] == "empty" {
		os.Exit(empty(os.Args[2]))
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
	root, err := o.enter()
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

// naive is a child whose resolver follows ".." and links, as one with a hole would: the
// kernel resolves the names of the archive as they are.
func naive(arg string, confined bool) int {
	var o orders
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		panic(err)
	}
	root := o.Root
	var err error
	if confined {
		_, err = o.enter()
		root = ""
	}
	r := tar.NewReader(os.Stdin)
	for err == nil {
		var h *tar.Header
		if h, err = r.Next(); err != nil {
			break
		}
		name := root + "/" + h.Name
		switch h.Typeflag { // that one fails is part of the game: the next may not
		case tar.TypeSymlink:
			_ = os.Symlink(h.Linkname, name)
		case tar.TypeLink:
			_ = os.Link(root+"/"+h.Linkname, name)
		default:
			_ = os.WriteFile(name, []byte("overwritten"), 0o644)
		}
	}
	if err == io.EOF {
		err = nil
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer{Failure: newFailure(err)}); err != nil {
		return 1
	}
	return 0
}

// empty is a process that only reads, gone over to the attacker.
func empty(secret string) int {
	if err := Empty(); err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	for _, name := range []string{secret, strings.Repeat("../", 30) + secret[1:], "/", ".", "..", "/etc/passwd", "/proc/self/root" + secret, "/dev/null"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		names, _ := f.Readdirnames(-1)
		if fi, err := f.Stat(); err != nil || !fi.IsDir() || len(names) > 0 {
			fmt.Printf("reached %s: %q\n", name, names)
		}
	}
	for _, what := range []struct {
		name string
		err  error
	}{
		{"made a file", os.WriteFile("/x", nil, 0o600)}, {"made a directory", os.Mkdir("x", 0o700)}, {"changed owners", os.Chown("/", 1, 1)}, {"chroot", unix.Chroot("/")},
	} {
		if what.err == nil && (what.name != "chroot" || !keepsCapabilities) {
			fmt.Println(what.name)
		}
	}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err == nil {
		if unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}) == nil {
			fmt.Println("has a network")
		}
	}
	in, err := io.ReadAll(os.Stdin)
	fmt.Printf("read %q, %v\n", in, err)
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
	dir := openDir(t, root)
	if _, err := child(t, "probe").UnpackTo(context.Background(), dir, strings.NewReader("")); err != nil {
		t.Errorf("in an open directory: %v", err)
	}
}

func openDir(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What is no layer is unpacked into a directory of an open root: its links are the root's.
func TestChildUnpacksTo(t *testing.T) {
	root := roots(t)
	for _, err := range []error{os.Mkdir(filepath.Join(root, "real"), 0o755), os.Symlink("/real", filepath.Join(root, "into"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := child(t)
	c.Into, c.Plain, c.Merge = "into", true, true
	plain := layer(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "d/f"}, &tar.Header{Name: "d/.wh.f"}, &tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "d/f"})
	for range 2 { // the second time all is there
		_, err := c.UnpackTo(context.Background(), openDir(t, root), bytes.NewReader(plain))
		skipUnconfinable(t, err)
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err1 := os.Stat(filepath.Join(root, "real/d/f"))
	hard, err2 := os.Stat(filepath.Join(root, "real/hard"))
	_, err3 := os.Stat(filepath.Join(root, "real/d/.wh.f"))
	if err := errors.Join(err1, err2, err3); err != nil || !os.SameFile(f, hard) {
		t.Error(err)
	}
	for what, h := range map[string]*tar.Header{"a file over a directory": {Name: "d"}, "a directory over a file": {Name: "d/f/", Typeflag: tar.TypeDir}} {
		if _, err := c.UnpackTo(context.Background(), openDir(t, root), bytes.NewReader(layer(t, h))); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestResolverThatFollows: a child whose resolver has a hole reaches what is outside; the
// same one, confined, does not.
func TestResolverThatFollows(t *testing.T) {
	for _, how := range []string{"naive-at-large", "naive"} {
		for what, escape := range map[string]func(secret string) []*tar.Header{
			"..":      func(string) []*tar.Header { return []*tar.Header{{Name: "../secret"}} },
			"many ..": func(s string) []*tar.Header { return []*tar.Header{{Name: strings.Repeat("../", 30) + s[1:]}} },
			"link": func(s string) []*tar.Header {
				return []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: s}, {Name: "l"}}
			},
			"relative link": func(string) []*tar.Header {
				return []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../secret"}, {Name: "l"}}
			},
			"directory": func(s string) []*tar.Header {
				return []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: filepath.Dir(s)}, {Name: "l/secret"}}
			},
			"hard link": func(string) []*tar.Header {
				return []*tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}, {Name: "h"}}
			},
		} {
			for _, open := range []bool{false, true} {
				root := roots(t)
				secret := filepath.Join(filepath.Dir(root), "secret")
				data := bytes.NewReader(layer(t, escape(secret)...))
				var err error
				if open {
					_, err = child(t, how).UnpackTo(context.Background(), openDir(t, root), data)
				} else {
					_, err = child(t, how).Unpack(context.Background(), root, data)
				}
				skipUnconfinable(t, err)
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(secret)
				if err != nil {
					t.Fatal(err)
				}
				if reached := string(got) != "secret"; reached != (how == "naive-at-large") {
					t.Errorf("%s, %s, open %v: the secret is %q", how, what, open, got)
				}
				if left, err := os.ReadDir(filepath.Dir(root)); err != nil || len(left) != 2 {
					t.Errorf("%s, %s, open %v: beside the root: %v, %v", how, what, open, left, err)
				}
			}
		}
	}
}

// TestRootThatIsRearranged: somebody who lives in the root moves the directory that is
// unpacked into, and puts links in its place and in that of what the archive has in it.
// Whatever of that is met, it is inside the root.
func TestRootThatIsRearranged(t *testing.T) {
	root := roots(t)
	top := filepath.Dir(root)
	for _, dir := range []string{"into/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var attacker sync.WaitGroup
	attacker.Go(func() {
		at := func(name string) string { return filepath.Join(root, name) }
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			// Errors are part of the game: the child makes files meanwhile.
			target := []string{"..", "../..", top, "/", "other"}[n%5]
			_ = os.Rename(at("into/sub"), at("other/sub"))
			_ = os.Symlink(target, at("into/sub"))
			_ = os.Rename(at("into"), at("moved"))
			_ = os.Symlink(target, at("into"))
			_ = os.Remove(at("into"))
			_ = os.Rename(at("moved"), at("into"))
			_ = os.Remove(at("into/sub"))
			_ = os.Rename(at("other/sub"), at("into/sub"))
		}
	})
	c := child(t)
	c.Into, c.Plain, c.Merge = "into", true, true
	data := layer(t, &tar.Header{Name: "secret"}, &tar.Header{Name: "sub/", Typeflag: tar.TypeDir}, &tar.Header{Name: "sub/secret"},
		&tar.Header{Name: "sub/x/", Typeflag: tar.TypeDir}, &tar.Header{Name: "sub/x/secret"}, &tar.Header{Name: "sub/../secret"})
	data2 := layer(t, &tar.Header{Name: "secret"}, &tar.Header{Name: "sub/", Typeflag: tar.TypeDir}, &tar.Header{Name: "sub/secret"})
	done := 0
	for i := range 60 {
		archive := [][]byte{data, data2}[i%2]
		_, err := c.UnpackTo(context.Background(), openDir(t, root), bytes.NewReader(archive))
		skipUnconfinable(t, err)
		if err == nil {
			done++
		}
		if got, err := os.ReadFile(filepath.Join(top, "secret")); err != nil || string(got) != "secret" {
			t.Fatalf("the secret is %q, %v", got, err)
		}
	}
	close(stop)
	attacker.Wait()
	if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
		t.Errorf("beside the root: %v, %v", left, err)
	}
	if done == 0 {
		t.Error("nothing could be unpacked at all")
	}
}

// TestEmptyReachesNothing: what only reads has its descriptors, and nothing else.
func TestEmptyReachesNothing(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(context.Background(), exe, "ocitar", "empty", filepath.Join(filepath.Dir(roots(t)), "secret"))
	cmd.Stdin = strings.NewReader("the layer")
	out, err := cmd.CombinedOutput()
	skipUnconfinable(t, err)
	if err != nil || string(out) != "read \"the layer\", <nil>\n" {
		t.Errorf("%v\n%s", err, out)
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
