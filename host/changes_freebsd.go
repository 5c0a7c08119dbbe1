package host

import (
	"context"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/zfs"
)

func (h *Host) changes(ctx context.Context, s Spec, running bool, use func(Changes) error) error {
	if h.datas == nil {
		c, err := dirChanges(h.dirs, s.ID)
		if err != nil {
			return err
		}
		return use(c)
	}
	mounted := ""
	if running {
		mounted = h.RootDir(s)
	} else if err := h.settleRoot(s.ID); err != nil {
		return err
	}
	return h.datas.Look(ctx, s.ID, s.Chain, mounted, func(old, now string, changed []zfs.Change) error {
		return use(Changes{
			Root: now,
			List: ocitar.CompareAt(old, now, hints(changed)),
			Was:  func(name string) (bool, error) { return dirstore.Was([]string{old}, name) },
		})
	})
}

// hints are where zfs-diff(8) says that something has changed.
func hints(changed []zfs.Change) func(yield func(ocitar.Hint, error) bool) {
	return func(yield func(ocitar.Hint, error) bool) {
		for _, c := range changed {
			deep := c.Kind == 'R' && c.Type == '/' // it does not say what is in one
			if !yield(ocitar.Hint{Path: c.Path, Deep: deep}, nil) {
				return
			}
			if c.To != "" && !yield(ocitar.Hint{Path: c.To, Deep: deep}, nil) {
				return
			}
		}
	}
}
