package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Lower lists the directories that a root was made from, the newest first: in
// the overlay mode those of its layers, else the one tree that was copied.
func (s *Store) Lower(id string) ([]string, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	name, err := s.chainOf(id)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", id, err)
	}
	dirs := []string{s.path(layersName, name, treeName)}
	if s.mode != Overlay {
		return dirs, nil
	}
	l, err := s.readLayer(name)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", id, err)
	}
	for _, b := range l.Below {
		dirs = append(dirs, s.path(layersName, b, treeName))
	}
	return dirs, nil
}

// Was tells whether there is a file of this name, relative to their root, in
// layers that lie upon each other as Lower lists them. Links are not followed.
func Was(lower []string, name string) (bool, error) {
	for _, dir := range lower {
		found, hidden, err := inLayer(dir, name)
		if err != nil {
			return false, fmt.Errorf("look up %s: %w", name, err)
		}
		if found || hidden {
			return found, nil
		}
	}
	return false, nil
}

// inLayer looks for a file in one layer, and whether the layer hides what is
// below it: by a file on the way to it, a whiteout, an opaque directory.
func inLayer(dir, name string) (found, hidden bool, err error) {
	parts := strings.Split(filepath.Clean(name), "/")
	for i, part := range parts {
		dir = filepath.Join(dir, part)
		info, err := os.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return false, hidden, nil
		}
		if err != nil {
			return false, false, err
		}
		switch {
		case isWhiteout(info):
			return false, true, nil
		case i == len(parts)-1:
			return true, hidden, nil
		case !info.IsDir():
			return false, true, nil
		}
		opaque, err := isOpaque(dir)
		if err != nil {
			return false, false, err
		}
		hidden = hidden || opaque
	}
	return false, hidden, nil
}

// isWhiteout tells whether a file is overlayfs's mark of one that is gone
// (filesystems/overlayfs.rst, "whiteouts and opaque directories").
func isWhiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}
