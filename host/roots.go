package host

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/image/store"
)

// rootStore is where roots live: package dirstore or zfsstore.
type rootStore interface {
	store.Roots
	Create(ctx context.Context, id, chain string) error
	Remove(ctx context.Context, id string) error
	Sweep(ctx context.Context) error
	Sizes(ctx context.Context) (chains, roots map[string]int64, err error)
	RootSize(ctx context.Context, id string) (int64, error)
}

// RootSizes are the bytes on the disk that each chain takes by itself, by its
// chain id, and each container's root, by the container's id.
func (h *Host) RootSizes(ctx context.Context) (chains, roots map[string]int64, err error) {
	return h.store.Sizes(ctx)
}

// RootSize is what RootSizes has of one container's root, 0 when it has none.
func (h *Host) RootSize(ctx context.Context, id string) (int64, error) {
	return h.store.RootSize(ctx, id)
}

// Roots are the unpacked chains of image layers.
func (h *Host) Roots() store.Roots { return h.store }

// Sweep removes what a crash can have left that is in no journal: drafts, and
// what was kept ready. Running has every container there is, and whether it runs:
// what does is not touched.
func (h *Host) Sweep(ctx context.Context, running map[string]bool) error {
	return errors.Join(h.store.Sweep(ctx), h.sweepSpares(), h.sweepRoots(ctx, running), h.sweepGroups(ctx, running))
}

var _ store.Trees = dirRoots{}

// dirRoots makes a dirstore, which knows no digests, a rootStore.
type dirRoots struct{ *dirstore.Store }

func (r dirRoots) Has(ctx context.Context, chain digest.Digest) (bool, error) {
	return r.Store.Has(ctx, chain.String())
}

func (r dirRoots) Begin(ctx context.Context, chain, parent digest.Digest) (store.Draft, error) {
	d, err := r.Store.Begin(ctx, chain.String(), parent.String())
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (r dirRoots) Delete(ctx context.Context, chain digest.Digest) error {
	return r.Store.Delete(ctx, chain.String())
}

// Tree implements store.Trees: who may write on the host can spoil directories.
func (r dirRoots) Tree(_ context.Context, chain digest.Digest) (string, error) {
	return r.Store.Tree(chain.String())
}

func (r dirRoots) List(ctx context.Context) (map[digest.Digest]digest.Digest, error) {
	list, err := r.Store.List(ctx)
	out := make(map[digest.Digest]digest.Digest, len(list))
	for chain, parent := range list {
		out[digest.Digest(chain)] = digest.Digest(parent)
	}
	return out, err
}

// Spread tells the file system that what will be in the directories of dir has
// nothing to do with each other; see [dirstore.Spread].
func Spread(dir string) { dirstore.Spread(dir) }
