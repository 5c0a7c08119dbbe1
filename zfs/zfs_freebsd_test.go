package zfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// testPool makes a pool in a file, which goes with the test.
func testPool(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a pool: run with go test -exec sudo")
	}
	if _, err := exec.LookPath("zpool"); err != nil {
		t.Skip("needs zpool(8), from the base system: ", err)
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 256<<20); err != nil {
		t.Fatal(err)
	}
	pool := fmt.Sprintf("xctest%d", os.Getpid())
	if out, err := exec.Command("zpool", "create", "-O", "mountpoint=none", "-m", "none", pool, disk).CombinedOutput(); err != nil {
		t.Skipf("needs a kernel with ZFS (kldload zfs): zpool create: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("zpool", "destroy", "-f", pool).CombinedOutput(); err != nil {
			t.Errorf("zpool destroy: %s", out)
		}
	})
	return pool
}

// everyWay runs a test by ioctl, by zfs(8), and with a kernel that says that its
// ioctls are of the next version.
func everyWay(t *testing.T, test func(t *testing.T, z *ZFS, top string)) {
	pool := testPool(t)
	for _, way := range []struct {
		name   string
		z      *ZFS
		native bool
	}{
		{"ioctl", &ZFS{}, true},
		{"exec", &ZFS{Run: Exec}, false},
		{"other-version", &ZFS{version: func() (uint32, error) { return ioctlVersion + 1, nil }}, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			z := way.z
			if v, err := kernelVersion(); way.native && (err != nil || v != ioctlVersion) {
				t.Skipf("this kernel's ZFS ioctls are not of version %d: %d, %v", ioctlVersion, v, err)
			}
			if z.Native() != way.native {
				t.Fatalf("by ioctl: %v", z.Native())
			}
			top := pool + "/" + way.name
			if err := z.Create(t.Context(), top, nil); err != nil {
				t.Fatal(err)
			}
			test(t, z, top)
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func mount(t *testing.T, dataset string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "zfs", dataset, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil && t.Failed() {
			t.Logf("umount: %s", out)
		}
	})
	return dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Errorf("umount: %s", out)
	}
}

func TestIntegrationLife(t *testing.T) {
	everyWay(t, func(t *testing.T, z *ZFS, top string) {
		ctx, a, c := t.Context(), top+"/a", top+"/c"
		must := func(what string, err error, want error) {
			t.Helper()
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		must("create", z.Create(ctx, a, Props{"quota": "100000000", "xc:id": "x y"}), nil)
		must("create twice", z.Create(ctx, a, nil), fs.ErrExist)
		must("create without a parent", z.Create(ctx, top+"/none/b", nil), fs.ErrNotExist)
		must("create with compression", z.Create(ctx, top+"/z", Props{"compression": "lz4"}), nil)
		must("snapshot", z.Snapshot(ctx, a+"@s"), nil)
		must("snapshot twice", z.Snapshot(ctx, a+"@s"), fs.ErrExist)
		must("snapshot of nothing", z.Snapshot(ctx, top+"/none@s"), fs.ErrNotExist)
		must("clone", z.Clone(ctx, a+"@s", c, nil), nil)
		must("clone twice", z.Clone(ctx, a+"@s", c, nil), fs.ErrExist)
		must("clone of nothing", z.Clone(ctx, a+"@none", top+"/d", nil), fs.ErrNotExist)
		must("clone with properties", z.Clone(ctx, a+"@s", top+"/d", Props{"canmount": "noauto", "readonly": "on"}), nil)
		must("destroy an origin", z.Destroy(ctx, a+"@s"), syscall.EBUSY)
		must("destroy with a snapshot", z.Destroy(ctx, a), syscall.EBUSY)
		must("destroy with children", z.Destroy(ctx, top), syscall.EBUSY)
		must("destroy nothing", z.Destroy(ctx, top+"/none"), fs.ErrNotExist)
		must("destroy no snapshot", z.Destroy(ctx, a+"@none"), fs.ErrNotExist)
		dir := mount(t, c)
		must("destroy mounted", z.Destroy(ctx, c), syscall.EBUSY)
		unmount(t, dir)

		d, err := z.Get(ctx, c)
		if err != nil || d.Origin != a+"@s" || d.Type != FileSystem || d.GUID == 0 || d.Referenced == 0 || d.Available == 0 || d.Creation.Unix() < 1e9 {
			t.Errorf("clone: %+v, %v", d, err)
		}
		if s, err := z.Get(ctx, a+"@s"); err != nil || s.Type != Snapshot || s.Origin != "" || s.Referenced == 0 {
			t.Errorf("snapshot: %+v, %v", s, err)
		}
		_, err = z.Get(ctx, top+"/none")
		must("get nothing", err, fs.ErrNotExist)
		props, err := z.Props(ctx, a, "quota", "xc:id", "mounted")
		if err != nil || props["quota"] != "100000000" || props["xc:id"] != "x y" || props["mounted"] != "no" {
			t.Errorf("properties: %v, %v", props, err)
		}
		props, err = z.Props(ctx, top+"/d", "canmount", "readonly")
		if err != nil || props["canmount"] != "noauto" || props["readonly"] != "on" {
			t.Errorf("properties of a clone: %v, %v", props, err)
		}
		list, err := z.List(ctx, top)
		if err != nil || len(list) != 6 {
			t.Errorf("list: %v, %v", list, err)
		}
		must("set", z.Set(ctx, c, Props{"readonly": "on"}), nil)
		must("rename", z.Rename(ctx, c, top+"/e"), nil)
		if yes, err := z.Exists(ctx, c); yes || err != nil {
			t.Errorf("exists after rename: %v, %v", yes, err)
		}
		for _, n := range []string{top + "/e", top + "/d", a + "@s", a, top + "/z"} {
			must("destroy "+n, z.Destroy(ctx, n), nil)
		}
	})
}

func TestIntegrationDiffAndSend(t *testing.T) {
	everyWay(t, func(t *testing.T, z *ZFS, top string) {
		ctx, a := t.Context(), top+"/a"
		if err := z.Create(ctx, a, nil); err != nil {
			t.Fatal(err)
		}
		dir := mount(t, a)
		defer unmount(t, dir)
		write := func(name string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("sp ace")
		if err := z.Snapshot(ctx, a+"@1"); err != nil {
			t.Fatal(err)
		}
		write("tab\tand\nline ü \\")
		if err := os.Rename(filepath.Join(dir, "sp ace"), filepath.Join(dir, "renamed")); err != nil {
			t.Fatal(err)
		}
		if err := z.Snapshot(ctx, a+"@2"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for c, err := range z.Diff(ctx, a+"@1", a+"@2") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(c.Kind)+strings.TrimPrefix(c.Path, dir)+strings.TrimPrefix(c.To, dir))
		}
		slices.Sort(got) // the order is that of object numbers
		if want := "+/tab\tand\nline ü \\|M/|R/sp ace/renamed"; strings.Join(got, "|") != want {
			t.Errorf("diff %q, want %q", strings.Join(got, "|"), want)
		}
		var stream bytes.Buffer
		if err := z.Send(ctx, &stream, a+"@1", ""); err != nil {
			t.Fatal(err)
		}
		if err := z.Receive(ctx, &stream, top+"/r"); err != nil {
			t.Fatal(err)
		}
		stream.Reset()
		if err := z.Send(ctx, &stream, a+"@2", a+"@1"); err != nil {
			t.Fatal(err)
		}
		if err := z.Receive(ctx, &stream, top+"/r"); err != nil {
			t.Fatal(err)
		}
		if err := z.Rollback(ctx, top+"/r@2"); err != nil {
			t.Error(err)
		}
		if ok, err := z.Exists(ctx, top+"/r@2"); !ok || err != nil {
			t.Errorf("received: %v, %v", ok, err)
		}
	})
}

// Many at once on one descriptor.
func TestIntegrationConcurrent(t *testing.T) {
	everyWay(t, func(t *testing.T, z *ZFS, top string) {
		ctx := t.Context()
		if err := errors.Join(z.Create(ctx, top+"/a", nil), z.Snapshot(ctx, top+"/a@s")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				name := fmt.Sprintf("%s/c%d", top, i)
				if err := errors.Join(z.Clone(ctx, top+"/a@s", name, nil), z.Destroy(ctx, name)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func BenchmarkCloneDestroy(b *testing.B) {
	pool := testPool(b)
	for name, z := range map[string]*ZFS{"ioctl": {}, "exec": {Run: Exec}} {
		ctx := context.Background()
		if err := errors.Join(z.Create(ctx, pool+"/"+name, nil), z.Snapshot(ctx, pool+"/"+name+"@s")); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := errors.Join(z.Clone(ctx, pool+"/"+name+"@s", pool+"/c", nil), z.Destroy(ctx, pool+"/c")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
