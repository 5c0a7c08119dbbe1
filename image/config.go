package image

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParseConfig reads the configuration of an image that has the given number of
// layers, OCI or Docker. There is exactly one diff id to each layer.
func ParseConfig(b []byte, layers int) (ispec.Image, error) {
	var c ispec.Image
	if len(b) > MaxConfigSize {
		return c, fmt.Errorf("parse image config: larger than %d bytes", MaxConfigSize)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("parse image config: %w", err)
	}
	if c.RootFS.Type != "layers" {
		return c, fmt.Errorf("parse image config: rootfs type %q is not %q", c.RootFS.Type, "layers")
	}
	if n := len(c.RootFS.DiffIDs); n != layers {
		return c, fmt.Errorf("parse image config: %d diff ids for %d layers", n, layers)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := CheckDigest(d); err != nil {
			return c, fmt.Errorf("parse image config: diff id %d: %w", i, err)
		}
		if d.Algorithm() != digest.SHA256 { // what unpackers compute, here and elsewhere
			return c, fmt.Errorf("parse image config: diff id %s: %w: only sha256 is supported", d, digest.ErrDigestUnsupported)
		}
	}
	if err := checkImageConfig(c.Config); err != nil {
		return c, fmt.Errorf("parse image config: %w", err)
	}
	return c, nil
}

// checkImageConfig refuses strings that no execve(2) can be given, here and
// once, rather than at each start.
func checkImageConfig(c ispec.ImageConfig) error {
	for _, f := range []struct {
		name   string
		values []string
	}{
		{"Env", c.Env}, {"Entrypoint", c.Entrypoint}, {"Cmd", c.Cmd},
		{"WorkingDir", []string{c.WorkingDir}}, {"User", []string{c.User}},
	} {
		for _, v := range f.values {
			if strings.IndexByte(v, 0) >= 0 {
				return fmt.Errorf("%s: %q has a NUL byte", f.name, v)
			}
		}
	}
	return nil
}
