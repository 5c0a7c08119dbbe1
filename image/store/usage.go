package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// BlobUsage is what blobs take.
type BlobUsage struct {
	Blobs int
	Bytes int64 // of all, those that have come in part included
	// Needed are the bytes of those that belong to the images asked about.
	Needed int64
}

// BlobUsage adds up the blobs, and those that the given images consist of.
// What two of them share counts once.
func (m *Images) BlobUsage(images []Image) (BlobUsage, error) {
	needed := map[digest.Digest]bool{}
	for _, img := range images {
		for _, d := range img.blobs() {
			needed[d] = true
		}
	}
	var u BlobUsage
	for b, err := range m.Blobs.Blobs() {
		if err != nil {
			return u, err
		}
		u.Blobs++
		u.Bytes += b.Size
		if needed[b.Digest] {
			u.Needed += b.Size
		}
	}
	list, err := m.Blobs.partials()
	for _, d := range list {
		if info, err := os.Lstat(m.Blobs.partial(d)); err == nil {
			u.Bytes += info.Size()
		}
	}
	return u, err
}

// kept returns the images that containers were made of, as far as they are
// still here whole.
func (m *Images) kept(ctx context.Context) ([]Image, error) {
	if m.Keep == nil {
		return nil, nil
	}
	manifests, err := m.Keep(ctx)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, d := range manifests {
		img, err := m.LoadDigest(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// LoadDigest is Load by the digest of a manifest alone.
func (m *Images) LoadDigest(d digest.Digest) (Image, error) {
	size, err := m.Blobs.Stat(d)
	if err != nil {
		return Image{}, err
	}
	desc := ispec.Descriptor{Digest: d, Size: size}
	raw, err := m.Blobs.Read(desc, image.MaxManifestSize)
	if err != nil {
		return Image{}, err
	}
	if desc.MediaType, err = image.DetectManifest("", raw); err != nil {
		return Image{}, fmt.Errorf("blob %s: %w", d, err)
	}
	return m.Load(desc)
}
