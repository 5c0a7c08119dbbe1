package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// maxWindow bounds the memory that a zstd archive may ask for, in bytes: what
// zstd(1) itself accepts without --long.
const maxWindow = 128 << 20

// ImportOptions describe the image that is made of a root file system.
type ImportOptions struct {
	Name     image.Reference   // required; no digest
	Platform ispec.Platform    // os and architecture are required
	Config   ispec.ImageConfig // command, environment, user and so on
	Comment  string            // for the history
	Created  time.Time         // now, if zero
	Bytes    int64             // at most, of the archive as it is and plain; zero: 256 GiB, negative: no limit
}

// Import makes an image of one layer of a tar archive, plain or compressed with
// gzip or zstd, and names it. A name that was there before is moved. An import
// that fails leaves nothing behind. ocitar.ErrLimit is the error of an archive that is
// larger than the options allow.
func (m *Images) Import(ctx context.Context, archive io.Reader, o ImportOptions) (Image, error) {
	img, err := m.importArchive(ctx, archive, o)
	if err != nil {
		return Image{}, fmt.Errorf("import %s: %w", o.Name.Familiar(), err)
	}
	return img, nil
}

func (m *Images) importArchive(ctx context.Context, archive io.Reader, o ImportOptions) (img Image, err error) {
	switch {
	case o.Name == image.Reference{}:
		return img, errors.New("a name is required")
	case o.Name.Digest != "":
		return img, errors.New("a name cannot have a digest")
	case o.Platform.OS == "" || o.Platform.Architecture == "":
		return img, errors.New("a platform is required: os and architecture")
	}
	if o.Created.IsZero() {
		o.Created = time.Now()
	}
	lease := m.Blobs.Lease()
	img, err = m.writeImage(ctx, lease, archive, o)
	created := false
	if err == nil {
		created, err = m.Unroll(ctx, img.Layers[0], nil)
	}
	if err == nil {
		err = m.Put(ctx, img)
	}
	lease.Release()
	if err != nil {
		var chains []digest.Digest
		if created {
			chains = []digest.Digest{img.Chain}
		}
		return img, errors.Join(err, m.Scrap(context.WithoutCancel(ctx), img, chains))
	}
	return img, nil
}

// writeImage writes the blobs. What it returns has those that were written even
// if it fails.
func (m *Images) writeImage(ctx context.Context, lease *Lease, archive io.Reader, o ImportOptions) (Image, error) {
	var img Image
	layer, diffID, err := m.ingestLayer(ctx, lease, archive, o.Bytes)
	if layer.Digest != "" {
		img.Layers = []Layer{{Blob: layer}}
	}
	if err != nil {
		return img, err
	}
	created := o.Created.UTC()
	config := ispec.Image{
		Created:  &created,
		Platform: o.Platform,
		Config:   o.Config,
		RootFS:   ispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
		History:  []ispec.History{{Created: &created, CreatedBy: "xc import", Comment: o.Comment}},
	}
	configDesc, err := m.writeJSON(ctx, lease, ispec.MediaTypeImageConfig, config)
	if err != nil {
		return img, err
	}
	img.ConfigID = configDesc.Digest
	manifest := ispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ispec.MediaTypeImageManifest,
		Config:    configDesc,
		Layers:    []ispec.Descriptor{layer},
	}
	if img.Manifest, err = m.writeJSON(ctx, lease, ispec.MediaTypeImageManifest, manifest); err != nil {
		return img, err
	}
	// Read back, so that what was written is what will be read.
	read, err := m.Load(img.Manifest)
	if err != nil {
		return img, err
	}
	read.Name = o.Name
	lease.Pin(read)
	return read, nil
}

// ingestLayer writes the archive as a blob and computes its diff id on the way. Neither
// as it is nor plain may it have more than limit bytes.
func (m *Images) ingestLayer(ctx context.Context, lease *Lease, archive io.Reader, limit int64) (ispec.Descriptor, digest.Digest, error) {
	in := bufio.NewReaderSize(bound(archive, nil, limit), 64<<10)
	magic, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return ispec.Descriptor{}, "", fmt.Errorf("read archive: %w", err)
	}
	mediaType, open, err := decompressor(magic)
	if err != nil {
		return ispec.Descriptor{}, "", err
	}
	if open == nil {
		desc, err := m.Blobs.Ingest(ctx, lease, mediaType, in)
		return desc, desc.Digest, err
	}
	pr, pw := io.Pipe()
	type result struct {
		diffID digest.Digest
		err    error
	}
	done := make(chan result, 1)
	go func() {
		d, err := digestUncompressed(pr, open, limit)
		_ = pr.CloseWithError(err) // always nil; a failure stops the writer
		done <- result{d, err}
	}()
	desc, err := m.Blobs.Ingest(ctx, lease, mediaType, io.TeeReader(in, pw))
	_ = pw.CloseWithError(err) // always nil; nil reads as the end
	r := <-done
	if r.err != nil {
		return desc, "", fmt.Errorf("decompress archive: %w", r.err)
	}
	return desc, r.diffID, err
}

// decompressor tells the compression of an archive by its first bytes.
func decompressor(magic []byte) (mediaType string, open func(io.Reader) (io.Reader, func(), error), err error) {
	has := func(prefix string) bool { return bytes.HasPrefix(magic, []byte(prefix)) }
	switch {
	case has("\x1f\x8b"):
		return ispec.MediaTypeImageLayerGzip, openGzip, nil
	case has("\x28\xb5\x2f\xfd"):
		return ispec.MediaTypeImageLayerZstd, openZstd, nil
	case has("\xfd7zXZ\x00"):
		return "", nil, errors.New("archives compressed with xz are not supported: decompress it first (xz -dc)")
	case has("BZh"):
		return "", nil, errors.New("archives compressed with bzip2 are not supported: decompress it first (bzip2 -dc)")
	case len(magic) == 0:
		return "", nil, errors.New("the archive is empty")
	}
	return ispec.MediaTypeImageLayer, nil, nil
}

func openGzip(r io.Reader) (io.Reader, func(), error) {
	z, err := gzip.NewReader(r)
	return z, func() {}, err
}

func openZstd(r io.Reader) (io.Reader, func(), error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

// digestUncompressed reads all of r.
func digestUncompressed(r io.Reader, open func(io.Reader) (io.Reader, func(), error), limit int64) (digest.Digest, error) {
	raw := &counted{r: r}
	z, closeReader, err := open(raw)
	if err != nil {
		return "", err
	}
	defer closeReader()
	d := digest.SHA256.Digester()
	if _, err := io.Copy(d.Hash(), bound(z, raw, limit)); err != nil {
		return "", err
	}
	// The decompressor may stop short of the end of the pipe.
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return "", err
	}
	return d.Digest(), nil
}
