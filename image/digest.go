package image

import (
	// go-digest registers no hash by itself.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits on what a registry may send. Docker's own registry takes manifests of
// at most 4 MiB; overlayfs stacks at most 500 layers (OVL_MAX_STACK).
const (
	MaxManifestSize = 4 << 20 // bytes, of an index too
	MaxConfigSize   = 4 << 20 // bytes
	MaxLayers       = 500
)

// CheckDigest refuses whatever is not a well-formed sha256 or sha512 digest in
// lower-case hex. Everything that becomes a file name, a URL or an argument of
// umoci (which ends the process on an algorithm it does not know) passes here.
func CheckDigest(d digest.Digest) error {
	const longest = len("sha512:") + 128
	if len(d) > longest {
		return fmt.Errorf("digest of %d bytes is too long", len(d))
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", string(d), err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fmt.Errorf("digest %q: %w: only sha256 and sha512 are accepted", string(d), digest.ErrDigestUnsupported)
	}
	return nil
}

// CheckDescriptor refuses a descriptor whose digest is not one or whose size,
// in bytes, is negative.
func CheckDescriptor(d ispec.Descriptor) error {
	if err := CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("size of %s is negative: %d", d.Digest, d.Size)
	}
	return nil
}

// MismatchError is content that is not what was promised. Nothing of it has
// become visible when it is returned.
type MismatchError struct {
	What string // digest, size (in bytes) or diff id
	Of   string // what it belongs to: a digest or a reference
	Want string // as the manifest or the configuration has it
	Got  string // as computed from the content
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s of %s does not match: expected %s, got %s", e.What, e.Of, e.Want, e.Got)
}

// Verify compares b with the digest and size that were promised for it.
func Verify(d ispec.Descriptor, b []byte) error {
	if err := CheckDescriptor(d); err != nil {
		return err
	}
	if int64(len(b)) != d.Size {
		return &MismatchError{What: "size", Of: d.Digest.String(), Want: fmt.Sprint(d.Size), Got: fmt.Sprint(len(b))}
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return &MismatchError{What: "digest", Of: d.MediaType, Want: d.Digest.String(), Got: got.String()}
	}
	return nil
}
