//go:build !linux || !(amd64 || arm64)

package spawn

import "errors"

// Start returns errors.ErrUnsupported.
func (p *Program) Start(Options, string, []string, []string) (pid, pidfd int, err error) {
	return 0, -1, errors.ErrUnsupported
}
