package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/volume"
)

// What a container holds of volumes: those that were made for it alone, which
// have no name of anybody's choice, are undone with it; the others it only uses.

// kindVolume is the undo of an anonymous volume.
const kindVolume = "volume"

// heldVolume is the data of that undo.
type heldVolume struct {
	Name  string `json:"name"`
	Owner string `json:"owner"` // id of the container; the volume's own says the same, or it stays
}

// planVolumes adds the volumes that an image declares and nobody has mounted
// anything on, and names those that have no name.
func (p *plan) planVolumes(declared []string) {
	taken := map[string]bool{}
	for _, m := range p.Spec.Mounts {
		taken[path.Clean(m.Destination)] = true
	}
	for _, dst := range declared {
		if dst = path.Clean(dst); !path.IsAbs(dst) || dst == "/" || own(dst) || taken[dst] {
			continue
		}
		taken[dst] = true
		p.Spec.Mounts = append(p.Spec.Mounts, api.Mount{Type: api.MountVolume, Destination: dst})
	}
	for i := range p.Spec.Mounts {
		if m := &p.Spec.Mounts[i]; m.Type == api.MountVolume && m.Source == "" {
			m.Source = volumeID()
			p.Anonymous = append(p.Anonymous, m.Source)
		}
	}
}

// holdSteps are the steps for what a stopped container keeps.
func (e *Engine) holdSteps(c *container) []site.Step {
	steps := e.host.Hold(e.hostSpec(c))
	for _, name := range c.plan.Anonymous {
		b, err := json.Marshal(heldVolume{Name: name, Owner: c.id})
		if err != nil {
			panic(err) // two strings: cannot happen
		}
		steps = append(steps, site.Step{Undo: site.Undo{Kind: kindVolume, Version: 1, Data: b}, Do: func(ctx context.Context) error {
			return e.makeAnonymous(ctx, name, c.id)
		}})
	}
	if slices.ContainsFunc(c.plan.Spec.Mounts, copies) {
		steps = append(steps, site.Step{Undo: e.host.ViewUndo(e.hostSpec(c)), Do: func(ctx context.Context) error {
			return e.fillVolumes(ctx, c)
		}})
	}
	return steps
}

// copies tells whether a mount is of a volume that is filled from the image.
func copies(m api.Mount) bool { return m.Type == api.MountVolume && !m.NoCopy && m.Subpath == "" }

func (e *Engine) makeAnonymous(ctx context.Context, name, owner string) error {
	v, err := e.newVolume(api.VolumeSpec{Name: name})
	if err != nil {
		return err
	}
	v.plan.Anonymous, v.state.Owner = true, owner
	if err := e.makeVolume(ctx, v); err != nil {
		return fmt.Errorf("create volume %s: %w", name, err)
	}
	return nil
}

// fillVolumes copies into empty volumes what the image has where they are to be.
// One volume is filled by one container at a time.
func (e *Engine) fillVolumes(ctx context.Context, c *container) error {
	mounts := slices.DeleteFunc(slices.Clone(c.plan.Spec.Mounts), func(m api.Mount) bool { return !copies(m) })
	release, err := e.lockVolumes(mounts)
	if err != nil {
		return err
	}
	defer release()
	type empty struct{ dir, dst string }
	var list []empty
	for _, m := range mounts {
		dir, err := e.volumePath(ctx, m.Source)
		if err != nil {
			return err
		}
		if fill, err := volume.Fillable(dir); err != nil {
			return err
		} else if fill {
			list = append(list, empty{dir, m.Destination})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return e.host.View(ctx, e.hostSpec(c), func(root string) error {
		for _, v := range list {
			if err := volume.Fill(ctx, v.dir, root, v.dst); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockVolumes keeps others from filling the volumes of mounts. All do it in the
// order of the names.
func (e *Engine) lockVolumes(mounts []api.Mount) (release func(), err error) {
	var locked []*vol
	release = func() {
		for _, v := range locked {
			v.filling.Unlock()
		}
	}
	var names []string
	for _, m := range mounts {
		names = append(names, m.Source)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		v, err := e.findVolume(name)
		if err != nil {
			release()
			return nil, err
		}
		v.filling.Lock()
		locked = append(locked, v)
	}
	return release, nil
}

// volumePath is the directory with the data of a volume.
func (e *Engine) volumePath(ctx context.Context, name string) (string, error) {
	v, err := e.findVolume(name)
	if err != nil {
		return "", err
	}
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return "", err
	}
	return d.Path(ctx, v.name)
}

// undoVolume removes an anonymous volume with its container, if that still owns
// it. One that others have by now, or that has snapshots, is kept.
func (e *Engine) undoVolume(ctx context.Context, u site.Undo) error {
	var held heldVolume
	if u.Version != 1 {
		return fmt.Errorf("undo %s of version %d: made by a later release: %w", u.Kind, u.Version, site.ErrUnknownKind)
	}
	if err := json.Unmarshal(u.Data, &held); err != nil {
		return fmt.Errorf("undo %s: %w", u.Kind, err)
	}
	e.mu.Lock()
	v, ok := e.volumes[held.Name]
	mine := ok && v.state.Owner == held.Owner && v.state.Phase != phaseCreating
	shared := ok && slices.ContainsFunc(e.usersLocked(held.Name), func(name string) bool {
		c := e.containers[held.Owner]
		return c == nil || name != c.name()
	})
	if mine && !shared {
		v.state.Phase = phaseRemoving
	}
	e.mu.Unlock()
	switch {
	case !mine:
		return nil
	case shared:
		return e.saveVolume(ctx, v, volState{Phase: phaseReady})
	}
	return e.undoOwned(ctx, v, held.Owner)
}

func (e *Engine) undoOwned(ctx context.Context, v *vol, owner string) error {
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return err
	}
	err = e.saveVolume(ctx, v, volState{Phase: phaseRemoving, Owner: owner})
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // its data make the room for the record
		return err
	}
	err = e.dropVolume(ctx, v, d)
	if errors.Is(err, syscall.EBUSY) {
		return e.saveVolume(ctx, v, volState{Phase: phaseReady})
	}
	return err
}

// keepVolumes lets the anonymous volumes of a container stay when it goes.
func (e *Engine) keepVolumes(ctx context.Context, c *container) error {
	for _, name := range c.plan.Anonymous {
		v, err := e.findVolume(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = e.saveVolume(ctx, v, volState{Phase: phaseReady})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
