package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/ocitar"
)

// Trees is what Roots can be beside: such that keep a chain in a directory, where
// something may happen to it. Those of a snapshot need no second look.
type Trees interface {
	// Tree is the directory that was a committed chain's Draft.Dir.
	Tree(ctx context.Context, chain digest.Digest) (string, error)
}

// verifier holds chains against the layers that they were made of, each once.
type verifier struct {
	m       *Images
	trees   Trees
	damaged map[digest.Digest]error   // blobs, which have nothing to say about chains
	found   map[digest.Digest]Problem // of each chain; without an Err if none
}

// blob returns what is wrong with a layer's blob.
func (v *verifier) blob(l Layer) error {
	if err := v.damaged[l.Blob.Digest]; err != nil {
		return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
	}
	size, err := v.m.Blobs.Stat(l.Blob.Digest)
	if err == nil && size != l.Blob.Size {
		err = sizeMismatch(l.Blob, size)
	}
	return err
}

// chain returns what is wrong with the chain of a layer whose blob is sound, or an
// error of looking.
func (v *verifier) chain(ctx context.Context, l Layer) (wrong Problem, err error) {
	if wrong, known := v.found[l.Chain]; known {
		return wrong, nil
	}
	wrong, err = v.compare(ctx, l)
	if err == nil {
		v.found[l.Chain] = wrong
	}
	return wrong, err
}

// compare unpacks the layer once more beside its chain. Where that does not come
// to its end, for which the disk may have been too small, the chain is not what is wrong.
func (v *verifier) compare(ctx context.Context, l Layer) (wrong Problem, err error) {
	blob, err := v.m.Blobs.Open(l.Blob.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return wrong, nil
	}
	if err != nil {
		return wrong, err
	}
	defer blob.Close()
	tree, err := v.trees.Tree(ctx, l.Chain)
	if err != nil {
		return wrong, err
	}
	v.m.checking.Lock()
	defer v.m.checking.Unlock()
	again, err := v.m.Roots.Begin(ctx, digest.FromString("again "+l.Chain.String()), l.Parent)
	if errors.Is(err, fs.ErrNotExist) {
		return wrong, nil // of the parent that was told
	}
	if err != nil {
		return wrong, err
	}
	defer func() { err = errors.Join(err, again.Abort(context.WithoutCancel(ctx))) }()
	got, err := v.m.Unpack(ctx, again, blob)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return wrong, cause
		}
		return Problem{Err: fmt.Errorf("chain %s: its layer cannot be unpacked to compare them: %w", l.Chain, err)}, nil
	}
	if got != l.DiffID {
		return Problem{Err: &image.MismatchError{What: "diff id", Of: "layer " + l.Blob.Digest.String(), Want: l.DiffID.String(), Got: got.String()}}, nil
	}
	different, err := differences(ctx, l, again.Dir(), tree)
	return Problem{Err: different, Chain: l.Chain}, err
}

// maxNamed is how many files are named that are not what they should be.
const maxNamed = 3

func differences(ctx context.Context, l Layer, want, have string) (wrong, err error) {
	var names []string
	n := 0
	for c, err := range ocitar.Compare(want, have) {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return nil, err
		}
		if n++; n <= maxNamed {
			names = append(names, fmt.Sprintf("%q", "/"+strings.TrimPrefix(c.Path, ".")))
		}
	}
	if n == 0 {
		return nil, nil
	}
	if n > maxNamed {
		names = append(names, fmt.Sprintf("and %d more", n-maxNamed))
	}
	return fmt.Errorf("chain %s: not as its layer has it: %s", l.Chain, strings.Join(names, ", ")), nil
}

// Discard removes a chain, and those above it, to be unpacked again. The error
// matches syscall.EBUSY, and names the containers, if somebody needs one of them:
// then that stays, with those below it.
func (m *Images) Discard(ctx context.Context, chain digest.Digest) error {
	m.gate.Lock()
	defer m.gate.Unlock()
	parents, err := m.roots().List(ctx)
	if err != nil {
		return err
	}
	above := map[digest.Digest][]digest.Digest{}
	for chain, parent := range parents {
		above[parent] = append(above[parent], chain)
	}
	return m.discard(ctx, chain, above)
}

func (m *Images) discard(ctx context.Context, chain digest.Digest, above map[digest.Digest][]digest.Digest) error {
	for _, child := range above[chain] {
		if err := m.discard(ctx, child, above); err != nil {
			return err
		}
	}
	if m.InUse != nil {
		users, err := m.InUse(ctx, chain)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fmt.Errorf("chain %s: %w: by the container %s: remove that first", chain, syscall.EBUSY, strings.Join(users, ", "))
		}
	}
	removed, err := m.Blobs.pins.unless(pin{true, chain}, func() error { return m.roots().Delete(ctx, chain) })
	if err == nil && !removed {
		err = fmt.Errorf("chain %s: %w: something is being made of it: try again", chain, syscall.EBUSY)
	}
	return err
}
