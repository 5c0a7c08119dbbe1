package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/flight"
	"github.com/joyboyid/xc/image/store"
)

// Phase is what happens to a layer.
type Phase string

// A layer goes through some of these, in this order.
const (
	Exists      Phase = "exists"      // blob and chain are here already; nothing follows
	Waiting     Phase = "waiting"     // for its turn to be downloaded
	Downloading Phase = "downloading" // Current of Total bytes are here
	Downloaded  Phase = "downloaded"  // and verified
	Unpacking   Phase = "unpacking"
	Done        Phase = "done"
)

// Event is a step of a pull.
type Event struct {
	Layer   digest.Digest // of the blob
	Phase   Phase
	Current int64 // bytes of the blob that are here
	Total   int64 // bytes of the blob
}

// Puller brings images into a store. Pulls share work only within one Puller.
// No field may change once it is in use; it may be used by many goroutines at
// once.
type Puller struct {
	Images   *store.Images
	Client   *Client
	Parallel int // downloads of one pull at the same time; 4 if 0

	blobs flight.Group[digest.Digest, int64]
}

// Options of a pull.
type Options struct {
	Platforms []ispec.Platform // acceptable ones, the best first; at least one
	OSVersion string           // of this host, such as 14.3-RELEASE; empty: any image's will do
	Progress  func(Event)      // told what happens, one event at a time; must not block; may be nil
}

// Result is what a pull has brought.
type Result struct {
	store.Image
	Warning string // to be shown: the image may not run here; mostly empty
	Updated bool   // the name was not there, or meant another image
}

// Pull brings an image here, unpacked, and names it. What was already here is
// not fetched again. It ends with everything in place, or with an error, and
// then the name is what it was before.
//
// An error that matches fs.ErrNotExist tells that the registry does not have
// it, or a part of it; *image.NoPlatformError, that it is not there for the
// platforms; *image.MismatchError, that something was not what it was said to
// be. What came before such an error is removed. After any other failure the
// next pull goes on.
func (p *Puller) Pull(ctx context.Context, ref image.Reference, o Options) (Result, error) {
	q := &pull{p: p, ref: ref, o: o, lease: p.Images.Blobs.Lease()}
	result, err := q.run(ctx)
	q.lease.Release()
	if err == nil {
		return result, nil
	}
	err = fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	if q.img.Manifest.Digest != "" && q.hopeless(err) {
		err = errors.Join(err, p.Images.Scrap(context.WithoutCancel(ctx), q.img, q.made))
	}
	return Result{}, err
}

// hopeless tells whether what was fetched before the error is of no use.
func (q *pull) hopeless(err error) bool {
	var mismatch *image.MismatchError
	var status *StatusError
	return !q.described || errors.As(err, &mismatch) || errors.As(err, &status) && !transient(err)
}

// pull is one pull.
type pull struct {
	p     *Puller
	ref   image.Reference
	o     Options
	lease *store.Lease
	img   store.Image // as far as it is known

	described bool // img is known to the end

	mu   sync.Mutex // serialises events, guards made
	made []digest.Digest
}

func (q *pull) run(ctx context.Context) (Result, error) {
	warning, err := q.describe(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := q.layers(ctx); err != nil {
		return Result{}, err
	}
	old, err := q.p.Images.Refs.Resolve(ctx, q.ref.String())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Result{}, err
	}
	updated := err != nil || old.Digest != q.img.Manifest.Digest
	if err := q.p.Images.Put(ctx, q.img); err != nil {
		return Result{}, err
	}
	return Result{Image: q.img, Warning: warning, Updated: updated}, nil
}

// describe fetches manifest and configuration, and pins what they name.
func (q *pull) describe(ctx context.Context) (warning string, err error) {
	raw, index, warning, err := q.manifest(ctx)
	if err != nil {
		return "", err
	}
	manifest, err := image.ParseManifest(raw.Raw)
	if err != nil {
		return "", err
	}
	q.img.Manifest, q.img.ConfigID = raw.Descriptor, manifest.Config.Digest
	q.lease.PinBlobs(raw.Digest, manifest.Config.Digest)
	if err := q.p.keep(ctx, raw); err != nil {
		return "", err
	}
	if err := q.p.fetch(ctx, q.ref, manifest.Config, nil); err != nil {
		return "", fmt.Errorf("image config: %w", err)
	}
	img, err := q.p.Images.Load(raw.Descriptor)
	if err != nil {
		return "", err
	}
	is := ispec.Platform{OS: img.Config.OS, Architecture: img.Config.Architecture, Variant: img.Config.Variant, OSVersion: img.Config.OSVersion}
	if !slices.ContainsFunc(q.o.Platforms, func(want ispec.Platform) bool { return image.Match(want, is) }) {
		return "", &image.NoPlatformError{Want: q.o.Platforms, Have: []ispec.Platform{is}}
	}
	if warning == "" {
		warning = image.Newer(is, q.o.OSVersion)
	}
	img.Name, img.Index = q.ref, index
	q.img, q.described = img, true
	q.lease.Pin(img)
	return warning, nil
}

// manifest fetches the manifest for the platform, through indexes if need be.
func (q *pull) manifest(ctx context.Context) (m Manifest, index digest.Digest, warning string, err error) {
	if len(q.o.Platforms) == 0 {
		return m, "", "", errors.New("no platform was asked for")
	}
	if m, err = q.p.Client.Manifest(ctx, q.ref); err != nil {
		return m, "", "", err
	}
	for depth := 0; image.IsIndex(m.MediaType); depth++ {
		if depth == 3 {
			return m, "", "", errors.New("indexes are nested too deeply")
		}
		list, err := image.ParseIndex(m.Raw)
		if err != nil {
			return m, "", "", err
		}
		choice, err := image.Select(list, q.o.Platforms, q.o.OSVersion)
		if err != nil {
			return m, "", "", err
		}
		if index == "" {
			index = m.Digest
		}
		warning = choice.Warning
		child, err := q.p.Client.Manifest(ctx, image.Reference{Domain: q.ref.Domain, Path: q.ref.Path, Digest: choice.Digest})
		if err != nil {
			return m, "", "", err
		}
		if child.Size != choice.Size {
			return m, "", "", &image.MismatchError{What: "size", Of: choice.Digest.String(), Want: fmt.Sprint(choice.Size), Got: fmt.Sprint(child.Size)}
		}
		m = child
	}
	return m, index, warning, nil
}
