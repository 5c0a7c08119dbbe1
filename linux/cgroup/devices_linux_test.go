package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ours is a list for tests: the null device, and no zeros.
var ours = Devices{{Major: 1, Minor: 3}}

// tries are what root does with devices, and says where it is refused.
const tries = `
try() { "$@" 2>/dev/null && echo yes || echo no; }
try dd if=/dev/null count=0
try dd if=/dev/zero count=1 of=/dev/null
try dd if=/dev/kmsg count=0
try mknod "$1/null" c 1 3
try mknod "$1/disk" b 8 0
`

// inGroup runs the tries in a group, by its file cgroup.procs.
func inGroup(t *testing.T, procs string) string {
	t.Helper()
	script := "echo 0 >" + procs + " || exit; " + tries
	out, err := exec.Command("sh", "-c", script, "sh", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestIntegrationDevices(t *testing.T) {
	g := makeGroup(t)
	f, err := ours.Load()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	below, err := Make(filepath.Join(g.path, "below"))
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	procs := filepath.Join(below.path, "cgroup.procs")
	if got := inGroup(t, procs); got != "yes yes yes yes yes" {
		t.Fatalf("without a list: %s", got)
	}
	if err := f.Attach(g); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := inGroup(t, procs); got != "yes no no yes no" {
		t.Errorf("under the list: %s", got)
	}
	// Another list takes the place of the first.
	more, err := append(Devices{{Major: 1, Minor: 5}}, ours...).Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(more.Attach(g), more.Close()); err != nil {
		t.Fatal(err)
	}
	if got := inGroup(t, procs); got != "yes yes no yes no" {
		t.Errorf("under a longer list: %s", got)
	}
	// A group below cannot have more, whoever is in it.
	all, err := Devices{{Major: 1, Minor: AnyMinor}}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Attach(below); !errors.Is(err, syscall.EPERM) {
		t.Errorf("another list below: %v", err)
	}
	if err := all.Close(); err != nil {
		t.Error(err)
	}
}

func TestIntegrationDevicesOfVersionOne(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make cgroups: sudo go test -run Integration ./linux/cgroup")
	}
	where, err := Controller("devices")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	group := filepath.Join(where.Dir, fmt.Sprintf("xctest-%d-devices", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := RemoveOne(t.Context(), group); err != nil {
			t.Error(err)
		}
	}()
	procs := filepath.Join(group, "cgroup.procs")
	if got := inGroup(t, procs); got != "yes yes yes yes yes" {
		t.Fatalf("without a list: %s", got)
	}
	if err := ours.Limit(group); err != nil {
		t.Fatal(err)
	}
	if got := inGroup(t, procs); got != "yes no no yes no" {
		t.Errorf("under the list: %s", got)
	}
	if err := (Device{Major: 1, Minor: 5}).Allow(group); err != nil {
		t.Fatal(err)
	}
	if got := inGroup(t, procs); got != "yes yes no yes no" {
		t.Errorf("under a longer list: %s", got)
	}
}
