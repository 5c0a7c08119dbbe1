package mount

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount: run with go test -exec sudo")
	}
}

// dirs makes directories in a temporary one.
func dirs(t *testing.T, names ...string) []string {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		names[i] = filepath.Join(top, n)
		if err := os.Mkdir(names[i], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func mounted(t *testing.T, e Entry) {
	t.Helper()
	if err := Mount(e); err != nil {
		var m *Error
		if errors.As(err, &m) && m.Msg == "Invalid fstype" {
			t.Skipf("needs the module of %s (kldload %s): %v", e.Type, e.Type, err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(e.Path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestIntegrationLife(t *testing.T) {
	requireRoot(t)
	d := dirs(t, "from", "to")
	if err := os.WriteFile(filepath.Join(d[0], "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := At(d[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	mounted(t, Entry{Type: "nullfs", From: d[0], Path: d[1], Options: []string{"ro", "nosuid"}})
	s, err := At(d[1])
	if err != nil || s.Type != "nullfs" || s.From != d[0] || !slices.Contains(s.Options, "ro") || !slices.Contains(s.Options, "nosuid") {
		t.Errorf("found %+v, %v", s, err)
	}
	if b, err := os.ReadFile(filepath.Join(d[1], "f")); err != nil || string(b) != "x" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(d[1], "g"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	all, err := List()
	if err != nil || !slices.ContainsFunc(all, func(o Status) bool { return o.ID == s.ID && o.Path == d[1] }) || all[0].Path != "/" {
		t.Errorf("list: %+v, %v", all, err)
	}
	f, err := os.Open(filepath.Join(d[1], "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Unmount(false); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("busy: %v", err)
	}
	if err := s.Unmount(true); err != nil {
		t.Errorf("forced: %v", err)
	}
	if err := s.Unmount(true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice by number: %v", err)
	}
	if err := Unmount(d[1], false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice by path: %v", err)
	}
}

func TestIntegrationRefusals(t *testing.T) {
	requireRoot(t)
	d := dirs(t, "a", "b")
	for what, c := range map[string]struct {
		e    Entry
		want error
	}{
		"missing target": {Entry{Type: "tmpfs", Path: d[0] + "/none"}, fs.ErrNotExist},
		"missing source": {Entry{Type: "nullfs", From: d[0] + "/none", Path: d[1]}, fs.ErrNotExist},
		"unknown type":   {Entry{Type: "nosuchfs", Path: d[0]}, syscall.EINVAL},
		"unknown option": {Entry{Type: "tmpfs", Path: d[0], Options: []string{"nosuchoption=1"}}, syscall.EINVAL},
	} {
		err := Mount(c.e)
		if err == nil {
			if uerr := Unmount(c.e.Path, true); uerr != nil {
				t.Error(uerr)
			}
		}
		var e *Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestIntegrationTypes(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		e    Entry
		look string
	}{
		{Entry{Type: "tmpfs", Options: []string{"size=1048576", "mode=1777"}}, "."},
		{Entry{Type: "devfs"}, "null"},
		{Entry{Type: "fdescfs", Options: []string{"linrdlnk"}}, "0"},
		{Entry{Type: "procfs"}, "curproc"},
	} {
		t.Run(c.e.Type, func(t *testing.T) {
			c.e.Path = dirs(t, "m")[0]
			mounted(t, c.e)
			if _, err := os.Lstat(filepath.Join(c.e.Path, c.look)); err != nil {
				t.Error(err)
			}
			if s, err := At(c.e.Path); err != nil || s.Type != c.e.Type {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// testDataset makes a file system of ZFS.
func testDataset(t *testing.T) string {
	t.Helper()
	parent := os.Getenv("XC_TEST_DATASET")
	if parent == "" {
		t.Skip("needs ZFS: name a dataset for tests in XC_TEST_DATASET")
	}
	name := parent + "/xc-mount-" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command("zfs", "create", "-o", "mountpoint=none", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("zfs", "destroy", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return name
}

func TestIntegrationUpdate(t *testing.T) {
	requireRoot(t)
	for _, kind := range []string{"tmpfs", "zfs"} {
		t.Run(kind, func(t *testing.T) {
			e := Entry{Type: kind, Options: []string{"nosuid"}}
			if kind == "zfs" {
				e.From = testDataset(t)
				e.Options = append(e.Options, "noatime")
			}
			e.Path = dirs(t, "m")[0]
			mounted(t, e)
			before, err := At(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			writer, err := os.Create(filepath.Join(e.Path, "open"))
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			err = before.Update(append(before.Options, "ro")...)
			if kind == "tmpfs" { // who writes keeps it
				if !errors.Is(err, syscall.EBUSY) {
					t.Fatalf("with a file open for writing: %v", err)
				}
				writer.Close()
				err = before.Update(append(before.Options, "ro")...)
			}
			if err != nil {
				t.Fatal(err)
			}
			after, err := At(e.Path)
			if err != nil || after.ID != before.ID || !slices.Equal(slices.Sorted(slices.Values(after.Options)), slices.Sorted(slices.Values(append(before.Options, "ro")))) {
				t.Errorf("before %+v, after %+v, %v", before, after, err)
			}
			if err := os.WriteFile(filepath.Join(e.Path, "f"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
				t.Errorf("write: %v", err)
			}
			if err := after.Update(append(before.Options, "rw")...); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(e.Path, "f"), nil, 0o600); err != nil {
				t.Error(err)
			}
			mounted(t, Entry{Type: "tmpfs", Path: e.Path})
			if err := after.Update("ro"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of what another covers: %v", err)
			}
			if s, err := At(e.Path); err != nil || slices.Contains(s.Options, "ro") {
				t.Errorf("the other has become %+v, %v", s, err)
			}
			if err := Unmount(e.Path, false); err != nil {
				t.Fatal(err)
			}
			if err := after.Unmount(true); err != nil {
				t.Fatal(err)
			}
			if err := after.Update("ro"); err == nil {
				t.Error("what is not mounted was updated")
			}
		})
	}
}
