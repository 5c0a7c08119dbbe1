package volume_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/volume"
)

func mustWrite(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// names lists a directory, hidden names included.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestDirs(t *testing.T) {
	d := &volume.Dirs{Dir: filepath.Join(t.TempDir(), "volumes")}
	ctx := t.Context()
	if err := d.Create(ctx, "db", "c1", volume.Options{}); err != nil {
		t.Fatal(err)
	}
	dir, err := d.Path(ctx, "db")
	if err != nil || dir != filepath.Join(d.Dir, "db", "data") {
		t.Fatalf("%q, %v", dir, err)
	}
	mustWrite(t, filepath.Join(dir, "f"), "x", 0o644)
	if err := d.Create(ctx, "db", "c2", volume.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if err := d.Remove(ctx, "db", "c2"); err != nil { // another one's id
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "x" {
		t.Fatalf("the data are %q, %v", b, err)
	}
	sizes, err := d.Sizes(ctx)
	if err != nil || len(sizes) != 1 || sizes["db"] == 0 {
		t.Errorf("%v, %v", sizes, err)
	}
	for range 2 {
		if err := d.Remove(ctx, "db", "c1"); err != nil {
			t.Error(err)
		}
	}
	if left := names(t, d.Dir); left != "" {
		t.Errorf("left: %s", left)
	}
	if _, err := d.Path(ctx, "db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a volume that is gone: %v", err)
	}
}

// What somebody else has put there is neither replaced nor removed.
func TestDirsForeign(t *testing.T) {
	for _, foreign := range []string{"db", "db/data", "db/data/precious"} {
		t.Run(foreign, func(t *testing.T) {
			d := &volume.Dirs{Dir: t.TempDir()}
			if err := os.MkdirAll(filepath.Join(d.Dir, foreign), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := d.Create(t.Context(), "db", "c1", volume.Options{}); !errors.Is(err, fs.ErrExist) {
				t.Errorf("create: %v", err)
			}
			if err := d.Remove(t.Context(), "db", "c1"); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(d.Dir, foreign)); err != nil {
				t.Error(err)
			}
			if left := names(t, d.Dir); left != "db" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// A crash leaves a draft, or what is being removed: Remove finishes both.
func TestDirsAfterCrash(t *testing.T) {
	d := &volume.Dirs{Dir: t.TempDir()}
	for _, debris := range []string{".new-c1/data", ".gone-c1/data/deep"} {
		if err := os.MkdirAll(filepath.Join(d.Dir, debris), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Remove(t.Context(), "db", "c1"); err != nil {
		t.Fatal(err)
	}
	if left := names(t, d.Dir); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestBadOptions(t *testing.T) {
	dirs, datasets := &volume.Dirs{}, &volume.Datasets{}
	for _, tc := range []struct {
		d    volume.Driver
		o    volume.Options
		want error
	}{
		{dirs, volume.Options{Properties: map[string]string{"quota": "1G"}}, fs.ErrInvalid},
		{dirs, volume.Options{From: "a@b"}, errors.ErrUnsupported},
		{datasets, volume.Options{Properties: map[string]string{"mountpoint": "/etc"}}, fs.ErrInvalid},
		{datasets, volume.Options{Properties: map[string]string{"xc:volume": "c1"}}, fs.ErrInvalid},
		{datasets, volume.Options{From: "a"}, fs.ErrInvalid},
		{datasets, volume.Options{From: "../a@b"}, fs.ErrInvalid},
		{datasets, volume.Options{From: "a@b", Properties: map[string]string{"quota": "1G"}}, nil},
	} {
		if err := tc.d.Check(tc.o); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%T %+v: %v, want %v", tc.d, tc.o, err, tc.want)
		}
	}
	for _, name := range []string{"", ".", "..", ".new-c1", "a/b", "a@b", "a b", "-a", strings.Repeat("a", 129)} {
		if err := volume.CheckName(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// makeRoot makes a root with something in /srv/data, where /data leads.
func makeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	mustWrite(t, filepath.Join(root, "srv/data/a"), "A", 0o640)
	mustWrite(t, filepath.Join(root, "srv/data/sub/b"), "B", 0o4755)
	for path, mode := range map[string]fs.FileMode{"srv/data": 0o750, "srv/data/sub": fs.ModeSticky | 0o777, "srv/data/sub/b": fs.ModeSetuid | 0o755} {
		if err := os.Chmod(filepath.Join(root, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/srv/data", filepath.Join(root, "data")), os.Symlink("a", filepath.Join(root, "srv/data/link"))); err != nil {
		t.Fatal(err)
	}
	return root
}

func wantFilled(t *testing.T, dir string) {
	t.Helper()
	if got := names(t, dir); got != "a link sub" {
		t.Errorf("it has %s", got)
	}
	for path, want := range map[string]fs.FileMode{".": fs.ModeDir | 0o750, "a": 0o640, "sub": fs.ModeDir | fs.ModeSticky | 0o777, "sub/b": fs.ModeSetuid | 0o755, "link": fs.ModeSymlink | 0o777} {
		fi, err := os.Lstat(filepath.Join(dir, path))
		if err != nil || fi.Mode() != want && want&fs.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v; want %v", path, fi.Mode(), err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sub/b")); err != nil || string(b) != "B" {
		t.Errorf("sub/b: %q, %v", b, err)
	}
}

func TestFill(t *testing.T) {
	root, dir := makeRoot(t), t.TempDir()
	for _, absent := range []string{"/none", "/srv/data/a", "/srv/data/a/b", "/none/../srv/none"} {
		if err := volume.Fill(t.Context(), dir, root, absent); err != nil || names(t, dir) != "" {
			t.Errorf("%s: %v, %q", absent, err, names(t, dir))
		}
	}
	if err := volume.Fill(t.Context(), dir, root, "/data"); err != nil {
		t.Fatal(err)
	}
	wantFilled(t, dir)
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := volume.Fill(t.Context(), dir, root, "/data"); err != nil || names(t, dir) != "link sub" {
		t.Errorf("what is not empty is not filled: %v, %q", err, names(t, dir))
	}
}

// Wherever a Fill was cut off, another one finishes it.
func TestFillAgain(t *testing.T) {
	for name, state := range map[string]map[string]string{
		"while it was copied": {".xc-fill.part/a": "hal"},
		"while it was moved":  {".xc-fill/sub/b": "B", ".xc-fill/a": "A", "link": "->a"},
		"before the end":      {".xc-fill/": "", "sub/b": "B", "a": "A", "link": "->a"},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := makeRoot(t), t.TempDir()
			for path, content := range state {
				full := filepath.Join(dir, path)
				if to, ok := strings.CutPrefix(content, "->"); ok {
					if err := os.Symlink(to, full); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if strings.HasSuffix(path, "/") {
					if err := os.Mkdir(full, 0o700); err != nil {
						t.Fatal(err)
					}
					continue
				}
				mustWrite(t, full, content, 0o640)
				if strings.HasSuffix(path, "sub/b") {
					if err := errors.Join(os.Chmod(full, fs.ModeSetuid|0o755), os.Chmod(filepath.Dir(full), fs.ModeSticky|0o777)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := volume.Fill(t.Context(), dir, root, "/data"); err != nil {
				t.Fatal(err)
			}
			wantFilled(t, dir)
		})
	}
}

func TestFillOverwritesNothing(t *testing.T) {
	root, dir := makeRoot(t), t.TempDir()
	mustWrite(t, filepath.Join(dir, ".xc-fill/a"), "A", 0o640)
	mustWrite(t, filepath.Join(dir, "a"), "somebody's", 0o600)
	if err := volume.Fill(t.Context(), dir, root, "/data"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(b) != "somebody's" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestOwnersOfFill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("owners need root")
	}
	root, dir := makeRoot(t), t.TempDir()
	if err := errors.Join(os.Chown(filepath.Join(root, "srv/data"), 70, 71), os.Lchown(filepath.Join(root, "srv/data/link"), 72, 73)); err != nil {
		t.Fatal(err)
	}
	if err := volume.Fill(t.Context(), dir, root, "/data"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]uint32{".": {70, 71}, "link": {72, 73}} {
		fi, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
	}
}
