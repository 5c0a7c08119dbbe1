package engine_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host/tenant"
)

// importPrograms imports an image for linux/amd64 that has nothing but programs.
func importPrograms(t *testing.T, e api.Engine, programs map[string][]byte) {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, b := range programs {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))})
		if _, werr := w.Write(b); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	path := filepath.Join(t.TempDir(), "root.tar")
	if err := errors.Join(w.Close(), os.WriteFile(path, buf.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := e.ImportImage(t.Context(), api.ImportSpec{Name: "linux", Archive: f, Platform: "linux/amd64"}); err != nil {
		t.Fatal(err)
	}
}

// createLinux makes a container that is to run a program of the image linux. Without
// the Linuxulator that is refused, with what is missing, and the test is skipped: it is
// not loaded for a test, as the machine may be somebody's.
func createLinux(t *testing.T, e api.Engine, program string) api.Container {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "linux", Command: []string{program}})
	if tenant.Linuxulator() {
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const want = "an image for linux/amd64 needs the Linuxulator: kldload linux64 linprocfs linsysfs (or service linux onestart)"
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), want) {
		t.Fatalf("without the Linuxulator: %v", err)
	}
	t.Skip(needsLinuxulator)
	return c
}

const needsLinuxulator = "needs the Linuxulator: kldload linux64 linprocfs linsysfs"

// runLinux runs a program of the image linux to its end.
func runLinux(t *testing.T, e api.Engine, program string) (out string, exit api.Exit, err error) {
	t.Helper()
	c := createLinux(t, e, program)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = e.StartContainer(t.Context(), c.ID, api.StartOptions{Stdio: api.Stdio{Stdout: w}})
	w.Close()
	if err != nil {
		return "", exit, err
	}
	text, err := io.ReadAll(r)
	exit, werr := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{})
	return string(text), exit, errors.Join(err, werr)
}

// A program for Linux has what such programs expect: linprocfs(5) on /proc,
// linsysfs(5) on /sys, and on /dev/shm a tmpfs(5) in which memory is shared.
func TestIntegrationLinuxImage(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is for amd64")
	}
	e := testEngine(t)
	importPrograms(t, e, map[string][]byte{"look": linuxLook()})
	processors := "0\n"
	if n, err := unix.SysctlUint32("hw.ncpu"); err != nil {
		t.Fatal(err)
	} else if n > 1 {
		processors = fmt.Sprintf("0-%d\n", n-1)
	}
	want := binary.LittleEndian.AppendUint64(nil, 0x01021994) // TMPFS_MAGIC, statfs(2) of Linux
	want = append(want, "Linux\n/look\n"+processors+"shared\n"...)
	out, exit, err := runLinux(t, e, "/look")
	if err != nil || out != string(want) || exit.Code != 7 {
		t.Errorf("%q, %+v, %v\nwant %q", out, exit, err, want)
	}
}

// A static program that does not say that it is for Linux needs
// kern.elf64.fallback_brand=3; without that it is said.
func TestIntegrationLinuxWithoutBrand(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is for amd64")
	}
	e := testEngine(t)
	importPrograms(t, e, map[string][]byte{"branded": linuxHello(brandLinux), "unbranded": linuxHello(brandNone)})
	createLinux(t, e, "/unbranded") // or there is nothing to try

	setFallbackBrand(t, -1)
	if out, exit, err := runLinux(t, e, "/branded"); err != nil || out != "a Linux program\n" || exit.Code != 7 {
		t.Errorf("one with a brand: %q, %+v, %v", out, exit, err)
	}
	_, _, err := runLinux(t, e, "/unbranded")
	const why = "the kernel does not know the system it is for; static programs for Linux need: sysctl kern.elf64.fallback_brand=3 (service linux onestart does it)"
	if !errors.Is(err, api.ErrNotExecutable) || !strings.Contains(err.Error(), "/unbranded") || !strings.Contains(err.Error(), why) {
		t.Errorf("without a brand: %v", err)
	}

	setFallbackBrand(t, brandLinux)
	if out, exit, err := runLinux(t, e, "/unbranded"); err != nil || out != "a Linux program\n" || exit.Code != 7 {
		t.Errorf("without a brand, taken for Linux: %q, %+v, %v", out, exit, err)
	}
}

// setFallbackBrand sets what the kernel takes a program for that does not say what it
// is, until the test ends.
func setFallbackBrand(t *testing.T, brand int) {
	t.Helper()
	const name = "kern.elf64.fallback_brand"
	old, err := unix.SysctlUint32(name)
	if err != nil {
		t.Fatal(err)
	}
	set := func(n int) { command(t, "sysctl", fmt.Sprintf("%s=%d", name, n)) }
	set(brand)
	t.Cleanup(func() { set(int(int32(old))) })
}
