package engine_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// programs are what the scripts of the tests use.
var programs = []string{"sh", "cat", "ls", "echo", "sleep", "true", "false", "id", "ps", "stty", "hostname", "kill", "env", "mkdir", "rm", "wc", "head", "touch", "test", "yes", "tr", "pwd", "tee", "ln", "expr", "chmod", "printf", "sysctl", "zfs", "mount", "mv", "cut", "sync", "ping", "ifconfig", "netstat", "tty", "grep", "jail"}

// rootTar is an archive of a root file system with a shell and the usual
// programs: busybox, or those of this machine with their libraries.
var rootTar = sync.OnceValues(func() ([]byte, error) {
	var buf bytes.Buffer
	r := &rootWriter{w: tar.NewWriter(&buf), seen: map[string]bool{}}
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "root"} {
		r.add(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}, "")
	}
	r.add(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	r.file("etc/passwd", "root:*:0:0:root:/root:/bin/sh\nalice:*:1000:1000::/:/bin/sh\n", 0o644)
	r.file("etc/group", "root:*:0:\nalice:*:1000:\nplayers:*:2000:alice\n", 0o644)
	r.file("etc/os-release", "NAME=test\n", 0o644)
	if b, err := os.ReadFile("/bin/busybox"); err == nil {
		r.file("bin/busybox", string(b), 0o755)
		for _, p := range programs {
			r.add(&tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + p, Linkname: "bin/busybox"}, "")
		}
	} else if _, err := os.Stat("/libexec/ld-elf.so.1"); err != nil {
		return nil, fmt.Errorf("no static shell for a root: apt-get install busybox-static")
	} else {
		for _, p := range programs {
			r.program(p)
		}
	}
	if r.err == nil {
		r.err = r.w.Close()
	}
	return buf.Bytes(), r.err
})

// rootWriter writes the archive; the first error stops it.
type rootWriter struct {
	w    *tar.Writer
	seen map[string]bool
	err  error
}

func (r *rootWriter) add(h *tar.Header, content string) {
	if r.err == nil {
		r.err = r.w.WriteHeader(h)
	}
	if r.err == nil {
		_, r.err = io.WriteString(r.w, content)
	}
}

func (r *rootWriter) file(name, content string, mode int64) {
	if !r.seen[name] {
		r.seen[name] = true
		r.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
	}
}

// program adds a program of this machine as /bin/NAME, and what it needs. Those
// that this machine does not have are left out.
func (r *rootWriter) program(name string) {
	path, err := find(name, "/bin", "/usr/bin", "/sbin", "/usr/sbin")
	if err != nil {
		return
	}
	r.object("bin/"+name, path)
	r.file("libexec/ld-elf.so.1", read("/libexec/ld-elf.so.1"), 0o755)
}

// object adds an ELF object and the libraries it names.
func (r *rootWriter) object(name, path string) {
	if r.seen[name] {
		return
	}
	r.file(name, read(path), 0o755)
	f, err := elf.Open(path)
	if err != nil {
		return // a script
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		r.err = err
		return
	}
	for _, l := range libs {
		lib, err := find(l, "/lib", "/usr/lib")
		if err != nil {
			r.err = err
			return
		}
		r.object(strings.TrimPrefix(lib, "/"), lib)
	}
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

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}
