package store

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/ocitar"
)

// What an archive of images has at most: names are kept, and an extended header has
// room for a MiB of each.
const (
	maxArchived     = 100_000 // entries
	maxArchivedName = 1 << 10 // bytes of a name, or of what a link leads to
)

// LoadOptions say what to make of an archive.
type LoadOptions struct {
	Platforms []ispec.Platform // which to take where there are several, the best first; at least one
	OSVersion string           // of this host; empty: any image's will do
	Name      image.Reference  // for an image that has no name in the archive; at most one may
	Bytes     int64            // at most, of the plain archive; zero: 256 GiB, negative: no limit
}

// LoadArchive reads images from an archive, plain or compressed with gzip or
// zstd, read to its end: an OCI layout, or what docker save writes, old and new.
// All is verified, unpacked and named; names that were there before are moved, and
// blobs that are here but damaged replaced. A load that fails leaves nothing behind.
// ocitar.ErrLimit is the error of an archive that is larger than the options allow, or
// whose compressed data grow as those of a layer may not; who means it decompresses it
// first.
func (m *Images) LoadArchive(ctx context.Context, r io.Reader, o LoadOptions) ([]Image, error) {
	l := &loading{m: m, o: o, lease: m.Blobs.Lease(), files: map[string]ispec.Descriptor{}, links: map[string]string{}, docs: map[string][]byte{}}
	images, err := l.run(ctx, r)
	l.lease.Release()
	only := map[pin]bool{}
	for _, d := range l.wrote {
		only[pin{false, d}] = true
	}
	if err != nil {
		for _, c := range l.made {
			only[pin{true, c}] = true
		}
	}
	if len(only) > 0 { // also after a success: what no image needs
		_, pruneErr := m.prune(context.WithoutCancel(ctx), only)
		err = errors.Join(err, pruneErr)
	}
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	return images, nil
}

type loading struct {
	m     *Images
	o     LoadOptions
	lease *Lease
	wrote []digest.Digest // blobs
	made  []digest.Digest // chains

	files map[string]ispec.Descriptor // by name; without a media type
	links map[string]string
	docs  map[string][]byte
}

func (l *loading) run(ctx context.Context, r io.Reader) ([]Image, error) {
	if err := l.read(ctx, r); err != nil {
		return nil, err
	}
	var found []Image
	var err error
	switch {
	case l.docs[archiveIndex] != nil:
		found, err = l.layout()
	case l.docs[archiveDocker] != nil:
		found, err = l.docker(ctx)
	default:
		err = fmt.Errorf("there is neither %s nor %s in it: it is no archive of images (xc import makes an image of a root file system)", archiveIndex, archiveDocker)
	}
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("there are no images in it")
	}
	for _, img := range found {
		if img.Name == (image.Reference{}) {
			return nil, fmt.Errorf("image %s has no name in the archive: give it one", img.ConfigID)
		}
		l.lease.Pin(img)
		for _, layer := range img.Layers {
			created, err := l.m.Unroll(ctx, layer, nil)
			if created {
				l.made = append(l.made, layer.Chain)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for _, img := range found { // names last, when all is there
		if err := l.m.Put(ctx, img); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// read takes what is in the archive: files as blobs.
func (l *loading) read(ctx context.Context, r io.Reader) error {
	raw := &counted{r: contextReader{ctx, r}}
	in := bufio.NewReaderSize(raw, 64<<10)
	magic, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read archive: %w", err)
	}
	_, open, err := decompressor(magic)
	if err != nil {
		return err
	}
	plain := bound(in, nil, l.o.Bytes)
	if open != nil {
		z, closeReader, err := open(in)
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		defer closeReader()
		plain = bound(z, raw, l.o.Bytes)
	}
	entries := tar.NewReader(plain)
	for n := 0; ; n++ {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if n == maxArchived {
			return fmt.Errorf("the archive has more than %d entries", maxArchived)
		}
		if err := l.entry(ctx, h, entries); err != nil {
			return fmt.Errorf("archive entry %.200q: %w", h.Name, err)
		}
	}
	// To its end, for who writes into a pipe: first what is compressed, which is
	// read ahead of us, and then what may follow.
	_, err = io.Copy(io.Discard, plain)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return nil
}

func (l *loading) entry(ctx context.Context, h *tar.Header, r io.Reader) (err error) {
	if sparse(h) {
		return fmt.Errorf("sparse files, which no archive of images has: %w", errors.ErrUnsupported)
	}
	if n := max(len(h.Name), len(h.Linkname)); n > maxArchivedName {
		return fmt.Errorf("a name of %d bytes, at most %d are accepted: %w", n, maxArchivedName, ocitar.ErrLimit)
	}
	name := path.Clean("/" + h.Name)[1:]
	switch h.Typeflag {
	case tar.TypeSymlink:
		l.links[name] = path.Clean("/" + path.Join(path.Dir(name), h.Linkname))[1:]
		return nil
	case tar.TypeLink:
		l.links[name] = path.Clean("/" + h.Linkname)[1:]
		return nil
	case tar.TypeReg:
	default:
		return nil
	}
	if name == archiveIndex || name == archiveDocker {
		if h.Size > image.MaxManifestSize {
			return fmt.Errorf("%d bytes, at most %d are accepted", h.Size, image.MaxManifestSize)
		}
		l.docs[name], err = io.ReadAll(r)
		return err
	}
	desc := ispec.Descriptor{Digest: blobDigest(name), Size: h.Size}
	if desc.Digest != "" {
		l.lease.PinBlobs(desc.Digest)
		if size, err := l.m.Blobs.Stat(desc.Digest); err == nil && size == h.Size && l.m.Blobs.verify(ctx, desc.Digest) == nil {
			l.files[name] = desc
			return verifyEntry(r, name, desc.Digest)
		}
	}
	got, err := l.m.Blobs.Ingest(ctx, l.lease, "", r)
	if got.Digest != "" {
		l.wrote = append(l.wrote, got.Digest)
	}
	if err == nil && desc.Digest != "" && desc.Digest.Algorithm() == digest.SHA256 && got.Digest != desc.Digest {
		err = &image.MismatchError{What: "digest", Of: name, Want: desc.Digest.String(), Got: got.Digest.String()}
	}
	l.files[name] = got
	return err
}

// verifyEntry reads what is here already: it is not needed, but an archive that has it
// damaged is not to be called good.
func verifyEntry(r io.Reader, name string, want digest.Digest) error {
	got, err := want.Algorithm().FromReader(r)
	if err == nil && got != want {
		err = &image.MismatchError{What: "digest", Of: name, Want: want.String(), Got: got.String()}
	}
	return err
}

// sparse says that an entry has holes, which archive/tar fills: a header is enough for
// a file of any size. The PAX form is as a regular file but for its records (GNU tar's
// manual, Sparse Formats).
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// blobDigest is the digest that a file of a layout is named by, "" if it is by none.
func blobDigest(name string) digest.Digest {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != ispec.ImageBlobsDir {
		return ""
	}
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	if image.CheckDigest(d) != nil || d.Algorithm() != digest.SHA256 {
		return ""
	}
	return d
}

// layout finds the images of an OCI layout.
func (l *loading) layout() ([]Image, error) {
	index, err := image.ParseIndex(l.docs[archiveIndex])
	if err != nil {
		return nil, err
	}
	var found []Image
	for _, desc := range index.Manifests {
		img, err := l.described(desc)
		if err != nil {
			return nil, err
		}
		names, err := l.names([]string{desc.Annotations[annotationName], desc.Annotations[ispec.AnnotationRefName]})
		if err != nil {
			return nil, err
		}
		img.Name = names[0]
		found = append(found, img)
	}
	return found, nil
}

// described loads the image of a descriptor, through indexes if need be.
func (l *loading) described(desc ispec.Descriptor) (Image, error) {
	top := desc
	for depth := 0; image.IsIndex(desc.MediaType); depth++ {
		if depth == 3 {
			return Image{}, errors.New("indexes are nested too deeply")
		}
		raw, err := l.m.Blobs.Read(desc, image.MaxManifestSize)
		if err != nil {
			return Image{}, err
		}
		list, err := image.ParseIndex(raw)
		if err != nil {
			return Image{}, err
		}
		choice, err := image.Select(list, l.o.Platforms, l.o.OSVersion)
		if err != nil {
			return Image{}, err
		}
		desc = choice.Descriptor
	}
	img, err := l.m.Load(ispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size})
	if err == nil && top.Digest != desc.Digest {
		img.Index = top.Digest
	}
	return img, err
}

// names are the references among what an archive says an image is called, or
// the one that was given for an image without a name. A tag alone is no name.
func (l *loading) names(said []string) ([]image.Reference, error) {
	var names []image.Reference
	for _, s := range said {
		if !strings.ContainsAny(s, ":/") {
			continue
		}
		ref, err := image.ParseReference(s)
		if err != nil {
			return nil, err
		}
		if ref.Digest = ""; ref.Tag != "" && !slices.Contains(names, ref) {
			names = append(names, ref)
		}
	}
	if len(names) == 0 {
		name := l.o.Name
		l.o.Name = image.Reference{} // one image's only
		names = append(names, name)
	}
	return names, nil
}

// docker finds the images of docker save: a manifest is made for each.
func (l *loading) docker(ctx context.Context) ([]Image, error) {
	var list []dockerManifest
	if err := json.Unmarshal(l.docs[archiveDocker], &list); err != nil {
		return nil, fmt.Errorf("parse %s: %w", archiveDocker, err)
	}
	var found []Image
	for _, d := range list {
		img, err := l.dockerImage(ctx, d)
		if err != nil {
			return nil, err
		}
		names, err := l.names(d.RepoTags)
		if err != nil {
			return nil, err
		}
		for _, img.Name = range names {
			found = append(found, img)
		}
	}
	return found, nil
}

func (l *loading) dockerImage(ctx context.Context, d dockerManifest) (Image, error) {
	if len(d.Layers) > image.MaxLayers {
		return Image{}, fmt.Errorf("%d layers, at most %d are supported", len(d.Layers), image.MaxLayers)
	}
	config, err := l.file(d.Config)
	if err != nil {
		return Image{}, err
	}
	config.MediaType = ispec.MediaTypeImageConfig
	manifest := ispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ispec.MediaTypeImageManifest, Config: config, Layers: []ispec.Descriptor{}}
	for _, name := range d.Layers {
		layer, err := l.file(name)
		if err != nil {
			return Image{}, err
		}
		if layer.MediaType, err = l.compression(layer.Digest); err != nil {
			return Image{}, err
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	desc, err := l.m.writeJSON(ctx, l.lease, ispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return Image{}, err
	}
	l.wrote = append(l.wrote, desc.Digest)
	return l.m.Load(desc)
}

// file finds a file of the archive; old archives have links to layers that are
// in them already.
func (l *loading) file(name string) (ispec.Descriptor, error) {
	at := path.Clean("/" + name)[1:]
	for range 10 {
		if desc, ok := l.files[at]; ok {
			return desc, nil
		}
		next, ok := l.links[at]
		if !ok {
			break
		}
		at = next
	}
	return ispec.Descriptor{}, fmt.Errorf("%.200q is not in the archive: %w", name, fs.ErrNotExist)
}

// compression tells the media type of a layer by its first bytes.
func (l *loading) compression(d digest.Digest) (string, error) {
	f, err := l.m.Blobs.Open(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	magic := make([]byte, 6)
	n, err := io.ReadFull(f, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	mediaType, _, err := decompressor(magic[:n])
	return mediaType, err
}
