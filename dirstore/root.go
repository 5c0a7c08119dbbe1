package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Layout tells how the root of a container comes about: by an overlay that is
// yet to be mounted, or, with Dir, it is a directory already.
type Layout struct {
	Dir   string   // the tree; empty in the overlay mode
	Base  string   // absolute; Lower, Upper and Work are relative to it
	Lower []string // topmost first
	Upper string
	Work  string
}

// MountData is the data argument of mount(2) for the overlay, to be used with
// Base as the working directory: relative names are what lets 127 layers fit
// the one page that the kernel takes. None of the names needs escaping.
func (l Layout) MountData() string {
	return "lowerdir=" + strings.Join(l.Lower, ":") + ",upperdir=" + l.Upper + ",workdir=" + l.Work
}

// Create makes the root of a container from a chain. The error matches
// fs.ErrExist when there is a root of this id, fs.ErrNotExist when the chain
// was not committed.
func (s *Store) Create(ctx context.Context, id, chain string) error {
	if err := checkID(id); err != nil {
		return err
	}
	_, release, err := s.pin(chain)
	if err == nil {
		defer release()
		err = s.create(ctx, id, chain)
	}
	if err != nil {
		return fmt.Errorf("create root %s: %w", id, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, id, chain string) (err error) {
	// The dot keeps it apart from the drafts of layers.
	name := "." + id
	if err := s.discard(ctx, draftsName, name); err != nil {
		return err
	}
	draft := s.path(draftsName, name)
	if err := os.Mkdir(draft, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.discard(context.WithoutCancel(ctx), draftsName, name))
		}
	}()
	if err := os.Symlink(short(chain), filepath.Join(draft, chainName)); err != nil {
		return err
	}
	if err := s.fillRoot(ctx, draft, s.path(layersName, short(chain), treeName)); err != nil {
		return err
	}
	// Onto a directory that has something in it this fails with ENOTEMPTY.
	err = os.Rename(draft, s.path(rootsName, id))
	if errors.Is(err, fs.ErrExist) {
		err = fs.ErrExist
	}
	return err
}

func (s *Store) fillRoot(ctx context.Context, draft, tree string) error {
	if s.mode != Overlay {
		dir := filepath.Join(draft, treeName)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		return cloneTree(ctx, dir, tree, s.mode == Reflink)
	}
	if err := os.Mkdir(filepath.Join(draft, workName), 0o700); err != nil {
		return err
	}
	upper := filepath.Join(draft, upperName)
	if err := os.Mkdir(upper, 0o755); err != nil {
		return err
	}
	// The root directory of an overlay has the attributes of its upper one.
	return copyAttributes(upper, tree)
}

// chainOf returns the short name of the layer that a root is made from.
func (s *Store) chainOf(id string) (string, error) {
	name, err := os.Readlink(s.path(rootsName, id, chainName))
	if err == nil && !isShort(name) {
		err = fmt.Errorf("root %s: %q is no layer", id, name)
	}
	return name, err
}

// Layout tells how the root of a container comes about. The error matches
// fs.ErrNotExist when there is none.
func (s *Store) Layout(id string) (Layout, error) {
	if err := checkID(id); err != nil {
		return Layout{}, err
	}
	name, err := s.chainOf(id)
	if errors.Is(err, fs.ErrNotExist) {
		return Layout{}, fmt.Errorf("root %s: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return Layout{}, err
	}
	if s.mode != Overlay {
		return Layout{Dir: s.path(rootsName, id, treeName)}, nil
	}
	l, err := s.readLayer(name)
	if err != nil {
		return Layout{}, fmt.Errorf("root %s: %w", id, err)
	}
	root := filepath.Join("..", rootsName, id)
	layout := Layout{
		Base: s.path(layersName), Lower: []string{filepath.Join(name, treeName)},
		Upper: filepath.Join(root, upperName), Work: filepath.Join(root, workName),
	}
	for _, b := range l.Below {
		layout.Lower = append(layout.Lower, filepath.Join(b, treeName))
	}
	return layout, nil
}

// Roots lists the roots.
func (s *Store) Roots() ([]string, error) {
	entries, err := os.ReadDir(s.path(rootsName))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if checkID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Remove removes the root of a container. It succeeds when there is none, and
// goes on where a removal was interrupted. Nothing is touched of a directory
// that is no root of this store, and nothing behind a mount point.
func (s *Store) Remove(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	err := s.remove(ctx, id)
	if err != nil {
		return fmt.Errorf("remove root %s: %w", id, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, id string) error {
	name := "." + id
	if err := s.discard(ctx, draftsName, name); err != nil { // of a Create that was killed
		return err
	}
	_, err := s.chainOf(id)
	switch {
	case err == nil:
		err = s.toTrash(ctx, rootsName, id)
	case errors.Is(err, fs.ErrNotExist):
		if _, err = os.Lstat(s.path(rootsName, id)); err == nil {
			return fmt.Errorf("%s is no root of ours: it has no %s", s.path(rootsName, id), chainName)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.empty(ctx, rootsName, id)
}

// Sweep removes what processes that died have left half made and half
// removed. Call it when nothing is being made or removed.
func (s *Store) Sweep(ctx context.Context) error {
	var errs []error
	for _, dir := range []string{draftsName, trashName} {
		entries, err := os.ReadDir(s.path(dir))
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, RemoveTree(ctx, s.path(dir), e.Name()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep directory store: %w", err)
	}
	return nil
}

// discard removes dir/name, if it is there.
func (s *Store) discard(ctx context.Context, dir, name string) error {
	return RemoveTree(ctx, s.path(dir), name)
}

// toTrash takes dir/name away in one act.
func (s *Store) toTrash(ctx context.Context, dir, name string) error {
	if err := s.empty(ctx, dir, name); err != nil { // what an interrupted removal left
		return err
	}
	return os.Rename(s.path(dir, name), s.path(trashName, dir+"-"+name))
}

// empty removes what toTrash took away, if it is there.
func (s *Store) empty(ctx context.Context, dir, name string) error {
	return s.discard(ctx, trashName, dir+"-"+name)
}
