package store

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// annotationName is the reference in full, as containerd and Docker have it in
// an index.json; org.opencontainers.image.ref.name is the tag alone there.
const annotationName = "io.containerd.image.name"

// dockerManifest is what Docker's archives have in manifest.json for an image.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// names of the documents of an archive.
const (
	archiveIndex  = ispec.ImageIndexFile
	archiveDocker = "manifest.json"
)

// Save writes images as one archive, an OCI layout that also has the
// manifest.json of docker save: oci-archive and docker-archive in one. Those
// that are one image under several names are in it once. Blobs are verified on
// their way: it fails, and the archive ends, within one that is damaged. The caller
// has a lease on them.
func (m *Images) Save(ctx context.Context, w io.Writer, images []Image) error {
	a := &archive{m: m, w: tar.NewWriter(contextWriter{ctx, w}), seen: map[digest.Digest]bool{}}
	err := a.save(images)
	if err == nil {
		err = a.w.Close()
	}
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

type archive struct {
	m    *Images
	w    *tar.Writer
	seen map[digest.Digest]bool
}

func (a *archive) save(images []Image) error {
	index := ispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ispec.MediaTypeImageIndex, Manifests: []ispec.Descriptor{}}
	docker := []dockerManifest{}
	at := map[digest.Digest]int{}
	for _, img := range images {
		desc := ispec.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size, Platform: img.Manifest.Platform}
		desc.Annotations = map[string]string{annotationName: img.Name.String()}
		if img.Name.Tag != "" {
			desc.Annotations[ispec.AnnotationRefName] = img.Name.Tag
		}
		index.Manifests = append(index.Manifests, desc)
		i, known := at[img.Manifest.Digest]
		if !known {
			i = len(docker)
			at[img.Manifest.Digest] = i
			docker = append(docker, newDockerManifest(img))
		}
		if img.Name.Tag != "" {
			name := img.Name
			name.Digest = ""
			docker[i].RepoTags = append(docker[i].RepoTags, name.Familiar())
		}
	}
	// The documents first: who reads a stream then knows what is coming.
	for _, doc := range []struct {
		name string
		v    any
	}{{ispec.ImageLayoutFile, ispec.ImageLayout{Version: ispec.ImageLayoutVersion}}, {archiveIndex, index}, {archiveDocker, docker}} {
		b, err := json.Marshal(doc.v)
		if err != nil {
			return err
		}
		if err := a.file(doc.name, int64(len(b))); err != nil {
			return err
		}
		if _, err := a.w.Write(b); err != nil {
			return err
		}
	}
	for _, img := range images {
		for _, d := range img.blobs() {
			if err := a.blob(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func newDockerManifest(img Image) dockerManifest {
	d := dockerManifest{Config: blobName(img.ConfigID), RepoTags: []string{}, Layers: []string{}}
	for _, l := range img.Layers {
		d.Layers = append(d.Layers, blobName(l.Blob.Digest))
	}
	return d
}

func blobName(d digest.Digest) string {
	return ispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (a *archive) file(name string, size int64) error {
	return a.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size})
}

func (a *archive) blob(d digest.Digest) error {
	if a.seen[d] {
		return nil
	}
	a.seen[d] = true
	f, err := a.m.Blobs.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.file(blobName(d), info.Size()); err != nil {
		return err
	}
	return copyVerified(a.w, f, info.Size(), d)
}

// copyVerified copies a blob of that size. Its end is held back until all of it was
// verified: an archive that ends within a file is seen to be broken by all who read
// it, one that ends between two files is not.
func copyVerified(w io.Writer, r io.Reader, size int64, want digest.Digest) error {
	hash := want.Algorithm().Hash()
	r = io.TeeReader(io.LimitReader(r, size), hash)
	end := make([]byte, min(size, 512))
	if _, err := io.CopyN(w, r, size-int64(len(end))); err != nil {
		return fmt.Errorf("blob %s: %w", want, err)
	}
	if _, err := io.ReadFull(r, end); err != nil {
		return fmt.Errorf("blob %s: %w", want, err)
	}
	if got := digest.NewDigest(want.Algorithm(), hash); got != want {
		return &image.MismatchError{What: "digest", Of: "blob", Want: want.String(), Got: got.String()}
	}
	_, err := w.Write(end)
	return err
}

// contextWriter ends with its context, between two writes.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (w contextWriter) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// AcquireAll is Acquire of several images, with one lease.
func (m *Images) AcquireAll(ctx context.Context, find func(ctx context.Context) ([]Image, error)) ([]Image, *Lease, error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	images, err := find(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(images) == 0 {
		return nil, nil, errors.New("no images")
	}
	lease := m.Blobs.Lease()
	for _, img := range images {
		lease.Pin(img)
	}
	return images, lease, nil
}
