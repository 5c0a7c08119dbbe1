package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/umoci/mutate"
	"github.com/opencontainers/umoci/oci/casext"

	"github.com/joyboyid/xc/image"
)

// CommitOptions say what an image has that its base has not.
type CommitOptions struct {
	Name      image.Reference   // required; no digest
	Config    ispec.ImageConfig // instead of the base's
	Author    string            // of the image, and of the step
	Comment   string            // for the history
	CreatedBy string            // for the history
	Created   time.Time         // now, if zero

	// Layer writes the layer to w, compressed as mediaType says, and returns the
	// digest of its plain tar. Nil: the image differs by its configuration alone.
	Layer     func(ctx context.Context, w io.Writer) (diffID digest.Digest, err error)
	MediaType string
}

// Commit makes an image of a base, a layer upon it and another configuration,
// and names it. A name that was there before is moved. A commit that fails
// leaves nothing behind. The caller has a lease on the base.
func (m *Images) Commit(ctx context.Context, base Image, o CommitOptions) (Image, error) {
	img, err := m.commit(ctx, base, o)
	if err != nil {
		return Image{}, fmt.Errorf("commit %s: %w", o.Name.Familiar(), err)
	}
	return img, nil
}

func (m *Images) commit(ctx context.Context, base Image, o CommitOptions) (img Image, err error) {
	switch {
	case o.Name == image.Reference{}:
		return img, errors.New("a name is required")
	case o.Name.Digest != "":
		return img, errors.New("a name cannot have a digest")
	}
	t := &trail{lease: m.Blobs.Lease()}
	img, err = m.mutate(ctx, t, base, o)
	if err == nil && img.Chain != base.Chain {
		var created bool
		created, err = m.Unroll(ctx, img.Layers[len(img.Layers)-1], nil)
		if created {
			t.chains = append(t.chains, img.Chain)
		}
	}
	if err == nil {
		err = m.Put(ctx, img)
	}
	t.lease.Release()
	if only := t.debris(err != nil); len(only) > 0 {
		_, pruneErr := m.prune(context.WithoutCancel(ctx), only)
		err = errors.Join(err, pruneErr)
	}
	return img, err
}

// trail is what a commit has made.
type trail struct {
	lease   *Lease
	blobs   []digest.Digest
	chains  []digest.Digest
	passing []digest.Digest // blobs that were only needed on the way
}

// debris is what is to be removed, unless something else needs it.
func (t *trail) debris(failed bool) map[pin]bool {
	only := map[pin]bool{}
	for _, d := range t.passing {
		only[pin{false, d}] = true
	}
	if failed {
		for _, d := range t.blobs {
			only[pin{false, d}] = true
		}
		for _, c := range t.chains {
			only[pin{true, c}] = true
		}
	}
	return only
}

// mutate writes the blobs.
func (m *Images) mutate(ctx context.Context, t *trail, base Image, o CommitOptions) (Image, error) {
	if o.Created.IsZero() {
		o.Created = time.Now()
	}
	created := o.Created.UTC()
	step := &ispec.History{Created: &created, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Comment}
	var layer ispec.Descriptor
	var diffID digest.Digest
	var err error
	if o.Layer != nil {
		layer, diffID, err = m.ingestFrom(ctx, t.lease, o)
		if layer.Digest != "" {
			t.blobs = append(t.blobs, layer.Digest)
		}
		if err != nil {
			return Image{}, err
		}
	}
	source, err := m.mutable(ctx, t, base)
	if err != nil {
		return Image{}, err
	}
	// umoci writes blobs under digests that nobody has pinned before: no prune
	// runs until they are.
	m.gate.RLock()
	desc, err := m.mutation(ctx, source, layer, diffID, step, o)
	if err == nil {
		t.lease.PinBlobs(desc.Digest)
		t.blobs = append(t.blobs, desc.Digest)
	}
	var img Image
	if err == nil {
		img, err = m.Load(desc)
	}
	if err == nil {
		t.lease.Pin(img)
		t.blobs = append(t.blobs, img.ConfigID)
		err = m.Blobs.sync(img.ConfigID, img.Manifest.Digest)
	}
	m.gate.RUnlock()
	img.Name = o.Name
	return img, err
}

// mutation is what umoci does of it: the new configuration and manifest.
func (m *Images) mutation(ctx context.Context, source, layer ispec.Descriptor, diffID digest.Digest, step *ispec.History, o CommitOptions) (ispec.Descriptor, error) {
	none := ispec.Descriptor{}
	mutator, err := mutate.New(m.Blobs.Layout(), casext.DescriptorPath{Walk: []ispec.Descriptor{source}})
	if err != nil {
		return none, err
	}
	old, err := mutator.Config(ctx)
	if err != nil {
		return none, err
	}
	if layer.Digest != "" {
		if err := mutator.AddExisting(ctx, layer, step, diffID); err != nil {
			return none, err
		}
		step = nil // one step did both
	}
	meta := mutate.Meta{
		Created: o.Created.UTC(), Author: old.Author,
		OS: old.OS, Architecture: old.Architecture, Variant: old.Variant, // os.version stays by itself
	}
	if o.Author != "" {
		meta.Author = o.Author
	}
	annotations, err := mutator.Annotations(ctx)
	if err != nil {
		return none, err
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	if err := mutator.Set(ctx, o.Config, meta, annotations, step); err != nil {
		return none, err
	}
	path, err := mutator.Commit(ctx)
	if err != nil {
		return none, err
	}
	end := path.Descriptor()
	return ispec.Descriptor{MediaType: end.MediaType, Digest: end.Digest, Size: end.Size}, nil
}

// untold is of how many layers a history does not tell. It need not tell of any,
// but if it does then of all (image-spec, config.md): buildah refuses others.
func untold(history []ispec.History, layers int) int {
	for _, h := range history {
		if !h.EmptyLayer {
			layers--
		}
	}
	return max(0, layers)
}

// mutable is the manifest of an image as umoci mutates it: of OCI's types, under
// sha256, and with a history of all layers. One that is not is written anew.
func (m *Images) mutable(ctx context.Context, t *trail, img Image) (ispec.Descriptor, error) {
	raw, err := m.Blobs.Read(img.Manifest, image.MaxManifestSize)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	if img.Manifest.MediaType == ispec.MediaTypeImageManifest && manifest.Config.MediaType == ispec.MediaTypeImageConfig &&
		img.Manifest.Digest.Algorithm() == digest.SHA256 && manifest.Config.Digest.Algorithm() == digest.SHA256 &&
		untold(img.Config.History, len(img.Layers)) == 0 {
		return ispec.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size}, nil
	}
	config := img.Config
	then := config.Created
	if then == nil { // umoci stat ends badly without a time
		epoch := time.Unix(0, 0).UTC()
		then = &epoch
	}
	for range untold(config.History, len(img.Layers)) {
		config.History = append(config.History, ispec.History{Created: then})
	}
	if manifest.Config, err = m.writeJSON(ctx, t.lease, ispec.MediaTypeImageConfig, config); err != nil {
		return ispec.Descriptor{}, err
	}
	manifest.Versioned = specs.Versioned{SchemaVersion: 2}
	manifest.MediaType = ispec.MediaTypeImageManifest
	for i := range manifest.Layers {
		manifest.Layers[i].MediaType = image.OCILayer(manifest.Layers[i].MediaType)
	}
	desc, err := m.writeJSON(ctx, t.lease, ispec.MediaTypeImageManifest, manifest)
	t.passing = append(t.passing, manifest.Config.Digest)
	if err == nil {
		t.passing = append(t.passing, desc.Digest)
	}
	return desc, err
}

// ingestFrom writes the layer as a blob while it is made.
func (m *Images) ingestFrom(ctx context.Context, lease *Lease, o CommitOptions) (ispec.Descriptor, digest.Digest, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	var diffID digest.Digest
	made := make(chan error, 1)
	go func() {
		var err error
		diffID, err = o.Layer(ctx, w)
		_ = w.CloseWithError(err) // always nil; nil reads as the end
		made <- err
	}()
	desc, err := m.Blobs.Ingest(ctx, lease, o.MediaType, r)
	_ = r.CloseWithError(err) // always nil; stops a writer that nobody reads from
	if madeErr := <-made; err == nil {
		err = madeErr
	}
	return desc, diffID, err
}

// sync makes blobs that umoci wrote survive a power cut.
func (s *Store) sync(digests ...digest.Digest) error {
	for _, d := range digests {
		f, err := s.Open(d)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync blob %s: %w", d, err)
		}
		if err := syncDir(filepath.Dir(f.Name())); err != nil {
			return err
		}
	}
	return nil
}
