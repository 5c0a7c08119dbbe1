package dirstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// layer is the file beside a layer's directory.
type layer struct {
	Chain  string   `json:"chain"`
	Parent string   `json:"parent,omitempty"`
	Below  []string `json:"below,omitempty"` // short names of the layers under it, topmost first
}

// readLayer reads what layers/SHORT is.
func (s *Store) readLayer(short string) (layer, error) {
	var l layer
	b, err := os.ReadFile(s.path(layersName, short, chainName))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("%s: %w", s.path(layersName, short, chainName), err)
	}
	for _, b := range l.Below {
		if !isShort(b) {
			return l, fmt.Errorf("%s: %q is no layer", s.path(layersName, short, chainName), b)
		}
	}
	return l, nil
}

// find returns the layer of a chain. The error matches fs.ErrNotExist when
// there is none.
func (s *Store) find(chain string) (layer, error) {
	if err := checkChain(chain); err != nil {
		return layer{}, err
	}
	l, err := s.readLayer(short(chain))
	if errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("layer %s: %w", chain, fs.ErrNotExist)
	}
	if err == nil && l.Chain != chain {
		return l, fmt.Errorf("layer %s: its directory is taken by %s", chain, l.Chain)
	}
	return l, err
}

// Has tells whether the chain was committed.
func (s *Store) Has(_ context.Context, chain string) (bool, error) {
	_, err := s.find(chain)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// pin finds a layer and keeps it from being deleted until release.
func (s *Store) pin(chain string) (l layer, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err = s.find(chain)
	if err != nil {
		return l, nil, err
	}
	name := short(chain)
	s.pinned[name]++
	return l, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pinned[name]--; s.pinned[name] == 0 {
			delete(s.pinned, name)
		}
	}, nil
}

// Draft is a layer in the making. It belongs to one goroutine.
type Draft struct {
	s       *Store
	layer   layer
	release func() // of the parent
	done    bool
}

// Begin makes a draft that starts as a copy of its parent, or empty where
// parent is "". In the overlay mode it is empty but for the attributes of the
// root directory. What an earlier attempt has left of the same chain is
// discarded; a chain is begun once at a time. The error matches fs.ErrExist
// when the chain was committed, fs.ErrNotExist when the parent was not.
func (s *Store) Begin(ctx context.Context, chain, parent string) (_ *Draft, err error) {
	there, err := s.Has(ctx, chain)
	if err == nil && there {
		err = fmt.Errorf("layer %s: %w", chain, fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	d := &Draft{s: s, layer: layer{Chain: chain, Parent: parent}, release: func() {}}
	if parent != "" {
		var below layer
		below, d.release, err = s.pin(parent)
		if err != nil {
			return nil, fmt.Errorf("begin layer %s: parent: %w", chain, err)
		}
		d.layer.Below = append([]string{short(parent)}, below.Below...)
	}
	if err := d.fill(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("begin layer %s: %w", chain, err), d.Abort(context.WithoutCancel(ctx)))
	}
	return d, nil
}

func (d *Draft) path() string { return d.s.path(draftsName, short(d.layer.Chain)) }

// fill makes the draft's directory.
func (d *Draft) fill(ctx context.Context) error {
	if err := d.s.discard(ctx, draftsName, short(d.layer.Chain)); err != nil {
		return err
	}
	if err := os.Mkdir(d.path(), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(d.Dir(), 0o755); err != nil {
		return err
	}
	if d.layer.Parent == "" {
		return os.Chmod(d.Dir(), 0o755) // whatever the umask
	}
	parent := d.s.path(layersName, short(d.layer.Parent), treeName)
	if d.Overlay() {
		return copyAttributes(d.Dir(), parent)
	}
	return cloneTree(ctx, d.Dir(), parent, d.s.mode == Reflink)
}

// Dir is the directory to unpack into.
func (d *Draft) Dir() string { return filepath.Join(d.path(), treeName) }

// Overlay tells that Dir holds this layer alone, and that what the layer
// deletes is to be marked in overlayfs's form; else Dir is the whole tree.
func (d *Draft) Overlay() bool { return d.s.mode == Overlay }

// Lower lists, in the overlay mode, the directories of the layers below, the
// newest first.
func (d *Draft) Lower() []string {
	if !d.Overlay() {
		return nil
	}
	var dirs []string
	for _, b := range d.layer.Below {
		dirs = append(dirs, d.s.path(layersName, b, treeName))
	}
	return dirs
}

// Commit makes the chain exist, durably and in one atomic act.
func (d *Draft) Commit(ctx context.Context) error {
	if d.done {
		return fmt.Errorf("commit layer %s: %w", d.layer.Chain, fs.ErrClosed)
	}
	if err := d.commit(ctx); err != nil {
		return fmt.Errorf("commit layer %s: %w", d.layer.Chain, err)
	}
	d.done = true
	d.release()
	return nil
}

func (d *Draft) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := json.Marshal(d.layer)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.path(), chainName), b, 0o600); err != nil {
		return err
	}
	// What is in the tree before the name that promises it.
	if err := syncTree(d.path()); err != nil {
		return err
	}
	if err := os.Rename(d.path(), d.s.path(layersName, short(d.layer.Chain))); err != nil {
		return err
	}
	return syncDir(d.s.path(layersName))
}

// Abort leaves nothing of the draft behind. After Commit, or a second time, it
// does nothing.
func (d *Draft) Abort(ctx context.Context) error {
	if d.done {
		return nil
	}
	d.done = true
	defer d.release()
	if err := d.s.discard(ctx, draftsName, short(d.layer.Chain)); err != nil {
		return fmt.Errorf("abort layer %s: %w", d.layer.Chain, err)
	}
	return nil
}

// Delete removes a chain that has no children; for one that is not there it
// does nothing. The error matches syscall.EBUSY when another chain, a root or
// a draft is made from it.
func (s *Store) Delete(ctx context.Context, chain string) error {
	if err := checkChain(chain); err != nil {
		return err
	}
	if err := s.unlinkLayer(ctx, chain); err != nil {
		return fmt.Errorf("delete layer %s: %w", chain, err)
	}
	return nil
}

func (s *Store) unlinkLayer(ctx context.Context, chain string) error {
	s.mu.Lock()
	_, err := s.find(chain)
	if err == nil {
		err = s.inUse(chain)
	}
	if err == nil {
		err = s.toTrash(ctx, layersName, short(chain))
	}
	s.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.empty(ctx, layersName, short(chain))
}

// inUse returns an error that names what is made from a chain. s.mu is held.
func (s *Store) inUse(chain string) error {
	name := short(chain)
	if s.pinned[name] > 0 {
		return fmt.Errorf("something is being made from it: %w", syscall.EBUSY)
	}
	roots, err := s.Roots()
	if err != nil {
		return err
	}
	for _, id := range roots {
		if of, err := s.chainOf(id); err == nil && of == name {
			return fmt.Errorf("root %s is made from it: %w", id, syscall.EBUSY)
		}
	}
	return s.eachLayer(func(l layer) error {
		if l.Parent == chain {
			return fmt.Errorf("layer %s is made from it: %w", l.Chain, syscall.EBUSY)
		}
		return nil
	})
}

// Tree is the directory of a committed chain: with Overlay its own layer, else
// all of it. Nothing may be changed in there.
func (s *Store) Tree(chain string) (string, error) {
	if _, err := s.find(chain); err != nil {
		return "", err
	}
	return s.path(layersName, short(chain), treeName), nil
}

// List returns the committed chains, each with its parent ("" for none).
func (s *Store) List(context.Context) (map[string]string, error) {
	list := map[string]string{}
	err := s.eachLayer(func(l layer) error {
		list[l.Chain] = l.Parent
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list layers of %s: %w", s.dir, err)
	}
	return list, nil
}

func (s *Store) eachLayer(f func(layer) error) error {
	entries, err := os.ReadDir(s.path(layersName))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		l, err := s.readLayer(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err == nil {
			err = f(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
