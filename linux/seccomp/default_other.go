//go:build !linux || !(amd64 || arm64)

package seccomp

import "errors"

// Default returns errors.ErrUnsupported.
func Default() (*Policy, error) { return nil, errors.ErrUnsupported }
