package dirstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func testXattrs(t *testing.T, name string) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := unix.Llistxattr(name, b)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return ""
	}
	must(t, err)
	names := strings.Split(string(b[:n]), "\x00")
	slices.Sort(names)
	var list []string
	for _, a := range names {
		if a == "" {
			continue
		}
		v := make([]byte, 70000)
		n, err := unix.Lgetxattr(name, a, v)
		must(t, err)
		list = append(list, fmt.Sprintf("%s=%x", a, v[:n]))
	}
	return strings.Join(list, " ")
}

func TestCloneKeepsUserAttributes(t *testing.T) {
	src := t.TempDir()
	plant(t, src)
	for name, value := range map[string]string{"d/file": "v", "d/e": "on a directory", "d/empty": strings.Repeat("long", 500)} {
		err := unix.Lsetxattr(filepath.Join(src, name), "user.test", []byte(value), 0)
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the file system of the temporary directory has no user attributes: set TMPDIR to one that has")
		}
		must(t, err)
	}
	must(t, os.Chmod(src+"/d/e", 0o755))
	compare(t, src)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec sudo -run Integration ./dirstore")
	}
}

// What only root can make: owners, devices, trusted attributes, capabilities,
// flags.
func TestIntegrationCloneKeepsEverything(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	plant(t, src)
	in := func(name string) string { return filepath.Join(src, name) }
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service
	must(t,
		unix.Mknod(in("d/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(in("d/whiteout"), unix.S_IFCHR, 0),
		unix.Mknod(in("d/loop"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 1))),
		os.Lchown(in("d/link"), 12, 34),
		os.Lchown(in("d/fifo"), 1<<31, 1<<31+1),
		os.Chown(in("d/empty"), 1000, 1000),
		os.Chmod(in("d/empty"), 0o755|os.ModeSetuid|os.ModeSetgid),
		os.Chown(in("."), 7, 8),
	)
	must(t, unix.Lsetxattr(in("d/link"), "trusted.test", []byte("on a link"), 0))
	must(t, unix.Lsetxattr(in("d/null"), "trusted.test", []byte("on a device"), 0))
	must(t, unix.Lsetxattr(in("d/empty"), "security.capability", capability, 0))
	dir, err := os.Open(src)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	for _, name := range []string{"d/file", "d/e/n1", "d/e", "d"} {
		err := setFlags(dir, name, fsImmutable|fsNoDump)
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
			t.Log("the file system of the temporary directory has no flags: they are not tested")
			break
		}
		must(t, err)
		t.Cleanup(func() { must(t, clearFlags(dir, name)) })
	}
	compare(t, src)
}

func TestIntegrationRemoveImmutable(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/t/a/b", 0o700), os.WriteFile(dir+"/t/a/f", nil, 0o600), os.WriteFile(dir+"/t/a/b/g", nil, 0o600))
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	for name, flags := range map[string]uint32{"t/a/f": fsImmutable, "t/a/b/g": fsAppend, "t/a/b": fsAppend, "t/a": fsImmutable, "t": fsImmutable} {
		err := setFlags(d, name, flags)
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the file system of the temporary directory has no flags: set TMPDIR to one that has")
		}
		must(t, err)
	}
	must(t, RemoveTree(t.Context(), dir, "t"))
	if _, err := os.Lstat(dir + "/t"); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}

// alone runs f on a thread with a mount namespace of its own. What f mounts is
// gone with the thread.
func alone(t *testing.T, f func()) {
	t.Helper()
	needRoot(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("needs a mount namespace (CAP_SYS_ADMIN): %v", err)
	}
}

func TestIntegrationRemoveStopsAtMounts(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(outside+"/precious", nil, 0o600))
	dir := t.TempDir()
	s, err := Open(dir, &Options{Mode: Copy})
	must(t, err)
	c := "sha256:" + strings.Repeat("0", 64)
	d, err := s.Begin(t.Context(), c, "")
	must(t, err)
	must(t, os.Mkdir(d.Dir()+"/mnt", 0o755), d.Commit(t.Context()), s.Create(t.Context(), "c", c))
	alone(t, func() {
		l, err := s.Layout("c")
		if err != nil {
			t.Error(err)
			return
		}
		// Of the same file system: only the kernel can tell.
		if err := unix.Mount(outside, l.Dir+"/mnt", "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		if err := s.Remove(t.Context(), "c"); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("remove with something mounted: %v, want EBUSY", err)
		}
		if _, err := os.Stat(outside + "/precious"); err != nil {
			t.Error(err)
		}
		trash := s.path(trashName, "roots-c", treeName, "mnt")
		if err := unix.Unmount(trash, 0); err != nil {
			t.Error(err)
		}
		if err := s.Remove(t.Context(), "c"); err != nil {
			t.Errorf("remove, once it is unmounted: %v", err)
		}
	})
	if _, err := os.Stat(outside + "/precious"); err != nil {
		t.Error(err)
	}
}

// The whole way: three layers of overlayfs, mounted as host does it.
func TestIntegrationOverlay(t *testing.T) {
	dir := t.TempDir()
	if mode, err := Probe(dir); err != nil || mode != Overlay {
		t.Skipf("needs root and overlayfs on the file system of the temporary directory (it offers %s, %v): set TMPDIR", mode, err)
	}
	s, err := Open(dir, nil)
	must(t, err)
	id := func(n int) string { return fmt.Sprintf("sha256:%064x", n) }
	parent := ""
	const layers = 127
	for n := range layers {
		d, err := s.Begin(t.Context(), id(n), parent)
		must(t, err)
		must(t, os.WriteFile(fmt.Sprintf("%s/f%d", d.Dir(), n), []byte("x"), 0o644))
		if n == 1 {
			must(t, os.Chmod(d.Dir(), 0o751), os.Chown(d.Dir(), 3, 4))
		}
		if n == layers-1 {
			must(t, unix.Mknod(d.Dir()+"/f5", unix.S_IFCHR, 0))
		}
		must(t, d.Commit(t.Context()))
		parent = id(n)
	}
	must(t, s.Create(t.Context(), "c", parent))
	l, err := s.Layout("c")
	must(t, err)
	target := t.TempDir()
	alone(t, func() {
		if err := errors.Join(unix.Chdir(l.Base), unix.Mount("overlay", target, "overlay", 0, l.MountData())); err != nil {
			t.Errorf("mount -t overlay -o %s: %v", l.MountData(), err)
			return
		}
		var st unix.Stat_t
		if err := unix.Stat(target, &st); err != nil || st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 {
			t.Errorf("root directory: mode %o, owner %d:%d, %v", st.Mode, st.Uid, st.Gid, err)
		}
		entries, err := os.ReadDir(target)
		if err != nil || len(entries) != layers-1 {
			t.Errorf("%d files, %v; want %d", len(entries), err, layers-1)
		}
		if err := os.WriteFile(target+"/f0", []byte("written"), 0o644); err != nil {
			t.Error(err)
		}
	})
	if b, err := os.ReadFile(s.path(layersName, short(id(0)), treeName, "f0")); err != nil || string(b) != "x" {
		t.Errorf("the layer was written to: %q, %v", b, err)
	}
	must(t, s.Remove(t.Context(), "c"))
}
