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
}

func (p Problem) String() string { return p.Object + ": " + p.Err.Error() }

// Check reads every blob and verifies it, and looks that each named image has
// all its blobs and chains. It changes nothing. The error is about checking
// itself. registry.Puller's Repair does something about it.
func (m *Images) Check(ctx context.Context) ([]Problem, error) {
	var problems []Problem
	for b, err := range m.Blobs.Blobs() {
		if err != nil {
			return problems, err
		}
		if err := m.Blobs.verify(ctx, b.Digest); err != nil {
			if context.Cause(ctx) != nil {
				return problems, context.Cause(ctx)
			}
			problems = append(problems, Problem{Object: "blob " + b.Digest.String(), Err: err, Blob: b.Digest})
		}
	}
	refs, err := m.Refs.List(ctx)
	if err != nil {
		return problems, err
	}
	for name, desc := range refs {
		img, err := m.Load(desc)
		if err != nil {
			problems = append(problems, Problem{Object: "image " + name, Err: err})
			continue
		}
		found, err := m.checkLayers(ctx, name, img)
		if err != nil {
			return problems, err
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

func (m *Images) checkLayers(ctx context.Context, name string, img Image) ([]Problem, error) {
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
