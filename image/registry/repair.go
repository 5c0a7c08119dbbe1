package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// Repair does something about what Check has found: blobs and chains that are
// damaged are removed, and for every named image what is missing is fetched again from the
// repository that it is named after, by digest, and unpacked. The error tells
// what could not be had; Check again tells what is still wrong.
func (p *Puller) Repair(ctx context.Context, problems []store.Problem) error {
	var chains []digest.Digest
	for _, problem := range problems {
		if problem.Chain != "" {
			chains = append(chains, problem.Chain)
		}
		if problem.Blob == "" {
			continue
		}
		if err := p.Images.Blobs.Delete(problem.Blob); err != nil {
			return err
		}
	}
	var errs []error
	if err := p.Images.Discard(ctx, chains...); err != nil {
		errs = append(errs, err)
	}
	refs, err := p.Images.Refs.List(ctx)
	if err != nil {
		return err
	}
	for name, desc := range refs {
		ref, err := image.ParseReference(name)
		if err == nil {
			m := Manifest{Descriptor: desc}
			m.Annotations, m.Platform = nil, nil
			err = p.complete(ctx, ref, m)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("repair image %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// complete fetches and unpacks what is missing of an image.
func (p *Puller) complete(ctx context.Context, ref image.Reference, m Manifest) error {
	lease := p.Images.Blobs.Lease()
	defer lease.Release()
	lease.PinBlobs(m.Digest)
	if _, err := p.Images.Blobs.Stat(m.Digest); errors.Is(err, fs.ErrNotExist) {
		got, err := p.Client.Manifest(ctx, image.Reference{Domain: ref.Domain, Path: ref.Path, Digest: m.Digest})
		if err != nil {
			return err
		}
		if err := p.keep(ctx, got); err != nil {
			return err
		}
	}
	raw, err := p.Images.Blobs.Read(m.Descriptor, image.MaxManifestSize)
	if err != nil {
		return err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return err
	}
	lease.PinBlobs(manifest.Config.Digest)
	if err := p.fetch(ctx, ref, manifest.Config, nil); err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	img, err := p.Images.Load(m.Descriptor)
	if err != nil {
		return err
	}
	lease.Pin(img)
	for _, l := range img.Layers {
		if err := p.fetch(ctx, ref, l.Blob, nil); err != nil {
			return fmt.Errorf("layer: %w", err)
		}
		if _, err := p.Images.Unroll(ctx, l, nil); err != nil {
			return err
		}
	}
	return nil
}
