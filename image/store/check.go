package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// Problem is something that Check found.
type Problem struct {
	Object string // image NAME, blob DIGEST or chain ID
	Err    error
	Blob   digest.Digest // that is not what it was, if that is the problem
	Chain  digest.Digest // that is not as its layer has it, if that is
}

func (p Problem) String() string { return p.Object + ": " + p.Err.Error() }

// Check reads every blob and verifies it, and looks that each named image has
// all its blobs and chains. Where chains are in directories (see Trees) each is
// held against its layer, which is unpacked once more for that. It changes nothing.
// The error is about checking itself. registry.Puller's Repair does something
// about it.
func (m *Images) Check(ctx context.Context) ([]Problem, error) {
	images, problems, lease, err := m.readAll(ctx)
	if err != nil {
		return nil, err
	}
	defer lease.Release() // so that a prune takes nothing of what is looked at
	for b, err := range m.Blobs.Blobs() {
		if err != nil {
			return problems, err
		}
		err := m.Blobs.verify(ctx, b.Digest)
		if err == nil || errors.Is(err, fs.ErrNotExist) { // pruned meanwhile; or else its image tells
			continue
		}
		if context.Cause(ctx) != nil {
			return problems, context.Cause(ctx)
		}
		problems = append(problems, Problem{Object: "blob " + b.Digest.String(), Err: err, Blob: b.Digest})
	}
	v := verifier{m: m, found: map[digest.Digest]error{}}
	v.trees, _ = m.Roots.(Trees)
	for name, img := range images {
		found, err := m.checkLayers(ctx, name, img, v)
		if err != nil {
			return problems, err
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

// readAll reads all named images, with a lease on them. Those that cannot be read
// are problems.
func (m *Images) readAll(ctx context.Context) (images map[string]Image, problems []Problem, lease *Lease, err error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	refs, err := m.Refs.List(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	images, lease = map[string]Image{}, m.Blobs.Lease()
	for name, desc := range refs {
		img, err := m.Load(desc)
		if err != nil {
			problems = append(problems, Problem{Object: "image " + name, Err: err})
			continue
		}
		lease.Pin(img)
		images[name] = img
	}
	return images, problems, lease, nil
}

func (m *Images) checkLayers(ctx context.Context, name string, img Image, v verifier) ([]Problem, error) {
	var problems []Problem
	for _, l := range img.Layers {
		size, err := m.Blobs.Stat(l.Blob.Digest)
		if err == nil && size != l.Blob.Size {
			err = sizeMismatch(l.Blob, size)
		}
		if err != nil {
			problems = append(problems, Problem{Object: "image " + name, Err: err})
		}
		there, err := m.roots().Has(ctx, l.Chain)
		if err != nil {
			return nil, err
		}
		if !there {
			problems = append(problems, Problem{Object: "image " + name, Err: fmt.Errorf("chain %s: %w", l.Chain, fs.ErrNotExist)})
			continue
		}
		if v.trees == nil {
			continue
		}
		wrong, err := v.chain(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", l.Chain, err)
		}
		if wrong != nil {
			problems = append(problems, Problem{Object: "image " + name, Err: wrong, Chain: l.Chain})
		}
	}
	return problems, nil
}

// verify digests a blob.
func (s *Store) verify(ctx context.Context, d digest.Digest) error {
	f, err := s.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	verifier := d.Verifier()
	if _, err := io.Copy(verifier, contextReader{ctx, f}); err != nil {
		return err
	}
	if !verifier.Verified() {
		return errors.New("content has changed since it was verified")
	}
	return nil
}
