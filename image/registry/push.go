package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// What happens to a layer that is pushed, beside Exists, Waiting and Done.
const (
	Uploading Phase = "uploading" // the registry has Current of Total bytes
	FromOther Phase = "mounted"   // the registry has taken it from another repository; nothing follows
)

// Pusher brings images from a store to registries. It may be used by many
// goroutines at once.
type Pusher struct {
	Images   *store.Images
	Client   *Client
	Parallel int // uploads of one push at the same time; 4 if 0
}

// PushOptions of a push.
type PushOptions struct {
	// Index puts the image into the index that the name has in the registry,
	// instead of the image of the same platform, beside those of others. Without
	// it the name becomes the image's alone.
	Index    bool
	Progress func(Event) // told what happens, one event at a time; must not block; may be nil
}

// Pushed is what the registry has now.
type Pushed struct {
	Manifest digest.Digest // of the image
	Index    digest.Digest // that the name stands for, if it does for one
}

// Push brings an image to a registry and gives it a name there. The caller has
// a lease on it. The name is given last: a push that fails has changed nothing
// that anybody sees, and the next one finds what this one has brought.
func (p *Pusher) Push(ctx context.Context, img store.Image, to image.Reference, o PushOptions) (Pushed, error) {
	q := &push{p: p, img: img, to: to, o: o}
	out, err := q.run(ctx)
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", to.Familiar(), err)
	}
	return out, nil
}

// push is one push.
type push struct {
	p   *Pusher
	img store.Image
	to  image.Reference
	o   PushOptions

	mu sync.Mutex // serialises events
}

func (q *push) run(ctx context.Context) (Pushed, error) {
	if q.to.Digest != "" {
		return Pushed{}, errors.New("push by tag: the digest follows from the content")
	}
	raw, err := q.p.Images.Blobs.Read(q.img.Manifest, image.MaxManifestSize)
	if err != nil {
		return Pushed{}, err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return Pushed{}, err
	}
	if err := q.blobs(ctx, manifest); err != nil {
		return Pushed{}, err
	}
	m := Manifest{Descriptor: ispec.Descriptor{MediaType: q.img.Manifest.MediaType, Digest: q.img.Manifest.Digest, Size: q.img.Manifest.Size}, Raw: raw}
	if !q.o.Index {
		return Pushed{Manifest: m.Digest}, q.p.Client.PutManifest(ctx, q.to, m)
	}
	byDigest := image.Reference{Domain: q.to.Domain, Path: q.to.Path, Digest: m.Digest}
	if err := q.p.Client.PutManifest(ctx, byDigest, m); err != nil {
		return Pushed{}, err
	}
	index, err := q.index(ctx, m.Descriptor)
	if err != nil {
		return Pushed{}, fmt.Errorf("index: %w", err)
	}
	return Pushed{Manifest: m.Digest, Index: index.Digest}, q.p.Client.PutManifest(ctx, q.to, index)
}

// blobs brings the layers and the configuration.
func (q *push) blobs(ctx context.Context, manifest ispec.Manifest) error {
	from, err := q.repositories(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(or(q.p.Parallel, 4))
	seen := map[digest.Digest]bool{}
	for _, b := range append(slices.Clone(manifest.Layers), manifest.Config) {
		if seen[b.Digest] {
			continue
		}
		seen[b.Digest] = true
		shown := b.Digest != manifest.Config.Digest
		if shown {
			q.emit(Event{Layer: b.Digest, Phase: Waiting, Total: b.Size})
		}
		group.Go(func() error { return q.blob(ctx, b, from[b.Digest], shown) })
	}
	return group.Wait()
}

func (q *push) blob(ctx context.Context, desc ispec.Descriptor, from []string, shown bool) error {
	f, err := q.p.Images.Blobs.Open(desc.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	emit := func(e Event) {
		if shown {
			q.emit(e)
		}
	}
	how, err := q.p.Client.Upload(ctx, q.to, desc, f, from, func(n int64) {
		emit(Event{Layer: desc.Digest, Phase: Uploading, Current: n, Total: desc.Size})
	})
	if err != nil {
		return err
	}
	phase := map[Uploaded]Phase{WasThere: Exists, Mounted: FromOther, Sent: Done}[how]
	emit(Event{Layer: desc.Digest, Phase: phase, Current: desc.Size, Total: desc.Size})
	return nil
}

// repositories are those of the same registry that images here came from or
// went to, by the blobs they have.
func (q *push) repositories(ctx context.Context) (map[digest.Digest][]string, error) {
	refs, err := q.p.Images.Refs.List(ctx)
	if err != nil {
		return nil, err
	}
	from := map[digest.Digest][]string{}
	for name, desc := range refs {
		ref, err := image.ParseReference(name)
		if err != nil || ref.Domain != q.to.Domain || ref.Path == q.to.Path {
			continue
		}
		other, err := q.p.Images.Load(desc)
		if err != nil {
			continue // it is of no help here; Check tells of it
		}
		for _, l := range other.Layers {
			if d := l.Blob.Digest; !slices.Contains(from[d], ref.Path) {
				from[d] = append(from[d], ref.Path)
			}
		}
	}
	for _, list := range from {
		slices.Sort(list)
	}
	return from, nil
}

func (q *push) emit(e Event) {
	if q.o.Progress == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o.Progress(e)
}

// index is what the name stands for in the registry, with the image in it.
func (q *push) index(ctx context.Context, m ispec.Descriptor) (Manifest, error) {
	index := ispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ispec.MediaTypeImageIndex}
	old, err := q.p.Client.Manifest(ctx, q.to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Manifest{}, err
	case image.IsIndex(old.MediaType):
		if index, err = image.ParseIndex(old.Raw); err != nil {
			return Manifest{}, err
		}
		index.MediaType = ispec.MediaTypeImageIndex // in which Docker's manifests may be, too
	default:
		entry, err := q.single(ctx, old)
		if err != nil {
			return Manifest{}, err
		}
		index.Manifests = []ispec.Descriptor{entry}
	}
	m.Platform = q.img.Manifest.Platform
	index.Manifests = merged(index.Manifests, m)
	raw, err := json.Marshal(index)
	if err != nil {
		return Manifest{}, err
	}
	if len(raw) > image.MaxManifestSize {
		return Manifest{}, fmt.Errorf("%d bytes, at most %d are accepted", len(raw), image.MaxManifestSize)
	}
	return Manifest{Descriptor: ispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, Raw: raw}, nil
}

// single is the entry of a manifest that had the name alone: its platform is in
// its configuration.
func (q *push) single(ctx context.Context, m Manifest) (ispec.Descriptor, error) {
	manifest, err := image.ParseManifest(m.Raw)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	config, err := q.p.Client.Blob(ctx, q.to, manifest.Config, image.MaxConfigSize)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	c, err := image.ParseConfig(config, len(manifest.Layers))
	if err != nil {
		return ispec.Descriptor{}, err
	}
	entry := ispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
	entry.Platform = &ispec.Platform{OS: c.OS, OSVersion: c.OSVersion, Architecture: c.Architecture, Variant: c.Variant}
	return entry, nil
}

// referrer names, in the entries that buildkit makes, what they are about.
const referrer = "vnd.docker.reference.digest"

// merged is a list with an entry in it, instead of those of its platform and of
// what was about them.
func merged(list []ispec.Descriptor, m ispec.Descriptor) []ispec.Descriptor {
	gone := map[string]bool{}
	for _, e := range list {
		if e.Digest == m.Digest || e.Platform != nil && image.SamePlatform(*e.Platform, *m.Platform) {
			gone[e.Digest.String()] = true
		}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(e ispec.Descriptor) bool {
		return gone[e.Digest.String()] || gone[e.Annotations[referrer]]
	})
	return append(list, m)
}
