package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/volume"
)

// maxMounts is how many descriptors a run loop is given at the most.
const maxMounts = 128

// checkMounts checks mounts and puts them in the order in which they are made:
// what lies below another one after it.
func (e *Engine) checkMounts(ctx context.Context, mounts []api.Mount) error {
	if len(mounts) > maxMounts {
		return fmt.Errorf("%d mounts: %w: %d at the most", len(mounts), fs.ErrInvalid, maxMounts)
	}
	seen := map[string]bool{}
	for i := range mounts {
		m := &mounts[i]
		if m.Type == "" {
			m.Type = api.MountBind
		}
		if err := e.checkMount(ctx, *m); err != nil {
			return fmt.Errorf("mount %s: %w", mountName(*m), err)
		}
		dst := path.Clean(m.Destination)
		if seen[dst] {
			return fmt.Errorf("mount %s: %w: two mounts at one place", mountName(*m), fs.ErrInvalid)
		}
		seen[dst] = true
	}
	slices.SortStableFunc(mounts, func(a, b api.Mount) int {
		return strings.Count(path.Clean(a.Destination), "/") - strings.Count(path.Clean(b.Destination), "/")
	})
	return nil
}

// mountName is a mount as -v would have it.
func mountName(m api.Mount) string {
	if m.Source == "" {
		return m.Destination
	}
	return m.Source + ":" + m.Destination
}

func (e *Engine) checkMount(ctx context.Context, m api.Mount) error {
	invalid := func(why string) error { return fmt.Errorf("%w: %s", fs.ErrInvalid, why) }
	switch dst := path.Clean(m.Destination); {
	case !path.IsAbs(m.Destination):
		return invalid("the path in the container must be absolute, or the name of a mount that the image asks for")
	case dst == "/":
		return invalid("the root itself cannot be a mount")
	case own(dst):
		return invalid("the container has a " + dst + " of its own")
	}
	tmpfs := m.Size != 0 || m.Mode != 0 || m.UID != 0 || m.GID != 0
	switch {
	case tmpfs && m.Type != api.MountTmpfs:
		return invalid("size, mode and owner are for mounts of type tmpfs")
	case m.NoCopy && m.Type != api.MountVolume:
		return invalid("nocopy is for volumes")
	case m.Subpath != "" && m.Type != api.MountVolume && m.Type != api.MountBind:
		return invalid("a subpath is for volumes and binds")
	}
	switch m.Type {
	case api.MountBind:
		if !path.IsAbs(m.Source) {
			return invalid("both paths must be absolute")
		}
		return nil
	case api.MountVolume:
		return volume.CheckName(m.Source)
	case api.MountTmpfs:
		if m.Source != "" || m.Size < 0 || m.Mode > 0o7777 {
			return invalid("tmpfs has no source, a size from 0 and a mode up to 7777")
		}
		return nil
	case api.MountZFS:
		return e.host.CheckDatasetMount(ctx, m.Source)
	}
	return invalid(fmt.Sprintf("type %q is none of bind, volume, tmpfs and zfs", m.Type))
}

// own tells whether a path is one that every container gets.
func own(dst string) bool {
	switch dst {
	case "/dev", "/dev/fd", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc", "/sys":
		return true
	}
	return strings.HasPrefix(dst, "/proc/") || strings.HasPrefix(dst, "/sys/")
}

// openSources opens the source of each bind and holds it against what the
// creator opened: the path must not lead elsewhere for us than for them. The
// mounts lose their open files, which are the caller's. The other mounts have
// no file.
func openSources(mounts []api.Mount) (opened []*os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(opened)
		}
	}()
	for i := range mounts {
		m := &mounts[i]
		theirs := m.Opened
		m.Opened = nil
		opened = append(opened, nil)
		if m.Type != api.MountBind {
			continue
		}
		f, err := host.OpenSource(m.Source)
		if err != nil {
			return opened, fmt.Errorf("mount %s: %w", mountName(*m), err)
		}
		opened[i] = f
		if theirs == nil {
			continue
		}
		if same, err := sameFile(theirs, f); err != nil {
			return opened, fmt.Errorf("mount %s: %w", mountName(*m), err)
		} else if !same {
			return opened, fmt.Errorf("mount %s: %w: the source is another file for the engine than for its caller", mountName(*m), fs.ErrPermission)
		}
	}
	return opened, nil
}

func sameFile(a, b *os.File) (bool, error) {
	ai, aerr := a.Stat()
	bi, berr := b.Stat()
	if err := errors.Join(aerr, berr); err != nil {
		return false, err
	}
	return os.SameFile(ai, bi), nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// needVolumes makes the volumes that mounts name and that are not there.
func (e *Engine) needVolumes(ctx context.Context, p *plan) error {
	e.making.Lock()
	defer e.making.Unlock()
	for _, m := range p.Spec.Mounts {
		if m.Type != api.MountVolume || slices.Contains(p.Anonymous, m.Source) {
			continue
		}
		if _, err := e.findVolume(m.Source); err == nil {
			continue
		}
		v, err := e.newVolume(api.VolumeSpec{Name: m.Source})
		if err == nil {
			err = e.makeVolume(ctx, v)
		}
		if err != nil {
			return fmt.Errorf("create volume %s: %w", m.Source, err)
		}
	}
	return nil
}

// haveVolumesLocked tells which volume of a plan is not there: removed after it
// was looked up. Once the container is among the others, none can be.
func (e *Engine) haveVolumesLocked(p *plan) error {
	for _, m := range p.Spec.Mounts {
		if m.Type != api.MountVolume || slices.Contains(p.Anonymous, m.Source) {
			continue
		}
		if v, ok := e.volumes[m.Source]; !ok || v.state.Phase != phaseReady {
			return fmt.Errorf("volume %q: %w", m.Source, fs.ErrNotExist)
		}
	}
	return nil
}

// hostMount is a mount as the host is told of it, but for what is opened.
func hostMount(m api.Mount) host.Mount {
	h := host.Mount{Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly, NoSUID: m.NoSUID, NoExec: m.NoExec}
	switch m.Type {
	case api.MountTmpfs:
		h.Tmpfs = &host.Tmpfs{Size: m.Size, Mode: m.Mode, UID: m.UID, GID: m.GID}
		if m.Mode == 0 {
			h.Tmpfs.Mode = 0o1777
		}
	case api.MountZFS:
		h.Source, h.Dataset = "", m.Source
	}
	return h
}

// reopened gives each mount of the plan, which are the first of these, its
// source's file: the one its creator was held against, on the first start, and
// else what the path leads to now.
func (e *Engine) reopened(ctx context.Context, c *container, mounts []host.Mount) ([]host.Mount, error) {
	c.mu.Lock()
	opened := c.opened
	c.opened = nil
	c.mu.Unlock()
	for i, m := range c.plan.Spec.Mounts {
		var known *os.File
		if i < len(opened) {
			known = opened[i]
		}
		if err := e.openMount(ctx, m, known, &mounts[i]); err != nil {
			closeMounts(mounts)
			closeFiles(opened[min(i+1, len(opened)):])
			return nil, fmt.Errorf("mount %s: %w", mountName(m), err)
		}
	}
	return mounts, nil
}

// openMount opens what is to be mounted. known is the source, opened before, and
// is taken over, or nil.
func (e *Engine) openMount(ctx context.Context, m api.Mount, known *os.File, h *host.Mount) (err error) {
	switch m.Type {
	case api.MountTmpfs, api.MountZFS:
		return nil
	case api.MountVolume:
		if h.Source, err = e.volumePath(ctx, m.Source); err != nil {
			return err
		}
	}
	h.File, h.Source, err = host.OpenInside(known, h.Source, m.Subpath)
	return err
}

func closeMounts(mounts []host.Mount) {
	for _, m := range mounts {
		if m.File != nil {
			m.File.Close()
		}
	}
}
