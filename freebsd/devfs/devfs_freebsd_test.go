package devfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testSet is the number of the ruleset of the tests.
const testSet = 64123

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to change rulesets: run with go test -exec sudo")
	}
	t.Cleanup(func() {
		if err := Delete(testSet); err != nil {
			t.Error(err)
		}
	})
}

func TestIntegrationLife(t *testing.T) {
	requireRoot(t)
	if err := Delete(testSet); err != nil {
		t.Fatal(err)
	}
	if _, err := Rules(testSet); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	want := append(Needs{Terminal: true}.Rules(), Rule{Path: "null", Owner: &Owner{0, 0}, Mode: 0o600})
	for range 2 {
		if err := Set(testSet, want...); err != nil {
			t.Fatal(err)
		}
		if got, err := Rules(testSet); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if err := Set(testSet, want[:3]...); err != nil {
		t.Fatal(err)
	}
	if got, err := Rules(testSet); err != nil || len(got) != 3 {
		t.Errorf("shortened: %+v, %v", got, err)
	}
	if sets, err := List(); err != nil || !slices.Contains(sets, testSet) {
		t.Errorf("list: %v, %v", sets, err)
	}
	if err := Set(testSet, Rule{Include: 64124}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing include: %v", err)
	}
}

// A devfs with the minimum shows that and nothing else.
func TestIntegrationMinimum(t *testing.T) {
	requireRoot(t)
	if err := Set(testSet, Needs{Terminal: true}.Rules()...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mount(t, "fstype", "devfs", "fspath", dir, "from", "devfs", "ruleset", fmt.Sprint(testSet))
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.Fields("null zero full random urandom crypto fd stdin stdout stderr ptmx pts")
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if !slices.Contains(allowed, e.Name()) {
			t.Errorf("shows %s", e.Name())
		}
	}
	for _, must := range []string{"null", "zero", "random", "fd", "stdin"} {
		if !slices.Contains(names, must) {
			t.Errorf("hides %s; shows %v", must, names)
		}
	}
}

func mount(t *testing.T, words ...string) {
	t.Helper()
	var iov []unix.Iovec
	for _, w := range words {
		b, err := unix.ByteSliceFromString(w)
		if err != nil {
			t.Fatal(err)
		}
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		iov = append(iov, v)
	}
	if _, _, errno := unix.Syscall(unix.SYS_NMOUNT, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)), 0); errno != 0 {
		t.Fatal(errno)
	}
}
