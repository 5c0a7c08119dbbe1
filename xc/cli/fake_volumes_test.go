package cli_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func (f *fake) CreateVolume(_ context.Context, spec api.VolumeSpec) (api.Volume, error) {
	f.note("volume create %+v", spec)
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.volume(spec.Name); i >= 0 {
		return api.Volume{}, fmt.Errorf("create volume %s: %w", spec.Name, fs.ErrExist)
	}
	v := api.Volume{
		Name: spec.Name, Driver: spec.Driver, Mountpoint: "/volumes/" + spec.Name, Labels: spec.Labels, Options: spec.Options,
		Created: time.Unix(1e9, 0), Users: []string{},
	}
	if v.Name == "" {
		v.Name, v.Anonymous = "v4nonymous", true
	}
	f.volumes = append(f.volumes, v)
	return v, nil
}

// volume is the index of a volume, or -1.
func (f *fake) volume(name string) int {
	return slices.IndexFunc(f.volumes, func(v api.Volume) bool { return v.Name == name })
}

func (f *fake) ListVolumes(context.Context) ([]api.Volume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.volumes), nil
}

func (f *fake) InspectVolume(_ context.Context, name string) (api.Volume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.volume(name); i >= 0 {
		return f.volumes[i], nil
	}
	return api.Volume{}, fmt.Errorf("volume %q: %w", name, fs.ErrNotExist)
}

func (f *fake) RemoveVolume(_ context.Context, name string, opt api.RemoveVolumeOptions) error {
	f.note("volume rm %s %+v", name, opt)
	f.mu.Lock()
	defer f.mu.Unlock()
	base, _, _ := strings.Cut(name, "@")
	i := f.volume(base)
	switch {
	case i < 0 && opt.Force:
	case i < 0:
		return fmt.Errorf("remove volume %s: %w", name, fs.ErrNotExist)
	case len(f.volumes[i].Users) > 0:
		return fmt.Errorf("remove volume %s: %w: by the container %s", name, api.ErrInUse, strings.Join(f.volumes[i].Users, ", "))
	case base == name:
		f.volumes = slices.Delete(f.volumes, i, i+1)
	}
	return nil
}

func (f *fake) SnapshotVolume(_ context.Context, name, snapshot string) error {
	f.note("volume snapshot %s %s", name, snapshot)
	return nil
}

func (f *fake) PruneVolumes(_ context.Context, opt api.PruneVolumesOptions) (api.PrunedVolumes, error) {
	f.note("volume prune %+v", opt)
	return api.PrunedVolumes{Names: []string{"old"}, Bytes: 2_000_000}, nil
}
