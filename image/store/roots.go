package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// Roots holds an unpacked root file system for each chain. A chain is there
// from its commit on, whole and never changed. Implementations may be used by
// many goroutines at once; Images begins each chain once at a time.
type Roots interface {
	// Has tells whether the chain was committed. It is on the hot path.
	Has(ctx context.Context, chain digest.Digest) (bool, error)

	// Begin makes a draft that starts as a copy of its parent, or empty where
	// parent is "". What an earlier attempt has left of the same chain is
	// discarded. Errors match fs.ErrExist if the chain was committed meanwhile,
	// fs.ErrNotExist if the parent was not.
	Begin(ctx context.Context, chain, parent digest.Digest) (Draft, error)

	// Delete removes a chain that has no children; for one that is not there it
	// does nothing.
	Delete(ctx context.Context, chain digest.Digest) error

	// List returns the committed chains, each with its parent ("" for none).
	List(ctx context.Context) (map[digest.Digest]digest.Digest, error)
}

// Draft is a root in the making. Either Commit or Abort ends it; Abort after
// Commit does nothing.
type Draft interface {
	// Dir is the directory to unpack into.
	Dir() string
	// Overlay tells that Dir holds this layer alone, and that what the layer
	// deletes is to be marked in overlayfs's form; else Dir is the whole tree.
	Overlay() bool
	// Lower lists, with Overlay, the directories of the layers below, the newest
	// first: a directory that the layer uses without having an entry for it is
	// like the one there.
	Lower() []string
	// Commit makes the chain exist, durably and in one atomic act.
	Commit(ctx context.Context) error
	// Abort leaves nothing behind.
	Abort(ctx context.Context) error
}

// Unpack applies a layer, plain or compressed, to a draft, as its Overlay asks
// for, and returns the digest of the uncompressed tar, read to its end. It
// neither ends the draft nor closes the file. The archive is hostile: the engine
// gives it to a confined child.
type Unpack func(ctx context.Context, into Draft, layer *os.File) (diffID digest.Digest, err error)

// Layer is a layer of an image and its place in the chain.
type Layer struct {
	Blob   ispec.Descriptor
	DiffID digest.Digest // of the uncompressed tar
	Chain  digest.Digest // of this layer and those below
	Parent digest.Digest // chain of those below, "" for none
}

// roots is where chains are, or would be.
func (m *Images) roots() Roots {
	if m.Roots == nil {
		return noRoots{}
	}
	return m.Roots
}

// noRoots are those of a store of blobs alone: there is nothing to unpack, and
// none is missing.
type noRoots struct{}

func (noRoots) Has(context.Context, digest.Digest) (bool, error) { return true, nil }

func (noRoots) Begin(context.Context, digest.Digest, digest.Digest) (Draft, error) {
	return nil, fmt.Errorf("unpack: no roots: %w", errors.ErrUnsupported)
}

func (noRoots) Delete(context.Context, digest.Digest) error { return nil }

func (noRoots) List(context.Context) (map[digest.Digest]digest.Digest, error) { return nil, nil }

// Unroll unpacks a layer whose parent chain is there, unless its chain is there
// already. Callers that want the same chain share the work; start, which may be
// nil, is called when it begins to unpack. A diff id that is not the promised
// one is an *image.MismatchError and leaves no trace of the chain. created tells
// that this very call has made the chain, which it may have done though it was
// called off.
//
// A blob that is being staged is unpacked behind its writer; the chain is
// committed only after the blob was. See ErrArriving.
func (m *Images) Unroll(ctx context.Context, l Layer, start func()) (created bool, err error) {
	watch := func(struct{}) {
		if start != nil {
			start()
		}
	}
	var made atomic.Bool // the work may outlive this call, for others
	for {
		err = m.chains.Do(ctx, l.Chain, watch, func(ctx context.Context, emit func(struct{})) error {
			there, err := m.roots().Has(ctx, l.Chain)
			if err != nil || there {
				return err
			}
			emit(struct{}{})
			created, err := m.unroll(ctx, l)
			made.Store(created)
			return err
		})
		if errors.Is(err, ErrArriving) {
			if _, statErr := m.Blobs.Stat(l.Blob.Digest); statErr == nil {
				continue // what could not be done behind the writer can be now
			}
		}
		if err != nil {
			err = fmt.Errorf("unpack layer %s: %w", l.Blob.Digest, err)
		}
		return made.Load(), err
	}
}

func (m *Images) unroll(ctx context.Context, l Layer) (created bool, err error) {
	blob, finish, err := m.openLayer(ctx, l)
	if err != nil {
		return false, err
	}
	draft, err := m.roots().Begin(ctx, l.Chain, l.Parent)
	if err != nil {
		err = finish(err)
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, err
	}
	got, err := m.Unpack(ctx, draft, blob)
	if err == nil && got != l.DiffID {
		err = &image.MismatchError{What: "diff id", Of: "layer " + l.Blob.Digest.String(), Want: l.DiffID.String(), Got: got.String()}
	}
	if err = finish(err); err == nil {
		err = draft.Commit(ctx)
	}
	if err != nil {
		// What failed may have been the context; undoing must not.
		return false, errors.Join(err, draft.Abort(context.WithoutCancel(ctx)))
	}
	return true, nil
}

// openLayer opens the layer's blob, or follows it. finish is given what came of
// unpacking and returns what is to be made of that; it closes the file.
func (m *Images) openLayer(ctx context.Context, l Layer) (blob *os.File, finish func(error) error, err error) {
	blob, err = m.Blobs.Open(l.Blob.Digest)
	if err == nil {
		return blob, func(err error) error { return errors.Join(err, blob.Close()) }, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	blob, verified, err := m.Blobs.follow(ctx, l.Blob)
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("%w: %w", ErrArriving, err)
	}
	return blob, func(err error) error {
		stop() // a successful end was seen already
		if err = errors.Join(err, blob.Close(), verified()); err != nil {
			// Whatever it was, it came of bytes that nobody had verified.
			return fmt.Errorf("%w: %w", ErrArriving, err)
		}
		return nil
	}, nil
}
