// Package imagetest makes small images and keeps small roots, for tests.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// Blob is content under its descriptor.
type Blob struct {
	ispec.Descriptor
	Data []byte
}

// NewBlob describes data.
func NewBlob(mediaType string, data []byte) Blob {
	return Blob{ispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

// Layer is a layer with what its configuration has to say of it.
type Layer struct {
	Blob
	DiffID digest.Digest
}

// Tar archives files by name; a name that ends in a slash is a directory.
func Tar(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if name[len(name)-1] == '/' {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// NewLayer archives files and compresses them as the media type has it.
func NewLayer(t testing.TB, mediaType string, files map[string]string) Layer {
	t.Helper()
	plain := Tar(t, files)
	return Layer{NewBlob(mediaType, Compress(t, mediaType, plain)), digest.FromBytes(plain)}
}

// Compress compresses as the media type has it.
func Compress(t testing.TB, mediaType string, plain []byte) []byte {
	t.Helper()
	switch mediaType {
	case ispec.MediaTypeImageLayerGzip, image.MediaTypeDockerLayerGzip:
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	case ispec.MediaTypeImageLayerZstd:
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(plain, nil)
	}
	return plain
}

// Image is an image ready to be pushed: all its blobs.
type Image struct {
	Manifest Blob
	Config   Blob
	Layers   []Layer
}

// Chain is the chain id of all layers.
func (i Image) Chain() digest.Digest {
	var diffs []digest.Digest
	for _, l := range i.Layers {
		diffs = append(diffs, l.DiffID)
	}
	return image.ChainID(diffs)
}

// NewImage makes an OCI image of layers.
func NewImage(t testing.TB, p ispec.Platform, layers ...Layer) Image {
	t.Helper()
	return newImage(t, ispec.MediaTypeImageManifest, ispec.MediaTypeImageConfig, p, layers)
}

// NewDockerImage makes an image of Docker's schema 2.
func NewDockerImage(t testing.TB, p ispec.Platform, layers ...Layer) Image {
	t.Helper()
	return newImage(t, image.MediaTypeDockerManifest, image.MediaTypeDockerConfig, p, layers)
}

func newImage(t testing.TB, manifestType, configType string, p ispec.Platform, layers []Layer) Image {
	t.Helper()
	config := ispec.Image{
		Platform: p,
		Config:   ispec.ImageConfig{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}},
		RootFS:   ispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	}
	manifest := ispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType, Layers: []ispec.Descriptor{}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	img := Image{Config: NewBlob(configType, JSON(t, config)), Layers: layers}
	manifest.Config = img.Config.Descriptor
	img.Manifest = NewBlob(manifestType, JSON(t, manifest))
	return img
}

// NewIndex makes an OCI index of images.
func NewIndex(t testing.TB, entries ...ispec.Descriptor) Blob {
	t.Helper()
	return NewBlob(ispec.MediaTypeImageIndex, JSON(t, ispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ispec.MediaTypeImageIndex, Manifests: entries,
	}))
}

// JSON marshals.
func JSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
