package zfsstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/zfs"
)

// A look mounts below Dir/look-ID what a container's root was made from and
// what it is, and takes the snapshot of that: both go when it ends, or with the
// next Sweep. What it was made from is the chain's file system, not its snapshot,
// which it has not left: zfs-diff(8) of a clone wants that mounted.
const (
	lookPrefix   = "look-"
	lookSnapshot = "@look"
)

// Look shows what the root of a container was made from and what it is now, as
// two directories, and which paths have changed, relative to them. Now is a
// snapshot: the container may go on. mounted is where the root is mounted; it is
// mounted for the time if that is empty. Looks wait for each other.
func (s *Store) Look(ctx context.Context, id, chain, mounted string, use func(old, now string, changed []zfs.Change) error) (err error) {
	from, err := s.chain(digest.Digest(chain))
	if err != nil {
		return err
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	root, err := s.Root(ctx, id)
	if err != nil {
		return err
	}
	l := look{s: s, id: id, dir: filepath.Join(s.Dir, lookPrefix+id)}
	if err := l.end(ctx); err != nil { // what an earlier one has left
		return fmt.Errorf("look at root %s: %w", id, err)
	}
	defer func() {
		if endErr := l.end(context.WithoutCancel(ctx)); endErr != nil {
			err = errors.Join(err, fmt.Errorf("look at root %s: %w", id, endErr))
		}
	}()
	if err := l.begin(ctx, root, from, &mounted); err != nil {
		return fmt.Errorf("look at root %s: %w", id, err)
	}
	var changed []zfs.Change
	for c, err := range s.ZFS.Diff(ctx, from+frozen, root+lookSnapshot) {
		if err != nil {
			return err
		}
		if c.Path, err = within(mounted, c.Path); err != nil {
			return err
		}
		if c.To != "" {
			if c.To, err = within(mounted, c.To); err != nil {
				return err
			}
		}
		changed = append(changed, c)
	}
	return use(l.path("old"), l.path("now"), changed)
}

// within is a path relative to the directory that it is in.
func within(top, path string) (string, error) {
	rel, err := filepath.Rel(top, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("zfs diff tells of %q, which is not in %s", path, top)
	}
	return rel, nil
}

type look struct {
	s   *Store
	id  string
	dir string
}

func (l look) path(name string) string { return filepath.Join(l.dir, name) }

func (l look) begin(ctx context.Context, root, old string, mounted *string) error {
	for _, name := range []string{"old", "now", "root"} {
		if err := os.MkdirAll(l.path(name), 0o700); err != nil {
			return err
		}
	}
	if err := l.s.ZFS.Snapshot(ctx, root+lookSnapshot); err != nil {
		return err
	}
	if *mounted == "" { // zfs-diff(8) wants it mounted
		if err := l.s.Mount(root, l.path("root")); err != nil {
			return err
		}
		*mounted = l.path("root")
	}
	if err := l.s.Mount(old, l.path("old"), "ro"); err != nil {
		return err
	}
	return l.s.Mount(root+lookSnapshot, l.path("now"))
}

// end gives back what a look has taken. It succeeds when there was none.
func (l look) end(ctx context.Context) error {
	if _, err := os.Lstat(l.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range []string{"now", "old", "root"} {
		if err := l.s.Unmount(l.path(name)); err != nil {
			return err
		}
	}
	for _, root := range []string{l.s.Container(l.id), l.s.Volatile(l.id)} {
		if err := l.s.destroy(ctx, root+lookSnapshot); err != nil {
			return err
		}
	}
	for _, name := range []string{"now", "old", "root", ""} {
		if err := os.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
