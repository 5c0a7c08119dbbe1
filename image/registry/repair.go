package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// Repair does something about what Check has found. For every named image what is
// damaged or missing of its blobs is fetched again from the repository that it is
// named after, by digest: what is damaged stays until another was verified. Then
// chains that are damaged are removed, if all that stands on them can be unpacked
// again, and what is missing is unpacked. left is what could not be done; Check
// again tells what is still wrong.
func (p *Puller) Repair(ctx context.Context, found []store.Problem) (left []store.Problem, err error) {
	r := &repair{p: p, damaged: map[digest.Digest]bool{}, failed: map[string]error{}}
	for _, f := range found {
		if f.Blob != "" {
			r.damaged[f.Blob] = true
		}
		if f.Chain != "" && !slices.Contains(r.chains, f.Chain) { // it may be several images'
			r.chains = append(r.chains, f.Chain)
		}
	}
	for _, step := range []func(context.Context) error{r.blobs, r.discard, r.unroll} {
		if err := step(ctx); err != nil {
			return r.left, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.failed)) {
		r.left = append(r.left, store.Problem{Object: "image " + name, Err: fmt.Errorf("repair: %w", r.failed[name])})
	}
	return r.left, nil
}

// repair is one run of Repair.
type repair struct {
	p       *Puller
	damaged map[digest.Digest]bool // blobs; less when others have taken their place
	chains  []digest.Digest        // that are damaged
	failed  map[string]error       // why an image could not be repaired, by its name
	left    []store.Problem
}

// each does something for every named image. An error that is not the context's
// is that image's, and not in the way of the others.
func (r *repair) each(ctx context.Context, do func(ctx context.Context, name string, desc ispec.Descriptor) error) error {
	refs, err := r.p.Images.Refs.List(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		err := do(ctx, name, refs[name])
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			r.failed[name] = err
		}
	}
	return nil
}

// blobs fetches those of all images. What one image's repository did not have,
// another's may have brought.
func (r *repair) blobs(ctx context.Context) error {
	if err := r.each(ctx, r.complete); err != nil {
		return err
	}
	return r.each(ctx, func(_ context.Context, name string, desc ispec.Descriptor) error {
		if r.failed[name] != nil && r.whole(desc) {
			delete(r.failed, name)
		}
		return nil
	})
}

// whole tells whether all blobs of an image are here and sound.
func (r *repair) whole(desc ispec.Descriptor) bool {
	img, err := r.p.Images.Load(desc)
	return err == nil && !slices.ContainsFunc(img.Layers, r.lacks)
}

// lacks tells that a layer's blob is not here, or damaged.
func (r *repair) lacks(l store.Layer) bool {
	return r.damaged[l.Blob.Digest] || r.p.check(l.Blob) != nil
}

// complete fetches what is damaged or missing of the blobs of an image.
func (r *repair) complete(ctx context.Context, name string, desc ispec.Descriptor) error {
	ref, err := image.ParseReference(name)
	if err != nil {
		return err
	}
	lease := r.p.Images.Blobs.Lease()
	defer lease.Release()
	lease.PinBlobs(desc.Digest)
	if err := r.manifest(ctx, ref, desc); err != nil {
		return err
	}
	raw, err := r.p.Images.Blobs.Read(desc, image.MaxManifestSize)
	if err != nil {
		return err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return err
	}
	lease.PinBlobs(manifest.Config.Digest)
	if err := r.fetch(ctx, ref, manifest.Config); err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	for _, l := range manifest.Layers {
		lease.PinBlobs(l.Digest)
		if err := r.fetch(ctx, ref, l); err != nil {
			return fmt.Errorf("layer: %w", err)
		}
	}
	return nil
}

// manifest fetches a manifest that is damaged or missing.
func (r *repair) manifest(ctx context.Context, ref image.Reference, desc ispec.Descriptor) error {
	_, err := r.p.Images.Blobs.Stat(desc.Digest)
	if !r.damaged[desc.Digest] && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := r.p.Client.Manifest(ctx, image.Reference{Domain: ref.Domain, Path: ref.Path, Digest: desc.Digest})
	if err != nil {
		return err
	}
	return r.mend(ctx, desc, func(ctx context.Context, stage stage) error { return write(m, stage) })
}

// fetch fetches a blob that is damaged or missing.
func (r *repair) fetch(ctx context.Context, ref image.Reference, desc ispec.Descriptor) error {
	if !r.damaged[desc.Digest] {
		return r.p.fetch(ctx, ref, desc, nil)
	}
	err := r.mend(ctx, desc, func(ctx context.Context, stage stage) error {
		return r.p.download(ctx, ref, desc, stage, func(int64) {})
	})
	if err != nil {
		return fmt.Errorf("fetch blob %s: %w", desc.Digest, err)
	}
	return nil
}

// mend has a blob written that takes the place of a damaged one. A pull that wants
// it at the same time would be content with the damaged one: what it does is waited
// for, and does not count.
func (r *repair) mend(ctx context.Context, desc ispec.Descriptor, write func(ctx context.Context, stage stage) error) error {
	for {
		own := false
		err := r.p.blobs.Do(ctx, desc.Digest, nil, func(ctx context.Context, _ func(int64)) error {
			own = true
			return write(ctx, func(desc ispec.Descriptor) (*store.Staging, error) { return r.p.Images.Blobs.Restage(ctx, desc) })
		})
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err == nil && own {
			delete(r.damaged, desc.Digest)
		}
		if own {
			return err
		}
	}
}

// discard removes the chains that are damaged.
func (r *repair) discard(ctx context.Context) error {
	for _, chain := range r.chains {
		err := r.spared(ctx, chain)
		if err == nil {
			err = r.p.Images.Discard(ctx, chain)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			r.left = append(r.left, store.Problem{Object: "chain " + chain.String(), Err: err})
		}
	}
	return nil
}

// spared tells why a chain must not be removed though it is damaged: with it goes
// what stands on it, and of an image whose blobs are not all here that may be all
// that there is.
func (r *repair) spared(ctx context.Context, chain digest.Digest) (spared error) {
	err := r.each(ctx, func(_ context.Context, name string, desc ispec.Descriptor) error {
		if r.failed[name] == nil {
			return nil
		}
		img, err := r.p.Images.Load(desc)
		if err != nil || slices.ContainsFunc(img.Layers, func(l store.Layer) bool { return l.Chain == chain }) {
			spared = fmt.Errorf("it stays as it is, since the image %s could not be unpacked again", name)
		}
		return nil
	})
	return errors.Join(spared, err)
}

// unroll unpacks what is missing of all images, also of those that were named
// meanwhile.
func (r *repair) unroll(ctx context.Context) error {
	return r.each(ctx, func(ctx context.Context, name string, desc ispec.Descriptor) error {
		img, err := r.p.Images.Load(desc)
		if err != nil {
			return r.failed[name] // which has told of it, or else it is another's by now
		}
		lease := r.p.Images.Blobs.Lease()
		defer lease.Release()
		lease.Pin(img)
		for _, l := range img.Layers {
			if r.failed[name] != nil && r.lacks(l) {
				continue // told; if it is unpacked, what is above may be, too
			}
			if _, err := r.p.Images.Unroll(ctx, l, nil); err != nil {
				return cmp.Or(r.failed[name], err)
			}
		}
		return nil
	})
}
