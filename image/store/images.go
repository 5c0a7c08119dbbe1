package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/flight"
)

// Images is the images of one place: their blobs, names and roots. Blobs and Refs
// are required, and no field may change once it is in use. It may be used by many
// goroutines at once.
type Images struct {
	Blobs *Store
	Refs  Refs

	// Roots and Unpack are where and how layers are unpacked. Without Roots none
	// is: digest and size of each blob are verified as ever, but not whether what
	// it has compressed is what the image says (its diff id).
	Roots  Roots
	Unpack Unpack

	// InUse names the containers that live on the chain, so that it must stay
	// though no image has it. Nil: none does. Take a lease (Acquire) until that
	// is recorded.
	InUse func(ctx context.Context, chain digest.Digest) ([]string, error)

	// Keep returns the manifests of images that must stay though they may have
	// no name: a container made of one is committed with its layers. Nil: none.
	Keep func(ctx context.Context) ([]digest.Digest, error)

	chains flight.Group[digest.Digest, struct{}]
	gate   sync.RWMutex // Tag and Remove read, Prune writes

	checking sync.Mutex // held while a chain is made once more, to be looked at
}

// Image is an image of one platform, as its manifest and configuration tell.
type Image struct {
	Name     image.Reference  // by which it was asked for
	Manifest ispec.Descriptor // with its platform
	Index    digest.Digest    // of the index it was chosen from, if it was
	Layers   []Layer          // bottom first
	Chain    digest.Digest    // of all layers; "" if there are none
	ConfigID digest.Digest    // digest of the configuration: what Docker calls the image's id
	Config   ispec.Image
	Size     int64 // bytes of its blobs, as they were transferred
}

// Load reads the image of a manifest that is among the blobs.
func (m *Images) Load(desc ispec.Descriptor) (Image, error) {
	raw, err := m.Blobs.Read(desc, image.MaxManifestSize)
	if err != nil {
		return Image{}, err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return Image{}, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	rawConfig, err := m.Blobs.Read(manifest.Config, image.MaxConfigSize)
	if err != nil {
		return Image{}, err
	}
	config, err := image.ParseConfig(rawConfig, len(manifest.Layers))
	if err != nil {
		return Image{}, fmt.Errorf("blob %s: %w", manifest.Config.Digest, err)
	}
	return assemble(desc, manifest, config), nil
}

// assemble makes an Image of parts that were parsed, and so fit each other.
func assemble(desc ispec.Descriptor, manifest ispec.Manifest, config ispec.Image) Image {
	if desc.Platform == nil {
		desc.Platform = &ispec.Platform{
			OS: config.OS, OSVersion: config.OSVersion,
			Architecture: config.Architecture, Variant: config.Variant,
		}
	}
	img := Image{
		Manifest: desc,
		Index:    digest.Digest(desc.Annotations[AnnotationIndex]),
		ConfigID: manifest.Config.Digest,
		Config:   config,
		Size:     desc.Size + manifest.Config.Size,
	}
	for i, chain := range image.Chains(config.RootFS.DiffIDs) {
		blob := manifest.Layers[i]
		img.Layers = append(img.Layers, Layer{Blob: blob, DiffID: config.RootFS.DiffIDs[i], Chain: chain, Parent: img.Chain})
		img.Chain = chain
		img.Size += blob.Size
	}
	return img
}

// blobs are the digests of all blobs of the image.
func (img Image) blobs() []digest.Digest {
	list := []digest.Digest{img.Manifest.Digest, img.ConfigID}
	for _, l := range img.Layers {
		list = append(list, l.Blob.Digest)
	}
	return list
}

// Pin keeps all that the image consists of.
func (l *Lease) Pin(img Image) {
	l.PinBlobs(img.blobs()...)
	for _, layer := range img.Layers {
		l.PinChains(layer.Chain)
	}
}

// Resolve returns the image of a reference. A reference with a digest also
// finds an image that came by another name of the same repository, when the
// digest is that of its manifest or of its index. The error for an image that
// is not here matches fs.ErrNotExist.
func (m *Images) Resolve(ctx context.Context, ref image.Reference) (Image, error) {
	desc, err := m.find(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	img, err := m.Load(desc)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", ref.Familiar(), err)
	}
	img.Name = ref
	return img, nil
}

func (m *Images) find(ctx context.Context, ref image.Reference) (ispec.Descriptor, error) {
	desc, err := m.Refs.Resolve(ctx, ref.String())
	if ref.Digest == "" || !errors.Is(err, fs.ErrNotExist) {
		return desc, err
	}
	refs, listErr := m.Refs.List(ctx)
	if listErr != nil {
		return desc, listErr
	}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		other, parseErr := image.ParseReference(name)
		if parseErr != nil {
			return desc, fmt.Errorf("image ledger: %w", parseErr)
		}
		d := refs[name]
		if other.Name() == ref.Name() && (d.Digest == ref.Digest || d.Annotations[AnnotationIndex] == ref.Digest.String()) {
			return d, nil
		}
	}
	return desc, err
}

// Acquire is Resolve with a lease on the image, which the caller releases when
// what it makes of the image has been recorded where InUse sees it.
func (m *Images) Acquire(ctx context.Context, ref image.Reference) (Image, *Lease, error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	img, err := m.Resolve(ctx, ref)
	if err != nil {
		return Image{}, nil, err
	}
	lease := m.Blobs.Lease()
	lease.Pin(img)
	return img, lease, nil
}

// AcquireDigest is Acquire of an image that may have no name, by the digest of
// its manifest.
func (m *Images) AcquireDigest(manifest digest.Digest) (Image, *Lease, error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	img, err := m.LoadDigest(manifest)
	if err != nil {
		return Image{}, nil, err
	}
	lease := m.Blobs.Lease()
	lease.Pin(img)
	return img, lease, nil
}

// List returns all images, by name. An image that cannot be read is named in
// the error, beside those that can.
func (m *Images) List(ctx context.Context) ([]Image, error) {
	refs, err := m.Refs.List(ctx)
	if err != nil {
		return nil, err
	}
	var images []Image
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		img, err := m.Load(refs[name])
		if err == nil {
			img.Name, err = image.ParseReference(name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("image %s: %w", name, err))
			continue
		}
		images = append(images, img)
	}
	return images, errors.Join(errs...)
}

// Tag gives an image another name, which may have been another image's.
func (m *Images) Tag(ctx context.Context, ref, name image.Reference) error {
	if name.Digest != "" {
		return fmt.Errorf("tag %s: a new name cannot have a digest", name.Familiar())
	}
	m.gate.RLock()
	defer m.gate.RUnlock()
	desc, err := m.find(ctx, ref)
	if err != nil {
		return err
	}
	return m.Refs.Put(ctx, name.String(), desc)
}

// Remove takes a name away. The image behind it goes with the next Prune,
// unless it has other names.
func (m *Images) Remove(ctx context.Context, ref image.Reference) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	return m.Refs.Delete(ctx, ref.String())
}

// Put gives a complete image its name: the last step of what brings images
// here. The lease that has pinned it may be released afterwards.
func (m *Images) Put(ctx context.Context, img Image) error {
	desc := img.Manifest
	desc.Data, desc.URLs = nil, nil // nothing of the registry's is believed later
	desc.Annotations = nil
	if img.Index != "" {
		desc.Annotations = map[string]string{AnnotationIndex: img.Index.String()}
	}
	return m.Refs.Put(ctx, img.Name.String(), desc)
}

// writeJSON writes a document as a blob.
func (m *Images) writeJSON(ctx context.Context, lease *Lease, mediaType string, v any) (ispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	return m.Blobs.Write(ctx, lease, mediaType, b)
}
