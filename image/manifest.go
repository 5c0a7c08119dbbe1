package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types, image manifest version 2, schema 2. The objects have
// the same shape as the OCI ones that grew out of them.
const (
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerConfig       = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	MediaTypeDockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaTypeDockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	MediaTypeDockerForeign      = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	MediaTypeDockerForeignGzip  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// ErrForeignLayer is a layer that its registry does not have and that may only
// be fetched from an address the manifest names. xc does not.
var ErrForeignLayer = errors.New("foreign layers are not supported")

// ManifestTypes are the media types to ask a registry for.
func ManifestTypes() []string {
	return []string{
		ispec.MediaTypeImageIndex, ispec.MediaTypeImageManifest,
		MediaTypeDockerManifestList, MediaTypeDockerManifest,
	}
}

// IsIndex tells whether the media type is that of an index or a manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsManifest tells whether the media type is that of one image's manifest.
func IsManifest(mediaType string) bool {
	return mediaType == ispec.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest
}

// shape is what tells an index from a manifest. A document that could be read
// as both is refused, since two readers could see two images under one digest
// (CVE-2021-41190).
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// DetectManifest returns the media type of an index or manifest, from what the
// server said (contentType, may be empty or generic) and from the document
// itself, which must not disagree.
func DetectManifest(contentType string, b []byte) (string, error) {
	if len(b) > MaxManifestSize {
		return "", fmt.Errorf("manifest is larger than %d bytes", MaxManifestSize)
	}
	var s shape
	if err := json.Unmarshal(b, &s); err != nil {
		return "", fmt.Errorf("parse manifest: %w", err)
	}
	if s.SchemaVersion != 2 {
		return "", fmt.Errorf("manifest has schema version %d: only version 2 is supported; the image has to be pushed anew", s.SchemaVersion)
	}
	index := len(s.Manifests) != 0
	single := len(s.Config) != 0 || len(s.Layers) != 0 || len(s.FSLayers) != 0
	if index == single {
		return "", errors.New("manifest is ambiguous: it must have either manifests or config and layers")
	}
	said, _, err := mime.ParseMediaType(contentType)
	if err != nil || !IsIndex(said) && !IsManifest(said) {
		said = ""
	}
	switch {
	case s.MediaType == "":
	case said == "":
		said = s.MediaType
	case said != s.MediaType:
		return "", fmt.Errorf("manifest says it is %q, but was given as %q", s.MediaType, said)
	}
	switch {
	case said == "" && index:
		return ispec.MediaTypeImageIndex, nil
	case said == "":
		return ispec.MediaTypeImageManifest, nil
	case IsIndex(said) && index, IsManifest(said) && single:
		return said, nil
	}
	return "", fmt.Errorf("manifest has the media type %q, which is not supported or does not fit its content", said)
}

// ParseIndex reads an OCI index or a Docker manifest list.
func ParseIndex(b []byte) (ispec.Index, error) {
	var index ispec.Index
	mediaType, err := DetectManifest("", b)
	if err != nil {
		return index, err
	}
	if !IsIndex(mediaType) {
		return index, fmt.Errorf("parse index: it is a %s", mediaType)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return index, fmt.Errorf("parse index: %w", err)
	}
	for i, m := range index.Manifests {
		if err := CheckDescriptor(m); err != nil {
			return index, fmt.Errorf("parse index: entry %d: %w", i, err)
		}
	}
	return index, nil
}

// ParseManifest reads the manifest of one image, OCI or Docker schema 2. Its
// layers are tars, plain or compressed with gzip or zstd; foreign layers are
// refused with ErrForeignLayer, other artifacts by their media types.
func ParseManifest(b []byte) (ispec.Manifest, error) {
	var m ispec.Manifest
	mediaType, err := DetectManifest("", b)
	if err != nil {
		return m, err
	}
	if !IsManifest(mediaType) {
		return m, fmt.Errorf("parse manifest: it is a %s", mediaType)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("parse manifest: %w", err)
	}
	if err := checkConfigDescriptor(m); err != nil {
		return m, fmt.Errorf("parse manifest: config: %w", err)
	}
	if len(m.Layers) > MaxLayers {
		return m, fmt.Errorf("parse manifest: %d layers, at most %d are supported", len(m.Layers), MaxLayers)
	}
	for i, l := range m.Layers {
		if err := checkLayer(l); err != nil {
			return m, fmt.Errorf("parse manifest: layer %d: %w", i, err)
		}
	}
	return m, nil
}

func checkConfigDescriptor(m ispec.Manifest) error {
	if err := CheckDescriptor(m.Config); err != nil {
		return err
	}
	if t := m.Config.MediaType; t != ispec.MediaTypeImageConfig && t != MediaTypeDockerConfig {
		kind := t
		if m.ArtifactType != "" {
			kind = m.ArtifactType
		}
		return fmt.Errorf("not a container image but a %q", kind)
	}
	if m.Config.Size > MaxConfigSize {
		return fmt.Errorf("%d bytes, at most %d are accepted", m.Config.Size, MaxConfigSize)
	}
	return nil
}

func checkLayer(l ispec.Descriptor) error {
	if err := CheckDescriptor(l); err != nil {
		return err
	}
	switch l.MediaType {
	case ispec.MediaTypeImageLayer, ispec.MediaTypeImageLayerGzip, ispec.MediaTypeImageLayerZstd,
		MediaTypeDockerLayer, MediaTypeDockerLayerGzip, MediaTypeDockerLayerZstd:
		return nil
	// The OCI types are deprecated in image-spec, which is the reason to know them.
	case MediaTypeDockerForeign, MediaTypeDockerForeignGzip,
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return fmt.Errorf("%s: %w", l.Digest, ErrForeignLayer)
	}
	return fmt.Errorf("%s: layers of the media type %q are not supported", l.Digest, l.MediaType)
}

// OCILayer is the media type of a layer as OCI has it: Docker's mean the same.
func OCILayer(mediaType string) string {
	switch mediaType {
	case MediaTypeDockerLayer:
		return ispec.MediaTypeImageLayer
	case MediaTypeDockerLayerGzip:
		return ispec.MediaTypeImageLayerGzip
	case MediaTypeDockerLayerZstd:
		return ispec.MediaTypeImageLayerZstd
	}
	return mediaType
}
