package host

import (
	"context"
	"errors"
	"os"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/site"
)

// ViewUndo gives back what a View has taken that was cut off.
func (h *Host) ViewUndo(s Spec) site.Undo {
	return step(kindMounts, thing{Path: h.mountPath(s.ID)}, nil).Undo
}

// View calls use with a directory that shows the root of a container that was
// made and never ran, until it returns.
func (h *Host) View(ctx context.Context, s Spec, use func(root string) error) (err error) {
	switch {
	case s.Dir != "":
		return use(s.Dir)
	case h.datas == nil:
		l, err := h.dirs.Layout(s.ID)
		if err != nil {
			return err
		}
		return use(l.Dir)
	}
	if err := h.settleRoot(s.ID); err != nil {
		return err
	}
	dir := h.mountPath(s.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.removeMounts(context.WithoutCancel(ctx), thing{Path: dir})) }()
	from, err := h.datas.Root(ctx, s.ID)
	if err != nil {
		return err
	}
	e := mount.Entry{Type: "zfs", From: from, Path: dir, Options: []string{"ro"}}
	if err := mount.Mount(e); err != nil {
		return err
	}
	return use(dir)
}
