package engine

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/ocitar/confine"
)

// unpack applies a layer in a confined child, so that a hostile archive meets
// an empty world.
func (e *Engine) unpack(ctx context.Context, into store.Draft, layer *os.File) (digest.Digest, error) {
	c := confine.Child{Path: e.cfg.Ocitar[0], Argv: e.cfg.Ocitar[1:], Lower: into.Lower()}
	if into.Overlay() {
		c.Whiteouts = ocitar.Overlay
	}
	sum, err := c.Unpack(ctx, into.Dir(), layer)
	return digest.Digest(sum.DiffID), err
}
