package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// manifestsInUse are the manifests of the images that containers were made of.
func (e *Engine) manifestsInUse(context.Context) ([]digest.Digest, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []digest.Digest
	for _, c := range e.containers {
		if c.plan.Manifest != "" {
			list = append(list, digest.Digest(c.plan.Manifest))
		}
	}
	return list, nil
}

// TagImage implements api.Images.
func (e *Engine) TagImage(ctx context.Context, name, newName string) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	ref, err := image.ParseReference(newName)
	if err != nil {
		return err
	}
	img, err := e.lookUp(ctx, name)
	if err != nil {
		return err
	}
	if err := e.images.images.Tag(ctx, img.Name, ref); err != nil {
		return fmt.Errorf("tag %s: %w", name, err)
	}
	e.tell(imageEvent(api.EventTag, img.Manifest.Digest.String(), ref.String()))
	return nil
}

// ImageHistory implements api.Images.
func (e *Engine) ImageHistory(ctx context.Context, name string) ([]api.ImageStep, error) {
	img, err := e.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	steps := []api.ImageStep{}
	layers := img.Layers
	for _, h := range img.Config.History {
		s := api.ImageStep{CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment}
		if h.Created != nil {
			s.Created = h.Created.UTC()
		}
		if !h.EmptyLayer && len(layers) > 0 {
			setLayer(&s, layers[0])
			layers = layers[1:]
		}
		steps = append(steps, s)
	}
	for _, l := range layers { // of those a history need not tell (image-spec, config.md)
		var s api.ImageStep
		setLayer(&s, l)
		steps = append(steps, s)
	}
	slices.Reverse(steps)
	return steps, nil
}

func setLayer(s *api.ImageStep, l store.Layer) {
	s.Layer, s.Blob, s.Size = l.DiffID.String(), l.Blob.Digest.String(), l.Blob.Size
}

// PruneImages implements api.Images.
func (e *Engine) PruneImages(ctx context.Context, opt api.PruneImagesOptions) (api.PrunedImages, error) {
	out := api.PrunedImages{Names: []string{}, Blobs: []string{}, Roots: []string{}}
	if err := e.begin(); err != nil {
		return out, err
	}
	defer e.end()
	sizes, _, err := e.host.RootSizes(ctx)
	if err != nil {
		return out, fmt.Errorf("prune images: %w", err)
	}
	if opt.All {
		if out.Names, err = e.removeUnused(ctx); err != nil {
			return out, fmt.Errorf("prune images: %w", err)
		}
	}
	pruned, err := e.images.images.Prune(ctx)
	out.Bytes = pruned.Bytes
	for _, d := range pruned.Blobs {
		out.Blobs = append(out.Blobs, d.String())
	}
	for _, d := range pruned.Chains {
		out.Roots = append(out.Roots, d.String())
		out.Bytes += sizes[d.String()]
	}
	return out, err
}

// removeUnused takes all names off the images of which there is no container.
func (e *Engine) removeUnused(ctx context.Context) ([]string, error) {
	names := []string{}
	list, err := e.images.images.List(ctx)
	if err != nil {
		return names, err
	}
	used, err := e.manifestsInUse(ctx)
	if err != nil {
		return names, err
	}
	left := map[digest.Digest]int{} // names
	for _, img := range list {
		left[img.Manifest.Digest]++
	}
	for _, img := range list {
		d, name := img.Manifest.Digest, img.Name.String()
		if slices.Contains(used, d) {
			continue
		}
		if err := e.images.images.Remove(ctx, img.Name); err != nil {
			return names, err
		}
		names = append(names, name)
		e.tell(imageEvent(api.EventUntag, d.String(), name))
		if left[d]--; left[d] == 0 {
			e.tell(imageEvent(api.EventRemove, d.String(), name))
		}
	}
	return names, nil
}

// DiskUsage implements api.System.
func (e *Engine) DiskUsage(ctx context.Context) ([]api.DiskUsage, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	all, err := e.images.images.List(ctx)
	if err != nil && all == nil {
		return nil, fmt.Errorf("disk usage: %w", err)
	}
	manifests, useErr := e.manifestsInUse(ctx)
	chains, roots, sizeErr := e.host.RootSizes(ctx)
	if err := errors.Join(useErr, sizeErr); err != nil {
		return nil, fmt.Errorf("disk usage: %w", err)
	}
	var distinct, used []store.Image
	for _, img := range all {
		if slices.ContainsFunc(distinct, func(d store.Image) bool { return d.Manifest.Digest == img.Manifest.Digest }) {
			continue
		}
		distinct = append(distinct, img)
		if slices.Contains(manifests, img.Manifest.Digest) {
			used = append(used, img)
		}
	}
	blobs, err := e.images.images.BlobUsage(used)
	if err != nil {
		return nil, fmt.Errorf("disk usage: %w", err)
	}
	volumes, err := e.volumeUsage(ctx)
	if err != nil {
		return nil, fmt.Errorf("disk usage: %w", err)
	}
	return []api.DiskUsage{
		{Kind: api.UsageImages, Total: len(distinct), Active: len(used), Size: blobs.Bytes, Reclaimable: blobs.Bytes - blobs.Needed},
		e.layerUsage(chains, used),
		e.containerUsage(roots), volumes,
	}, nil
}

// layerUsage adds up the unpacked layers. In use are those of images in use,
// and those that a container lives on though its image is gone.
func (e *Engine) layerUsage(sizes map[string]int64, used []store.Image) api.DiskUsage {
	active := map[string]bool{}
	for _, img := range used {
		for _, l := range img.Layers {
			active[l.Chain.String()] = true
		}
	}
	e.mu.Lock()
	for _, c := range e.containers {
		active[c.plan.Chain] = true
	}
	e.mu.Unlock()
	u := api.DiskUsage{Kind: api.UsageLayers}
	for chain, size := range sizes {
		addUsage(&u, size, active[chain])
	}
	return u
}

// containerUsage adds up what containers have written. In use are those that run.
func (e *Engine) containerUsage(sizes map[string]int64) api.DiskUsage {
	e.mu.Lock()
	list := make([]*container, 0, len(e.containers))
	for _, c := range e.containers {
		list = append(list, c)
	}
	e.mu.Unlock()
	u := api.DiskUsage{Kind: api.UsageContainers}
	for _, c := range list {
		addUsage(&u, sizes[c.id], c.running() != nil)
	}
	return u
}

// volumeUsage adds up the volumes. In use are those that a container has.
func (e *Engine) volumeUsage(ctx context.Context) (api.DiskUsage, error) {
	u := api.DiskUsage{Kind: api.UsageVolumes}
	sizes, err := e.volumeSizes(ctx)
	if err != nil {
		return u, err
	}
	list, err := e.ListVolumes(ctx)
	for _, v := range list {
		addUsage(&u, sizes[v.Name], len(v.Users) > 0)
	}
	return u, err
}

func addUsage(u *api.DiskUsage, size int64, active bool) {
	u.Total++
	u.Size += size
	if active {
		u.Active++
	} else {
		u.Reclaimable += size
	}
}
