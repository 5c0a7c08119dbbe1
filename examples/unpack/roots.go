package main

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ocitar"
)

// roots makes a dirstore, which knows no digests, the store's Roots.
type roots struct{ *dirstore.Store }

var _ store.Roots = roots{}

// openRoots opens a store of whole trees: the mode that works on any file system
// and for any user.
func openRoots(dir string) (roots, error) {
	s, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy})
	return roots{s}, err
}

func (r roots) Has(ctx context.Context, chain digest.Digest) (bool, error) {
	return r.Store.Has(ctx, chain.String())
}

func (r roots) Begin(ctx context.Context, chain, parent digest.Digest) (store.Draft, error) {
	d, err := r.Store.Begin(ctx, chain.String(), parent.String())
	if err != nil {
		return nil, err // and not a Draft that holds a nil pointer
	}
	return d, nil
}

func (r roots) Delete(ctx context.Context, chain digest.Digest) error {
	return r.Store.Delete(ctx, chain.String())
}

func (r roots) List(ctx context.Context) (map[digest.Digest]digest.Digest, error) {
	list, err := r.Store.List(ctx)
	chains := make(map[digest.Digest]digest.Digest, len(list))
	for chain, parent := range list {
		chains[digest.Digest(chain)] = digest.Digest(parent)
	}
	return chains, err
}

// unpack applies a layer in this process. The engine gives it to a confined
// child instead (package ocitar/confine), for the archive is a stranger's. Files
// are left to the user who pulls.
func unpack(ctx context.Context, into store.Draft, layer *os.File) (digest.Digest, error) {
	u := ocitar.Unpacker{NoOwner: true, Devices: ocitar.SkipDevices}
	sum, err := u.Unpack(ctx, into.Dir(), layer)
	return digest.Digest(sum.DiffID), err
}
