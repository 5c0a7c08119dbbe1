// Package selfimage makes an image of the program that runs, so that an example
// needs neither a network nor a toolchain.
package selfimage

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ocitar"
)

// Import packs this executable into a layer and imports it as an image, whose
// entry point it is, as /NAME. Dir is for temporary files.
func Import(ctx context.Context, e api.Engine, name, dir string) (img api.Image, err error) {
	root := filepath.Join(dir, "root")
	if err := fillRoot(root, name); err != nil {
		return img, err
	}
	layer, err := os.Create(filepath.Join(dir, "layer.tar"))
	if err != nil {
		return img, err
	}
	defer layer.Close()
	if _, err := new(ocitar.Packer).Pack(ctx, layer, root, ocitar.Tree(root)); err != nil {
		return img, err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return img, err
	}
	return e.ImportImage(ctx, api.ImportSpec{Name: name, Archive: layer, ConfigChange: api.ConfigChange{Entrypoint: []string{"/" + name}}})
}

// fillRoot makes a root file system that holds this program and what it needs
// to start.
func fillRoot(root, name string) error {
	for _, d := range []string{"dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:*:0:0:root:/:/bin/sh\n"), 0o644); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := copyFile(filepath.Join(root, name), self); err != nil {
		return err
	}
	return copyLibraries(root, self)
}

// copyLibraries copies the run-time linker and the libraries of a program. Go
// links statically unless there is a C compiler: then package net uses libc.
func copyLibraries(root, program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	interp := f.Section(".interp")
	if interp == nil {
		return nil
	}
	name, err := interp.Data()
	if err != nil {
		return err
	}
	linker := string(name[:len(name)-1]) // without its NUL
	if err := copyFile(filepath.Join(root, linker), linker); err != nil {
		return err
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, lib := range libs {
		found, err := findLibrary(lib, f.Machine)
		if err != nil {
			return err
		}
		if err := copyFile(filepath.Join(root, found), found); err != nil {
			return err
		}
	}
	return nil
}

func findLibrary(name string, m elf.Machine) (string, error) {
	triplet := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[m]
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/lib/" + triplet, "/usr/lib/" + triplet} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s: %w: build with CGO_ENABLED=0", name, fs.ErrNotExist)
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
