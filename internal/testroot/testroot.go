// Package testroot makes root file systems for tests, of what the machine has:
// they are small, need no network, and are the same system as the kernel.
package testroot

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Release is what /etc/os-release has in it.
const Release = "NAME=test\n"

// Write writes an archive of a root file system with some programs in /bin:
// busybox, or those of this machine with their libraries. It is errors.ErrUnsupported
// where there is neither.
func Write(to io.Writer, programs ...string) error {
	w := NewWriter(to)
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "root"} {
		w.add(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}, "")
	}
	w.add(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	w.File("etc/passwd", "root:*:0:0:root:/root:/bin/sh\nalice:*:1000:1000::/:/bin/sh\n", 0o644)
	w.File("etc/group", "root:*:0:\nalice:*:1000:\nplayers:*:2000:alice\n", 0o644)
	w.File("etc/os-release", Release, 0o644)
	if b, err := os.ReadFile("/bin/busybox"); err == nil {
		w.busybox(string(b), programs)
	} else if exists(linker) {
		w.programs(programs)
	} else {
		return fmt.Errorf("no static shell for a root: apt-get install busybox-static: %w", errors.ErrUnsupported)
	}
	return w.Close()
}

// File makes such an archive in a directory, and returns its path. The test is skipped
// where this machine has nothing to make it of.
func File(t testing.TB, dir string, programs ...string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(Write(f, programs...), f.Close())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// Writer writes an archive. The first error stops it, and is told by Close.
type Writer struct {
	w    *tar.Writer
	seen map[string]bool
	err  error
}

// NewWriter returns one for an archive that is empty.
func NewWriter(to io.Writer) *Writer {
	return &Writer{w: tar.NewWriter(to), seen: map[string]bool{}}
}

// Close ends the archive.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.w.Close()
	}
	return w.err
}

// File adds a file, unless it is there.
func (w *Writer) File(name, content string, mode int64) {
	if !w.seen[name] {
		w.seen[name] = true
		w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
	}
}

func (w *Writer) add(h *tar.Header, content string) {
	if w.err == nil {
		w.err = w.w.WriteHeader(h)
	}
	if w.err == nil {
		_, w.err = io.WriteString(w.w, content)
	}
}

func (w *Writer) busybox(content string, names []string) {
	w.File("bin/busybox", content, 0o755)
	for _, name := range names {
		w.add(&tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + name, Linkname: "bin/busybox"}, "")
	}
}

// linker is what FreeBSD's programs are started by.
const linker = "/libexec/ld-elf.so.1"

// programs adds programs of this machine, and what they need. Those that it does
// not have are left out.
func (w *Writer) programs(names []string) {
	w.object(strings.TrimPrefix(linker, "/"), linker)
	for _, name := range names {
		if path, err := find(name, "/bin", "/usr/bin", "/sbin", "/usr/sbin"); err == nil {
			w.object("bin/"+name, path)
		}
	}
}

// object adds an ELF object and the libraries it names.
func (w *Writer) object(name, path string) {
	if w.seen[name] || w.err != nil {
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		w.err = err
		return
	}
	w.File(name, string(content), 0o755)
	for _, l := range w.libraries(path) {
		lib, err := find(l, "/lib", "/usr/lib")
		if err != nil {
			w.err = err
			return
		}
		w.object(strings.TrimPrefix(lib, "/"), lib)
	}
}

// libraries are those that an object names; none if it is a script.
func (w *Writer) libraries(path string) []string {
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		w.err = err
	}
	return libs
}

func find(name string, dirs ...string) (string, error) {
	for _, d := range dirs {
		if p := filepath.Join(d, name); exists(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
