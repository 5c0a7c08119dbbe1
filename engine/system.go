package engine

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/joyboyid/xc/engine/api"
)

// Version implements api.System.
func (e *Engine) Version(context.Context) (api.Version, error) { return e.version(), nil }

func (e *Engine) version() api.Version {
	v := api.Version{Version: "devel", Revision: api.Revision, Go: runtime.Version(), Platform: e.host.Platform()}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	return v
}

// Info implements api.System.
func (e *Engine) Info(ctx context.Context) (api.Info, error) {
	name, err := os.Hostname()
	if err != nil {
		return api.Info{}, err
	}
	info := api.Info{
		Tag: e.db.Tag(), Version: e.version(), OSRelease: e.host.OSRelease(), Hostname: name, Storage: e.host.Storage(),
		StateDir: e.cfg.StateDir, RunDir: e.cfg.RunDir, Warnings: e.host.Warnings(),
	}
	list, err := e.ListContainers(ctx, api.ListOptions{All: true})
	if err != nil {
		return api.Info{}, err
	}
	info.Containers = len(list)
	for _, c := range list {
		if c.State == api.StateRunning {
			info.Running++
		}
	}
	imgs, err := e.ListImages(ctx, api.ListImagesOptions{})
	info.Images = len(imgs)
	return info, err
}

// InspectContainer implements api.Containers.
func (e *Engine) InspectContainer(ctx context.Context, name string) (api.Container, error) {
	c, err := e.find(ctx, name)
	if err != nil {
		return api.Container{}, err
	}
	return e.describe(c), nil
}

// Leftovers lists what on the host carries the engine's tag or lives in its
// directories and belongs to no container and no volume: nothing, unless
// something failed.
func (e *Engine) Leftovers(ctx context.Context) ([]string, error) {
	known, err := e.ids(ctx)
	if err != nil {
		return nil, err
	}
	left, err := e.host.Leftovers(known)
	if err == nil && len(left) > 0 { // it may be of a container that was made meanwhile
		left, err = e.leftStill(ctx, left)
	}
	if err != nil {
		return nil, err
	}
	volumes, err := e.leftVolumes(ctx)
	return append(left, volumes...), err
}

// leftStill are those of what was left that still are.
func (e *Engine) leftStill(ctx context.Context, left []string) ([]string, error) {
	known, err := e.ids(ctx)
	if err != nil {
		return nil, err
	}
	now, err := e.host.Leftovers(known)
	return slices.DeleteFunc(left, func(l string) bool { return !slices.Contains(now, l) }), err
}

// ids are those of all containers and networks there are.
func (e *Engine) ids(ctx context.Context) (map[string]bool, error) {
	records, err := e.db.Containers(ctx)
	ids := map[string]bool{}
	for _, r := range records {
		ids[r.ID] = true
	}
	for _, n := range e.allNetworks() {
		ids[n.id] = true
	}
	return ids, err
}
