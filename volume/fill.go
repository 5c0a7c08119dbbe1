package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
)

// What is copied is in partName until it is complete, then in fullName until
// each of its files is where it belongs.
const (
	partName = ".xc-fill.part"
	fullName = ".xc-fill"
)

// Fill copies what a root has in the directory name into the volume whose data
// are in dir, if that is empty: owners, modes, times, attributes, and those of
// the directory itself. Where the root has no such directory it does nothing.
// Nothing may change the root meanwhile.
//
// When a Fill was cut off another one finishes it. What somebody else has put
// into the volume is never overwritten: fs.ErrExist.
func Fill(ctx context.Context, dir, root, name string) error {
	if err := fill(ctx, dir, root, name); err != nil {
		return fmt.Errorf("copy %s of the image into volume %s: %w", name, dir, err)
	}
	return nil
}

func fill(ctx context.Context, dir, root, name string) error {
	from, err := source(root, name)
	if from == "" || err != nil {
		return err
	}
	full := filepath.Join(dir, fullName)
	if _, err := os.Lstat(full); errors.Is(err, fs.ErrNotExist) {
		if empty, err := isEmpty(dir); !empty || err != nil {
			return err
		}
		if err := copyTree(ctx, from, dir, partName); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, partName), full); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := moveUp(full, dir); err != nil {
		return err
	}
	if err := copyEntries(ctx, from, only("."), dir); err != nil { // the directory itself
		return err
	}
	return os.Remove(full)
}

// Fillable tells whether a Fill of a volume has something to do: the volume is
// empty, or one was cut off.
func Fillable(dir string) (bool, error) {
	if _, err := os.Lstat(filepath.Join(dir, fullName)); err == nil {
		return true, nil
	}
	return isEmpty(dir)
}

// source is the directory of a root that a name leads to, or "".
func source(root, name string) (string, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return "", err
	}
	defer r.Close()
	st, err := r.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	at, err := r.Look(name)
	return filepath.Join(root, at), err
}

// isEmpty tells whether a directory has nothing in it but what a Fill that was
// cut off has left.
func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(16)
		for _, n := range names {
			if n != partName && n != ".zfs" { // shown where snapdir=visible
				return false, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// copyTree makes the directory name in dir a copy of another one.
func copyTree(ctx context.Context, from, dir, name string) error {
	if err := dirstore.RemoveTree(ctx, dir, name); err != nil {
		return err
	}
	to := filepath.Join(dir, name)
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	return copyEntries(ctx, from, ocitar.Tree(from), to)
}

// copyEntries copies entries of a directory as a layer would have them.
func copyEntries(ctx context.Context, from string, entries iter.Seq2[ocitar.Change, error], to string) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		p := ocitar.Packer{}
		_, err := p.Pack(ctx, w, from, entries)
		w.CloseWithError(err) //nolint:errcheck // it returns nil
		done <- err
	}()
	u := ocitar.Unpacker{Devices: ocitar.SkipDevices}
	_, err := u.Unpack(ctx, to, r)
	r.CloseWithError(err) //nolint:errcheck // it returns nil
	if packErr := <-done; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		return packErr // the cause of the other one
	}
	return err
}

func only(path string) iter.Seq2[ocitar.Change, error] {
	return func(yield func(ocitar.Change, error) bool) { yield(ocitar.Change{Path: path}, nil) }
}

// moveUp moves what is in the directory full to the one it is in.
func moveUp(full, dir string) error {
	entries, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(dir, e.Name())
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("%s: %w", to, fs.ErrExist)
		}
		if err := os.Rename(filepath.Join(full, e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}
