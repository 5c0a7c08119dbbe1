package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/volume"
)

// describeVolume is a volume as its users see it.
func (e *Engine) describeVolume(v *vol) api.Volume {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.describeVolumeLocked(v)
}

func (e *Engine) describeVolumeLocked(v *vol) api.Volume {
	p := v.plan
	return api.Volume{
		Name: v.name, Driver: p.Driver, Mountpoint: volume.DataDir(e.host.VolumesDir(), v.name), Created: v.created,
		Labels: p.Labels, Options: p.Options, From: p.From, Anonymous: p.Anonymous, Users: e.usersLocked(v.name),
	}
}

// ListVolumes implements api.Volumes.
func (e *Engine) ListVolumes(context.Context) ([]api.Volume, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []api.Volume{}
	for _, v := range e.volumes {
		if v.state.Phase == phaseReady {
			list = append(list, e.describeVolumeLocked(v))
		}
	}
	slices.SortFunc(list, func(a, b api.Volume) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// InspectVolume implements api.Volumes.
func (e *Engine) InspectVolume(ctx context.Context, name string) (api.Volume, error) {
	if err := e.begin(); err != nil {
		return api.Volume{}, err
	}
	defer e.end()
	v, err := e.findVolume(name)
	if err != nil {
		return api.Volume{}, err
	}
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return api.Volume{}, fmt.Errorf("inspect volume %s: %w", name, err)
	}
	snapshots, err := d.Snapshots(ctx, name)
	if err != nil {
		return api.Volume{}, fmt.Errorf("inspect volume %s: %w", name, err)
	}
	out := e.describeVolume(v)
	for _, s := range snapshots {
		out.Snapshots = append(out.Snapshots, api.VolumeSnapshot(s))
	}
	return out, nil
}

// PruneVolumes implements api.Volumes.
func (e *Engine) PruneVolumes(ctx context.Context, opt api.PruneVolumesOptions) (api.PrunedVolumes, error) {
	out := api.PrunedVolumes{Names: []string{}}
	if err := e.begin(); err != nil {
		return out, err
	}
	defer e.end()
	list, err := e.ListVolumes(ctx)
	for _, v := range list {
		if err == nil {
			err = e.awaitUsers(ctx, v.Name)
		}
	}
	if err == nil {
		list, err = e.ListVolumes(ctx) // now with those that are left of them
	}
	if err != nil {
		return out, fmt.Errorf("prune volumes: %w", err)
	}
	sizes, err := e.volumeSizes(ctx)
	if err != nil {
		return out, fmt.Errorf("prune volumes: %w", err)
	}
	for _, v := range list {
		if len(v.Users) > 0 || !opt.All && !v.Anonymous {
			continue
		}
		err := e.removeNamed(context.WithoutCancel(ctx), v.Name)
		if errors.Is(err, api.ErrInUse) || errors.Is(err, fs.ErrNotExist) {
			continue // a container has taken it, it has snapshots, or it is gone
		}
		if err != nil {
			return out, fmt.Errorf("prune volume %s: %w", v.Name, err)
		}
		out.Names = append(out.Names, v.Name)
		out.Bytes += sizes[v.Name]
	}
	return out, nil
}

// volumeSizes are the bytes that the volumes of all drivers take, by name, also
// of those that are in no record.
func (e *Engine) volumeSizes(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	drivers, _ := e.host.VolumeDrivers()
	for _, d := range drivers {
		found, err := d.Sizes(ctx)
		if err != nil {
			return nil, err
		}
		for name, n := range found {
			sizes[name] = max(sizes[name], n) // the mount point of a file system is a directory
		}
	}
	return sizes, nil
}

// checkVolumes looks whether each volume has its data, and whether there are data
// that belong to none: after a power cut, or in a directory that another database
// was for. They are nobody's to remove but the operator's.
func (e *Engine) checkVolumes(ctx context.Context) []api.Check {
	sizes, err := e.volumeSizes(ctx)
	if err != nil {
		return []api.Check{{Area: "volume", Name: "all", State: api.CheckUnknown, Purpose: "the data of volumes", Detail: err.Error()}}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []api.Check
	for name := range sizes {
		if _, known := e.volumes[name]; !known {
			list = append(list, api.Check{
				Area: "volume", Name: name, State: api.CheckUnknown, Purpose: "data that are in no record, and in the way of a volume of this name",
				Detail: volume.DataDir(e.host.VolumesDir(), name) + ", or a dataset below default_volume_dataset: move away what is to be kept, and remove it",
			})
		}
	}
	for name, v := range e.volumes {
		if _, there := sizes[name]; !there && v.state.Phase == phaseReady {
			list = append(list, api.Check{
				Area: "volume", Name: name, State: api.CheckMissing, Purpose: "the data of a volume", Detail: "they are gone",
				Fix: "xc volume rm " + name + ", unless they can be brought back",
			})
		}
	}
	slices.SortFunc(list, func(a, b api.Check) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// leftVolumes lists data of volumes, and what drivers keep while they make or
// remove one, that belong to no record.
func (e *Engine) leftVolumes(ctx context.Context) ([]string, error) {
	found, err := e.volumeSizes(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(e.host.VolumesDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		found[entry.Name()] = 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var left []string
	for name := range found {
		if _, known := e.volumes[name]; !known {
			left = append(left, "volume "+name)
		}
	}
	return left, nil
}

// recoverVolumes reads the records of volumes, and finishes off what is not
// ready: before any container is, which may need them.
func (e *Engine) recoverVolumes(ctx context.Context) error {
	records, err := e.db.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		v, err := decodeVolume(r)
		if err != nil {
			e.cfg.Report(err)
			continue
		}
		e.volumes[v.name] = v
		if v.state.Phase == phaseReady {
			continue
		}
		d, err := e.driver(v.plan.Driver)
		if err == nil {
			err = e.dropVolume(ctx, v, d)
		}
		if err != nil {
			e.cfg.Report(fmt.Errorf("recover volume %s: %w", v.name, err))
		}
	}
	return nil
}

func decodeVolume(r store.Volume) (*vol, error) {
	v := &vol{name: r.Name, created: r.Created}
	if err := errors.Join(json.Unmarshal(r.Spec, &v.plan), json.Unmarshal(r.State, &v.state)); err != nil {
		return nil, fmt.Errorf("record of volume %s: %w", r.Name, err)
	}
	return v, nil
}
