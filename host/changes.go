package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"path/filepath"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/ocitar"
)

// Changes is what has become of a root since it was made of its chain.
type Changes struct {
	Root string // the directory that has what is put
	List iter.Seq2[ocitar.Change, error]
	Was  func(path string) (bool, error) // whether the chain has a file there
}

// Changes calls use with what has changed in the root of a container, which
// may run meanwhile: on ZFS what is seen is a snapshot, else what is there when
// it is looked at. What is mounted into the root, and where, is not in it. The
// container must not be started, nor removed, until it returns.
func (h *Host) Changes(ctx context.Context, s Spec, running bool, use func(Changes) error) error {
	if s.Dir != "" {
		return fmt.Errorf("its root is the directory %s, which was made from nothing: %w", s.Dir, errors.ErrUnsupported)
	}
	return h.changes(ctx, s, running, func(c Changes) error {
		c.List = outside(c.List, mountPoints(s))
		return use(c)
	})
}

// mountPoints are where something is mounted into a root.
func mountPoints(s Spec) map[string]bool {
	points := map[string]bool{"dev": true, "proc": true, "sys": true}
	for _, m := range s.Mounts {
		points[path.Clean("/" + m.Destination)[1:]] = true
	}
	return points
}

// outside leaves out what is at or below one of the points.
func outside(list iter.Seq2[ocitar.Change, error], points map[string]bool) iter.Seq2[ocitar.Change, error] {
	return func(yield func(ocitar.Change, error) bool) {
		for c, err := range list {
			if err == nil && below(points, c.Path) {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func below(points map[string]bool, name string) bool {
	for ; name != "." && name != ""; name = path.Dir(name) {
		if points[name] {
			return true
		}
	}
	return false
}

// dirChanges are those of a root in a directory store.
func dirChanges(store *dirstore.Store, id string) (Changes, error) {
	l, err := store.Layout(id)
	if err != nil {
		return Changes{}, err
	}
	lower, err := store.Lower(id)
	if err != nil {
		return Changes{}, err
	}
	was := func(name string) (bool, error) { return dirstore.Was(lower, name) }
	if l.Dir != "" {
		return Changes{Root: l.Dir, List: ocitar.Compare(lower[0], l.Dir), Was: was}, nil
	}
	upper := filepath.Join(l.Base, l.Upper)
	return Changes{Root: upper, List: ocitar.Upper(upper), Was: was}, nil
}
