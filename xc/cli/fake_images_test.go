package cli_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
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
	for _, c := range []api.Change{{Kind: api.ChangeChanged, Path: "/etc"}, {Kind: api.ChangeAdded, Path: "/etc/a b"}, {Kind: api.ChangeRemoved, Path: "/usr"}, {Kind: api.ChangeAdded, Path: "/caf\xe9"}} {
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

func (f *fake) PushImage(_ context.Context, name string, opt api.PushOptions, progress func(api.PullProgress) error) (api.PushedImage, error) {
	f.note("push %s %s %v", name, opt.Name, opt.Index)
	if _, err := f.image(name); err != nil {
		return api.PushedImage{}, err
	}
	layer := "sha256:" + strings.Repeat("12", 32)
	for _, phase := range []string{api.PhaseWaiting, api.PhaseUploading, api.PhaseDone} {
		if err := progress(api.PullProgress{Layer: layer, Phase: phase, Total: 2000}); err != nil {
			return api.PushedImage{}, err
		}
	}
	return api.PushedImage{Name: name, Digest: "sha256:pushed"}, nil
}

func (f *fake) Login(_ context.Context, spec api.LoginSpec) (string, error) {
	f.note("login %s %s %s", spec.Registry, spec.Username, spec.Password)
	return "docker.io", nil
}

func (f *fake) Logout(_ context.Context, registry string) (string, error) {
	f.note("logout %s", registry)
	return "docker.io", nil
}

func (f *fake) SaveImages(ctx context.Context, spec api.SaveSpec) error {
	if f.saving != nil {
		return f.saving(ctx)
	}
	for _, n := range spec.Names {
		if _, err := f.image(n); err != nil {
			return err
		}
	}
	_, err := spec.Archive.WriteString("archive of " + strings.Join(spec.Names, " "))
	return err
}

func (f *fake) LoadImages(_ context.Context, spec api.LoadSpec) ([]api.Image, error) {
	b, err := io.ReadAll(spec.Archive)
	spec.Archive = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded, f.archive = spec, string(b)
	return []api.Image{{ID: "sha256:loaded", Names: []string{"docker.io/library/a:1"}}}, err
}

func (f *fake) CheckImages(_ context.Context, opt api.CheckImagesOptions) (api.ImageCheck, error) {
	f.note("check images %v", opt.Repair)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.imageCheck, nil
}

func (f *fake) PullImage(_ context.Context, name string, opt api.PullOptions, progress func(api.PullProgress) error) (api.Image, error) {
	f.note("pull %s %s", name, opt.Platform)
	img, ok := f.remote[name]
	if !ok {
		return img, fmt.Errorf("pull %s: %w", name, fs.ErrNotExist)
	}
	if f.pulling != nil {
		return img, f.pulling(progress)
	}
	layer := "sha256:" + strings.Repeat("12", 32)
	for _, p := range []api.PullProgress{
		{Layer: layer, Phase: api.PhaseDownloading, Total: 2000}, {Layer: layer, Phase: api.PhaseDownloading, Current: 1000, Total: 2000},
		{Layer: layer, Phase: api.PhaseUnpacking}, {Layer: layer, Phase: api.PhaseDone}, {Phase: api.PhaseDone},
	} {
		if err := progress(p); err != nil {
			return img, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = append(f.images, img)
	return img, nil
}

func (f *fake) ImportImage(_ context.Context, spec api.ImportSpec) (api.Image, error) {
	b := make([]byte, 100)
	n, _ := spec.Archive.Read(b)
	spec.Archive = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.imported, f.archive = spec, string(b[:n])
	return api.Image{ID: "sha256:imported"}, nil
}

func (f *fake) ListImages(_ context.Context, opt api.ListImagesOptions) ([]api.Image, error) {
	f.note("images %q", opt.Filters)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.images), nil
}

func (f *fake) InspectImage(_ context.Context, name string) (api.Image, error) { return f.image(name) }

func (f *fake) RemoveImage(_ context.Context, name string, _ api.RemoveImageOptions) ([]string, error) {
	img, err := f.image(name)
	return append(img.Names, img.ID), err
}
