package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/zfs"
)

// TestIntegrationZFSDiff: the layer between two snapshots, and between one and now, is to
// the byte the one that comparing all of both trees gives.
func TestIntegrationZFSDiff(t *testing.T) {
	top := os.Getenv("XC_TEST_DATASET")
	if top == "" {
		t.Skip("needs a ZFS dataset to make others in: XC_TEST_DATASET=tank")
	}
	ctx := context.Background()
	var z zfs.ZFS
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	name, at := fmt.Sprintf("%s/ocitar%d", top, os.Getpid()), t.TempDir()
	// zfs(8) mounts what it creates, the system call does not.
	if out, err := exec.Command("zfs", "create", "-o", "mountpoint="+at, name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("zfs", "unmount", "-f", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		for _, s := range []string{"@a", "@b", ""} {
			if err := z.Destroy(ctx, name+s); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	j := func(n string) string { return filepath.Join(at, n) }
	write := func(n, data string) error { return os.WriteFile(j(n), []byte(data), 0o644) }
	steps := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	steps(os.MkdirAll(j("a/b/c"), 0o755), os.MkdirAll(j("d/e"), 0o755), os.MkdirAll(j("swap1/x"), 0o755), os.MkdirAll(j("swap2/y"), 0o755),
		write("a/b/c/f", "1"), write("a/g", "2"), write("d/e/h", "3"), write("gone", "4"), write("old name", "5"), write("hard1", "6"),
		os.Link(j("hard1"), j("d/hard2")), os.Link(j("hard1"), j("a/hard3")), write("swap1/x/1", "7"), write("swap2/y/2", "8"), write("tab\tüber\\", "9"))
	steps(z.Snapshot(ctx, name+"@a"))
	steps(write("a/b/c/f", "changed"), os.Remove(j("gone")), os.Rename(j("old name"), j("new\nname")), os.Rename(j("a/b"), j("d/b")), os.RemoveAll(j("d/e")),
		os.WriteFile(j("d/e"), nil, 0o600), write("hard1", "all three"), os.Remove(j("a/hard3")), os.Link(j("hard1"), j("a/hard4")),
		os.Rename(j("swap1"), j("t")), os.Rename(j("swap2"), j("swap1")), os.Rename(j("t"), j("swap2")), write("tab\tüber\\", "10"), os.MkdirAll(j("n/m"), 0o700), write("n/m/o", "11"))
	steps(z.Snapshot(ctx, name+"@b"))
	check := func(to, dir string) {
		t.Helper()
		code, byZFS, errs := call(nil, "create", "--zfs-diff", name+"@a", name+to)
		if code != 0 {
			t.Fatal(errs)
		}
		code, whole, errs := call(nil, "diff", j(".zfs/snapshot/a"), dir)
		if code != 0 {
			t.Fatal(errs)
		}
		if byZFS != whole {
			_, a, _ := call([]byte(byZFS), "list", "--unconfined")
			_, b, _ := call([]byte(whole), "list", "--unconfined")
			t.Errorf("%s: by zfs diff\n%s\nby comparing\n%s", to, a, b)
		}
	}
	check("@b", j(".zfs/snapshot/b"))
	steps(write("later", "x"), os.Remove(j("d/hard2")))
	check("", at)
	if code, _, errs := call(nil, "create", "--zfs-diff", name+"@a", name+"@none"); code != 1 || !strings.Contains(errs, "@none") {
		t.Errorf("%d %s", code, errs)
	}
}
