package dirstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testXattrs lists the attributes of the user's namespace.
func testXattrs(t *testing.T, name string) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := unix.ExtattrListLink(name, unix.EXTATTR_NAMESPACE_USER, uintptr(unsafe.Pointer(&b[0])), len(b))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return ""
	}
	must(t, err)
	var list []string
	for b = b[:n]; len(b) > 0; b = b[1+b[0]:] {
		attr := string(b[1 : 1+b[0]])
		v := make([]byte, 4096)
		n, err := unix.ExtattrGetLink(name, unix.EXTATTR_NAMESPACE_USER, attr, uintptr(unsafe.Pointer(&v[0])), len(v))
		must(t, err)
		list = append(list, fmt.Sprintf("%s=%x", attr, v[:n]))
	}
	return strings.Join(list, " ")
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec doas -run Integration ./dirstore")
	}
}

// From sys/stat.h.
const (
	ufNoDump    = 0x00000001
	sfImmutable = 0x00020000
	sfNoUnlink  = 0x00100000
)

// What only root can make: owners, flags, attributes of the system.
func TestIntegrationCloneKeepsEverything(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	plant(t, src)
	in := func(name string) string { return filepath.Join(src, name) }
	must(t, os.Lchown(in("d/link"), 12, 34), os.Lchown(in("d/fifo"), 1000, 1001), os.Chown(in("d/empty"), 1000, 1000))
	must(t, unix.Fchmodat(unix.AT_FDCWD, in("d/link"), 0o700, unix.AT_SYMLINK_NOFOLLOW)) // not what the umask makes
	must(t, os.Chmod(in("d/empty"), 0o755|os.ModeSetuid|os.ModeSetgid), os.Chown(src, 7, 8))
	value := []byte("value")
	for _, name := range []string{"d/file", "d/e", "d/link"} {
		_, err := unix.ExtattrSetLink(in(name), unix.EXTATTR_NAMESPACE_USER, "test", uintptr(unsafe.Pointer(&value[0])), len(value))
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Log("the file system of the temporary directory has no extended attributes: they are not tested")
			break
		}
		must(t, err)
	}
	dir, err := os.Open(src)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	for name, flags := range map[string]uint32{"d/file": sfImmutable, "d/e/n1": sfNoUnlink | ufNoDump, "d/e": sfImmutable, "d/link": ufNoDump} {
		must(t, setFlags(dir, name, flags))
		t.Cleanup(func() { must(t, clearFlags(dir, name)) })
	}
	compare(t, src)
}

func TestIntegrationRemoveStopsAtMounts(t *testing.T) {
	needRoot(t)
	outside, dir := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(outside+"/precious", nil, 0o600), os.MkdirAll(dir+"/t/mnt", 0o700))
	if out, err := exec.Command("/sbin/mount_nullfs", outside, dir+"/t/mnt").CombinedOutput(); err != nil {
		t.Fatalf("mount_nullfs: %v: %s", err, out)
	}
	err := RemoveTree(t.Context(), dir, "t")
	_, lost := os.Stat(outside + "/precious")
	must(t, lost, unix.Unmount(dir+"/t/mnt", 0))
	if !errors.Is(err, syscall.EBUSY) {
		t.Errorf("remove with something mounted: %v, want EBUSY", err)
	}
	must(t, RemoveTree(t.Context(), dir, "t"))
}
