package sitetest

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The root's content.
const (
	motd   = "welcome\n"
	passwd = "root:*:0:0:root:/:/bin/sh\nann:*:1000:1001::/:/bin/sh\n"
	groups = "wheel:*:0:root\nann:*:1001:\nops:*:2000:ann,root\n"
)

// Furnish writes the root file system that the containers of a host under test
// begin with into a directory: some files, and this executable as the program.
func Furnish(dir string) error {
	if err := furnish(dir); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := copyFile(self, filepath.Join(dir, probePath)); err != nil {
		return err
	}
	return copyLibraries(self, dir)
}

// furnish writes all but the program.
func furnish(dir string) error {
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "srv", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return err
	}
	for name, content := range map[string]string{"etc/motd": motd, "etc/passwd": passwd, "etc/group": groups, "bin/probe": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	// It climbs above the root, to the /tmp that is there.
	return os.Symlink("../../../../../../../../../../../../tmp", filepath.Join(dir, "out"))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), out.Close())
}

// copyLibraries copies what an executable that is not static is loaded with:
// that of a test under the race detector.
func copyLibraries(program, dir string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return err
		}
		loader := strings.TrimRight(string(b), "\x00")
		if err := copyFile(loader, filepath.Join(dir, loader)); err != nil {
			return err
		}
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, lib := range libs {
		path, err := library(lib)
		if err != nil {
			return err
		}
		if err := copyFile(path, filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library where loaders look by default.
func library(name string) (string, error) {
	for _, pattern := range []string{"/lib/", "/usr/lib/", "/lib64/", "/lib/*-linux-gnu/", "/usr/lib/*-linux-gnu/"} {
		if found, err := filepath.Glob(pattern + name); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("library %s: %w", name, fs.ErrNotExist)
}
