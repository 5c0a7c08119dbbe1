package image

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// maxReference bounds a reference, in bytes: 255 of name, a tag of 128, the
// longest digest, their separators, and the "docker.io/library/" that is added.
const maxReference = 1 << 10

const (
	defaultDomain = "docker.io"
	defaultTag    = "latest"
)

// Reference names an image in a registry. It is complete: what a user leaves
// out (the registry, library/, the tag) has been filled in. References may be
// compared with ==. The zero value names nothing.
type Reference struct {
	Domain string        // registry: host, host:port or [v6]:port
	Path   string        // repository in the registry, as library/alpine
	Tag    string        // empty if there is only a digest
	Digest digest.Digest // empty if there is only a tag; otherwise it decides
}

// ParseReference reads a reference as Docker's users write it: the registry
// defaults to docker.io, a single name there to library/NAME, and the tag to
// latest unless there is a digest. A tag beside a digest is kept.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, fmt.Errorf("parse image reference: %d bytes are too long, at most %d", len(s), maxReference)
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, fmt.Errorf("parse image reference %q: %w", s, err)
	}
	r := Reference{Domain: reference.Domain(named), Path: reference.Path(named)}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
		if err := CheckDigest(r.Digest); err != nil {
			return Reference{}, fmt.Errorf("parse image reference %q: %w", s, err)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	return r, nil
}

// Name is the repository with its registry: docker.io/library/alpine.
func (r Reference) Name() string {
	return r.Domain + "/" + r.Path
}

// String is the reference in full: docker.io/library/alpine:latest.
// ParseReference reads it back.
func (r Reference) String() string {
	return r.Name() + r.suffix()
}

// Familiar is the reference as a user would write it, for display: alpine:latest.
// ParseReference reads it back: where the short form would name something else
// (docker.io/my.org/app), it is String.
func (r Reference) Familiar() string {
	if r.Domain != defaultDomain {
		return r.String()
	}
	short := strings.TrimPrefix(r.Path, "library/") + r.suffix()
	if back, err := ParseReference(short); err != nil || back != r {
		return r.String()
	}
	return short
}

// Object is what to ask the registry for within the repository: the digest if
// there is one, else the tag.
func (r Reference) Object() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

func (r Reference) suffix() string {
	var s string
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// MarshalText writes the reference in full; the zero value as nothing.
func (r Reference) MarshalText() ([]byte, error) {
	if r == (Reference{}) {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText wrote, and whatever ParseReference reads.
func (r *Reference) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Reference{}
		return nil
	}
	parsed, err := ParseReference(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
