package inroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// plant makes a tree: "d/" is a directory, "a -> b" a link, "f" a file that holds its name.
func plant(t testing.TB, dir string, specs ...string) *Root {
	t.Helper()
	for _, s := range specs {
		name, target, link := strings.Cut(s, " -> ")
		p := filepath.Join(dir, name)
		var err error
		switch {
		case link:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// outside makes a root with a secret beside it, which no name may reach.
func outside(t testing.TB, specs ...string) (r *Root, secret string) {
	t.Helper()
	top := t.TempDir()
	secret = filepath.Join(top, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(top, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return plant(t, root, specs...), secret
}

func TestLook(t *testing.T) {
	r, secret := outside(t, "usr/lib/", "usr/lib/x", "lib -> usr/lib", "abs -> /usr", "up -> ../../../../usr",
		"loop -> loop", "dangling -> /nowhere/at/all", "f", "usr/back -> ..", "usr/chain -> back/abs/lib", "dot -> .")
	if err := os.Symlink(secret, filepath.Join(r.Name(), "out")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		err        error
	}{
		{"/", "/", nil},
		{".", "/", nil},
		{"..", "/", nil},
		{"../../..", "/", nil},
		{"lib/x", "/usr/lib/x", nil},
		{"/lib//./x", "/usr/lib/x", nil},
		{"abs/lib/x", "/usr/lib/x", nil},
		{"up/lib/x", "/usr/lib/x", nil},
		{"usr/chain/x", "/usr/lib/x", nil},
		{"lib/../lib/x", "/usr/lib/x", nil},
		{"usr/back/f", "/f", nil},
		{"usr/back/../../f", "/f", nil},
		{"dot/dot/dot/f", "/f", nil},
		{"lib/", "/usr/lib", nil},
		{"lib", "/usr/lib", nil},
		{"usr/lib/..", "/usr", nil},
		{"../secret", "", fs.ErrNotExist},
		{"out", "", fs.ErrNotExist},
		{"up/../../secret", "", fs.ErrNotExist},
		{"", "", fs.ErrNotExist},
		{"dangling", "", fs.ErrNotExist},
		{"loop", "", unix.ELOOP},
		{"loop/x", "", unix.ELOOP},
		{"f/", "", unix.ENOTDIR},
		{"f/x", "", unix.ENOTDIR},
		{"f/..", "", unix.ENOTDIR},
		{"a\x00b", "", unix.EINVAL},
		{strings.Repeat("a/", MaxName), "", unix.ENAMETOOLONG},
		{strings.Repeat("b", 300), "", unix.ENAMETOOLONG},
	} {
		got, err := r.Look(c.name)
		if got != c.path || !errors.Is(err, c.err) {
			t.Errorf("Look(%.40q) = %q, %v; want %q, %v", c.name, got, err, c.path, c.err)
		}
		_, serr := r.Stat(c.name)
		if !errors.Is(serr, c.err) {
			t.Errorf("Stat(%.40q): %v, want %v", c.name, serr, c.err)
		}
	}
}

func TestTooManyLinks(t *testing.T) {
	specs := []string{"l0 -> f", "f"}
	for i := 1; i <= MaxLinks; i++ {
		specs = append(specs, fmt.Sprintf("l%d -> l%d", i, i-1))
	}
	r, _ := outside(t, specs...)
	if _, err := r.Look(fmt.Sprintf("l%d", MaxLinks-1)); err != nil {
		t.Errorf("%d links: %v", MaxLinks, err)
	}
	if _, err := r.Look(fmt.Sprintf("l%d", MaxLinks)); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%d links: %v, want ELOOP", MaxLinks+1, err)
	}
}

func TestBoundedDotDot(t *testing.T) {
	deep := strings.Repeat("d/", 200)
	r, _ := outside(t, deep)
	name := deep + strings.Repeat("../", 200) + deep
	if _, err := r.Look(name); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v, want ELOOP", err)
	}
}

func TestOpenFile(t *testing.T) {
	r, _ := outside(t, "etc/", "etc/f", "link -> /etc/f", "new -> /etc/made", "d -> etc")
	for name, want := range map[string]string{"link": "etc/f", "d/f": "etc/f", "/d/../etc/f": "etc/f"} {
		f, err := r.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		f.Close()
		if string(data) != want || err != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	f, err := r.OpenFile("new", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal("creating through a dangling link:", err)
	}
	f.Close()
	if fi, err := os.Stat(filepath.Join(r.Name(), "etc/made")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if _, err := r.OpenFile("new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("O_EXCL: %v", err)
	}
	if _, err := r.OpenFile("link", unix.O_NOFOLLOW, 0); err == nil {
		t.Error("O_NOFOLLOW followed")
	}
	if f, err := r.OpenFile("link", oPath, 0); err != nil {
		t.Error(err)
	} else {
		defer f.Close()
		if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
			t.Errorf("O_PATH opened the link itself: %v, %v", fi, err)
		}
	}
}

func TestMkdirAllRemove(t *testing.T) {
	r, secret := outside(t, "usr/", "lib -> usr/lib", "abs -> /x/y", "f", "out -> ../../secret")
	for name, made := range map[string]string{"lib/a/b": "usr/lib/a/b", "abs/z/": "x/y/z", "../../q": "q"} {
		if err := r.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.MkdirAll(name, 0o755); err != nil {
			t.Fatal("again:", err)
		}
		if fi, err := os.Lstat(filepath.Join(r.Name(), made)); err != nil || !fi.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.MkdirAll("f/x", 0o755); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("%v, want ENOTDIR", err)
	}
	for _, name := range []string{"out", "abs/z/", "lib/a/b", "f"} {
		if err := r.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if err := r.Remove("usr"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("%v, want ENOTEMPTY", err)
	}
	if err := r.Remove("../secret"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error("the secret is gone")
	}
}

func TestParentReadlinkLstat(t *testing.T) {
	r, _ := outside(t, "usr/lib/", "lib -> usr/lib", "usr/lib/l -> /etc")
	dir, base, err := r.Parent("lib/l")
	if err != nil || base != "l" {
		t.Fatal(base, err)
	}
	defer dir.Close()
	if got, err := readlinkat(int(dir.Fd()), base); got != "/etc" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := r.Readlink("lib/l"); got != "/etc" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if st, err := r.Lstat("lib/l"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("%o, %v", st.Mode, err)
	}
}

func TestReadFile(t *testing.T) {
	r, _ := outside(t, "f", "d/", "abs -> /f")
	if err := unix.Mkfifo(filepath.Join(r.Name(), "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(r.Name(), "d/../f"), 10); err != nil {
		t.Fatal(err)
	}
	if data, err := r.ReadFile("abs", 10); len(data) != 10 || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	for name, want := range map[string]error{"f": unix.EFBIG, "fifo": unix.EINVAL, "d": unix.EINVAL, "/dev/null": fs.ErrNotExist} {
		if _, err := r.ReadFile(name, 9); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestLookPath(t *testing.T) {
	r, _ := outside(t, "bin/", "usr/bin/", "work/", "bin/plain", "bin/dir/", "usr/bin/tool", "work/local", "bin/loop -> loop", "sbin -> /usr/bin")
	for _, name := range []string{"usr/bin/tool", "work/local"} {
		if err := os.Chmod(filepath.Join(r.Name(), name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const search = "/none:/bin:/bin/plain:/usr/bin"
	for _, c := range []struct {
		name, search, cwd, want string
		err                     error
	}{
		{"tool", search, "/", "/usr/bin/tool", nil},
		{"tool", "/sbin", "/", "/sbin/tool", nil},
		{"tool", "bin:.", "/usr", "/usr/bin/tool", nil},
		{"local", "", "/work", "/work/local", nil},
		{"local", "/bin:", "work", "/work/local", nil},
		{"./local", search, "/work", "/work/./local", nil},
		{"/usr/bin/tool", "", "/", "/usr/bin/tool", nil},
		{"plain", search, "/", "", fs.ErrPermission},
		{"dir", search, "/", "", fs.ErrPermission},
		{"/bin/dir", search, "/", "", fs.ErrPermission},
		{"loop", search, "/", "", fs.ErrNotExist},
		{"/bin/loop", search, "/", "", fs.ErrNotExist},
		{"gone", search, "/", "", fs.ErrNotExist},
		{"", search, "/", "", fs.ErrNotExist},
		{"../../../bin/plain/x", search, "/", "", fs.ErrNotExist},
	} {
		got, err := r.LookPath(c.name, c.search, c.cwd)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("LookPath(%q, %q, %q) = %q, %v; want %q, %v", c.name, c.search, c.cwd, got, err, c.want, c.err)
		}
	}
}

func TestTouch(t *testing.T) {
	r, secret := outside(t, "etc/", "etc/resolv.conf -> ../run/systemd/resolv.conf", "etc/hosts -> /var/hosts", "etc/two -> resolv.conf",
		"dir/", "f", "there -> f", "away -> ../../secret", "loop -> loop", "sub -> etc")
	for name, leads := range map[string]string{
		"new": "/new", "a/b/c": "/a/b/c", "f": "/f", "there": "/f", "etc/resolv.conf": "/run/systemd/resolv.conf",
		"etc/hosts": "/var/hosts", "etc/two": "/run/systemd/resolv.conf", "away": "/secret", "sub/x": "/etc/x",
	} {
		for range 2 {
			if err := r.Touch(name, 0o600); err != nil {
				t.Errorf("Touch(%q): %v", name, err)
			}
		}
		if path, err := r.Look(name); err != nil || path != leads {
			t.Errorf("Touch(%q) made %q, want %q: %v", name, path, leads, err)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the secret: %q %v", b, err)
	}
	if b, err := r.ReadFile("f", 10); err != nil || string(b) != "f" {
		t.Errorf("what was there: %q %v", b, err)
	}
	for name, want := range map[string]error{"loop": unix.ELOOP, "f/x": unix.ENOTDIR, "dir": unix.EISDIR} {
		if err := r.Touch(name, 0o600); !errors.Is(err, want) {
			t.Errorf("Touch(%q): %v", name, err)
		}
	}
}
