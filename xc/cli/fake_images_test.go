package cli_test

import (
	"context"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func (f *fake) TagImage(_ context.Context, name, newName string) error {
	f.note("tag %s %s", name, newName)
	_, err := f.image(name)
	return err
}

func (f *fake) ImageHistory(_ context.Context, name string) ([]api.ImageStep, error) {
	_, err := f.image(name)
	return []api.ImageStep{
		{CreatedBy: "/bin/sh -c #(nop)  CMD [\"/bin/sh\"]"},
		{Created: time.Now().Add(-2 * time.Hour), CreatedBy: "/bin/sh -c apk add\n  a-package-with-quite-a-long-name", Layer: "sha256:0123456789abcdef", Size: 1500, Comment: "first"},
	}, err
}

func (f *fake) PruneImages(_ context.Context, opt api.PruneImagesOptions) (api.PrunedImages, error) {
	f.note("prune %v", opt.All)
	return api.PrunedImages{Names: []string{"docker.io/library/alpine:3"}, Blobs: []string{"sha256:aa"}, Roots: []string{"sha256:bb"}, Bytes: 2_500_000}, nil
}

func (f *fake) DiskUsage(context.Context) ([]api.DiskUsage, error) {
	return []api.DiskUsage{
		{Kind: api.UsageImages, Total: 3, Active: 1, Size: 4_000_000, Reclaimable: 1_000_000},
		{Kind: api.UsageContainers},
	}, nil
}

func (f *fake) DiffContainer(_ context.Context, name string, emit func(api.Change) error) error {
	if _, err := f.find(name); err != nil {
		return err
	}
	for _, c := range []api.Change{{Kind: api.ChangeChanged, Path: "/etc"}, {Kind: api.ChangeAdded, Path: "/etc/a b"}, {Kind: api.ChangeRemoved, Path: "/usr"}} {
		if err := emit(c); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) CommitContainer(_ context.Context, name string, spec api.CommitSpec) (api.Image, error) {
	_, err := f.find(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committed = spec
	return api.Image{ID: "sha256:committed"}, err
}
