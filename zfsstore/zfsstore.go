// Package zfsstore keeps the root file systems of images and containers on
// ZFS: what package dirstore does with directories.
//
// A chain of layers is a file system below Images, a clone of its parent
// chain's, and exists when its snapshot @frozen does: that snapshot is the
// commit, anything without it is debris. A container's root is a clone of a
// chain's snapshot below Containers. Nothing is promoted, nothing is destroyed
// with its clones; snapshots that others make go with what they are of. All names
// begin with the engine's tag:
//
//	tank/images/t3qk5z-6c3b…            a chain, by its chain id
//	tank/images/t3qk5z-6c3b…@frozen     … complete
//	tank/containers/t3qk5z-c4f2…        a container's root
//	tank/containers/t3qk5z.volatile     has sync=disabled, and in it
//	tank/containers/t3qk5z.volatile/t3qk5z-c7d1…  one that a power cut may spoil
//
// No property is set on them, since a clone with properties is not made
// atomically; the two parents should have mountpoint=none, so that nobody else
// mounts what is below them.
package zfsstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/zfs"
)

// Store is a place for roots. All fields are required but Finish.
type Store struct {
	ZFS        *zfs.ZFS
	Images     string // dataset below which the chains are
	Containers string // dataset below which the containers' roots are
	Tag        string // of the engine: what is ours below them
	Dir        string // directory below which drafts are mounted

	Mount   func(dataset, dir string, options ...string) error // options as mount(8) takes them
	Unmount func(dir string) error                             // succeeds when nothing is mounted there

	// Finish, if there is one, is called with a chain's file system, which has all
	// its layers and is mounted on dir, before it is frozen.
	Finish func(dir string)

	looking sync.Mutex // held by a look: a dataset is mounted only once
}

var _ store.Roots = (*Store)(nil)

const frozen = "@frozen"

// Prepare tells whether the two parents are there, and makes the one of volatile
// roots.
func (s *Store) Prepare(ctx context.Context) error {
	for _, name := range []string{s.Images, s.Containers} {
		if _, err := s.ZFS.Get(ctx, name); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dataset %s: %w: make it with: zfs create -p -o mountpoint=none %s", name, err, name)
		} else if err != nil {
			return err
		}
	}
	if there, err := s.ZFS.Exists(ctx, s.volatile()); err != nil || there {
		return err
	}
	return s.ZFS.Create(ctx, s.volatile(), zfs.Props{"sync": "disabled", "mountpoint": "none"})
}

// volatile is the parent of volatile roots.
func (s *Store) volatile() string { return s.Containers + "/" + s.Tag + ".volatile" }

// Container is the dataset of a container's root, if that is not volatile.
func (s *Store) Container(id string) string { return s.Containers + "/" + s.Tag + "-" + id }

// Volatile is the dataset of a container's volatile root.
func (s *Store) Volatile(id string) string { return s.volatile() + "/" + s.Tag + "-" + id }

// Root is the dataset of the root that a container has, or fs.ErrNotExist.
func (s *Store) Root(ctx context.Context, id string) (string, error) {
	for _, name := range []string{s.Container(id), s.Volatile(id)} {
		if there, err := s.ZFS.Exists(ctx, name); err != nil || there {
			return name, err
		}
	}
	return "", &zfs.Error{Op: "get", Dataset: s.Container(id), Errno: syscall.ENOENT}
}

// RootID is the id of the container whose root a dataset is.
func (s *Store) RootID(dataset string) (id string, ok bool) {
	for _, first := range []string{s.Container(""), s.Volatile("")} {
		if id, ok := strings.CutPrefix(dataset, first); ok && !strings.ContainsAny(id, "/@") {
			return id, true
		}
	}
	return "", false
}

func (s *Store) chain(chain digest.Digest) (string, error) {
	if err := chain.Validate(); err != nil {
		return "", fmt.Errorf("chain %q: %w", chain, err)
	}
	return s.Images + "/" + s.Tag + "-" + chain.Encoded(), nil
}

// Has tells whether a chain was committed.
func (s *Store) Has(ctx context.Context, chain digest.Digest) (bool, error) {
	name, err := s.chain(chain)
	if err != nil {
		return false, err
	}
	return s.ZFS.Exists(ctx, name+frozen)
}

// Begin makes a draft of a chain: a clone of its parent, or an empty file
// system, mounted.
func (s *Store) Begin(ctx context.Context, chain, parent digest.Digest) (store.Draft, error) {
	name, err := s.chain(chain)
	if err != nil {
		return nil, err
	}
	d := &draft{s: s, name: name, dir: filepath.Join(s.Dir, chain.Encoded())}
	if there, err := s.ZFS.Exists(ctx, name+frozen); err != nil || there {
		return nil, errors.Join(err, fmt.Errorf("chain %s: %w", chain, fs.ErrExist))
	}
	if err := d.discard(ctx); err != nil {
		return nil, err
	}
	if err := s.make(ctx, name, parent); err != nil {
		return nil, err
	}
	err = os.MkdirAll(d.dir, 0o700)
	if err == nil {
		err = s.Mount(name, d.dir)
	}
	if err == nil && parent == "" {
		err = os.Chmod(d.dir, 0o755)
	}
	if err != nil {
		return nil, errors.Join(err, d.discard(context.WithoutCancel(ctx)))
	}
	return d, nil
}

// make makes the file system of a chain.
func (s *Store) make(ctx context.Context, name string, parent digest.Digest) error {
	if parent == "" {
		return s.ZFS.Create(ctx, name, nil)
	}
	from, err := s.chain(parent)
	if err != nil {
		return err
	}
	return s.ZFS.Clone(ctx, from+frozen, name, nil)
}

// Delete removes a chain without children.
func (s *Store) Delete(ctx context.Context, chain digest.Digest) error {
	name, err := s.chain(chain)
	if err != nil {
		return err
	}
	// The snapshot that makes it a chain goes when nothing else keeps it.
	if err := s.destroySnapshots(ctx, name); err != nil {
		return err
	}
	if err := s.ZFS.Destroy(ctx, name+frozen); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.destroy(ctx, name)
}

// List returns the chains and their parents.
func (s *Store) List(ctx context.Context) (map[digest.Digest]digest.Digest, error) {
	all, err := s.ZFS.List(ctx, s.Images)
	if err != nil {
		return nil, err
	}
	parent := map[string]digest.Digest{}
	for _, d := range all {
		parent[d.Name] = s.chainOf(strings.TrimSuffix(d.Origin, frozen))
	}
	out := map[digest.Digest]digest.Digest{}
	for _, d := range all {
		name, ok := strings.CutSuffix(d.Name, frozen)
		if chain := s.chainOf(name); ok && chain != "" {
			out[chain] = parent[name]
		}
	}
	return out, nil
}

// chainOf is the chain that a dataset of ours holds, or "".
func (s *Store) chainOf(name string) digest.Digest {
	hex, ok := strings.CutPrefix(name, s.Images+"/"+s.Tag+"-")
	if !ok {
		return ""
	}
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		if d := digest.NewDigestFromEncoded(alg, hex); d.Validate() == nil {
			return d
		}
	}
	return ""
}

// Create makes the root of a container.
func (s *Store) Create(ctx context.Context, id, chain string) error {
	return s.create(ctx, s.Container(id), chain)
}

// CreateVolatile makes the root of a container that need not survive a power cut:
// fsync(2) waits for nothing in there, and nor does the unmount of one that was
// made read-only before.
func (s *Store) CreateVolatile(ctx context.Context, id, chain string) error {
	return s.create(ctx, s.Volatile(id), chain)
}

func (s *Store) create(ctx context.Context, name, chain string) error {
	from, err := s.chain(digest.Digest(chain))
	if err != nil {
		return err
	}
	return s.ZFS.Clone(ctx, from+frozen, name, nil)
}

// Remove destroys the root of a container, which must not be mounted, and its
// snapshots. Removing one that is not there succeeds.
func (s *Store) Remove(ctx context.Context, id string) error {
	if id == "" || strings.ContainsAny(id, "/@ ") {
		return fmt.Errorf("remove root %q: %w", id, fs.ErrInvalid)
	}
	if there, err := s.destroyed(ctx, s.Volatile(id)); there || err != nil {
		return err
	}
	return s.destroy(ctx, s.Container(id))
}

// destroyTime bounds the wait for a dataset that something still holds: a
// jail that is dying holds its root.
const destroyTime = 15 * time.Second

// destroy destroys a dataset with the snapshots that are not ours, waiting while it
// is busy.
func (s *Store) destroy(ctx context.Context, name string) error {
	_, err := s.destroyed(ctx, name)
	return err
}

// destroyed is destroy, and tells whether the dataset was there.
func (s *Store) destroyed(ctx context.Context, name string) (there bool, err error) {
	deadline := time.Now().Add(destroyTime)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := s.ZFS.Destroy(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return true, err
		}
		if err := s.destroySnapshots(ctx, name); err != nil {
			return true, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return true, errors.Join(err, ctx.Err())
		}
	}
}

// destroySnapshots destroys the snapshots that somebody has made of a dataset: those
// who make them of a whole pool, every hour, do not look whose it is. One that is
// held or has clones is not destroyed: somebody wants it.
func (s *Store) destroySnapshots(ctx context.Context, name string) error {
	if strings.Contains(name, "@") {
		return nil
	}
	all, err := s.ZFS.List(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range all {
		if of, _, ok := strings.Cut(d.Name, "@"); ok && of == name && d.Name != name+frozen {
			if derr := s.ZFS.Destroy(ctx, d.Name); !errors.Is(derr, fs.ErrNotExist) {
				err = errors.Join(err, derr)
			}
		}
	}
	return err
}

// Sweep removes the debris of drafts and looks.
func (s *Store) Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), lookPrefix); ok {
			errs = append(errs, look{s: s, id: id, dir: filepath.Join(s.Dir, e.Name())}.end(ctx))
			continue
		}
		name := s.Images + "/" + s.Tag + "-" + e.Name()
		if s.chainOf(name) == "" {
			continue
		}
		d := &draft{s: s, name: name, dir: filepath.Join(s.Dir, e.Name())}
		if there, err := s.ZFS.Exists(ctx, name+frozen); err == nil && there {
			errs = append(errs, d.leave())
			continue
		}
		errs = append(errs, d.discard(ctx))
	}
	return errors.Join(errs...)
}

// draft is a chain in the making.
type draft struct {
	s    *Store
	name string
	dir  string
	done bool
}

func (d *draft) Dir() string     { return d.dir }
func (d *draft) Overlay() bool   { return false }
func (d *draft) Lower() []string { return nil }

// Commit finishes and unmounts the file system and takes its snapshot.
func (d *draft) Commit(ctx context.Context) error {
	if d.s.Finish != nil {
		d.s.Finish(d.dir)
	}
	if err := d.leave(); err != nil {
		return err
	}
	if err := d.s.ZFS.Snapshot(ctx, d.name+frozen); err != nil {
		return err
	}
	d.done = true
	return nil
}

// Abort leaves nothing behind.
func (d *draft) Abort(ctx context.Context) error {
	if d.done {
		return nil
	}
	return d.discard(ctx)
}

// leave unmounts the draft and removes its mount point.
func (d *draft) leave() error {
	if err := d.s.Unmount(d.dir); err != nil {
		return err
	}
	if err := os.Remove(d.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *draft) discard(ctx context.Context) error {
	if err := d.leave(); err != nil {
		return err
	}
	return d.s.destroy(ctx, d.name)
}
