package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Problem is something that Check found.
type Problem struct {
	Object string // image NAME, blob DIGEST or chain ID
	Err    error
	Blob   digest.Digest // that is not what it was, if that is the problem
	Chain  digest.Digest // that is not as its layer, which is sound, has it, if that is
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
	needed, err := m.needed(ctx, images, len(problems) == 0)
	if err != nil {
		return problems, err
	}
	v := verifier{m: m, damaged: map[digest.Digest]error{}, found: map[digest.Digest]Problem{}}
	v.trees, _ = m.Roots.(Trees)
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
		v.damaged[b.Digest] = err
		if needed != nil && !needed[b.Digest] {
			err = fmt.Errorf("%w; no image needs it: a prune removes it", err)
		}
		problems = append(problems, Problem{Object: "blob " + b.Digest.String(), Err: err, Blob: b.Digest})
	}
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

// needed are the blobs of all images, also of those that containers alone keep;
// nil if that cannot be known since one of them cannot be read.
func (m *Images) needed(ctx context.Context, images map[string]Image, all bool) (map[digest.Digest]bool, error) {
	kept, err := m.kept(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil || !all {
		return nil, nil
	}
	needed := map[digest.Digest]bool{}
	for _, img := range slices.AppendSeq(kept, maps.Values(images)) {
		for _, d := range img.blobs() {
			needed[d] = true
		}
	}
	return needed, nil
}

func (m *Images) checkLayers(ctx context.Context, name string, img Image, v verifier) ([]Problem, error) {
	var problems []Problem
	for _, l := range img.Layers {
		blobErr := v.blob(l)
		if blobErr != nil {
			wrong, err := m.consequence(ctx, img, blobErr)
			if err != nil {
				return nil, err
			}
			problems = append(problems, Problem{Object: "image " + name, Err: wrong})
		}
		there, err := m.roots().Has(ctx, l.Chain)
		if err != nil {
			return nil, err
		}
		if !there {
			problems = append(problems, Problem{Object: "image " + name, Err: fmt.Errorf("chain %s: %w", l.Chain, fs.ErrNotExist)})
			continue
		}
		if v.trees == nil || blobErr != nil {
			continue
		}
		wrong, err := v.chain(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", l.Chain, err)
		}
		if wrong.Err != nil {
			wrong.Object = "image " + name
			problems = append(problems, wrong)
		}
	}
	return problems, nil
}

// consequence adds to what is wrong with a blob of an image what still works.
func (m *Images) consequence(ctx context.Context, img Image, wrong error) (_, err error) {
	if m.Roots == nil {
		return wrong, nil
	}
	runs, err := m.Roots.Has(ctx, img.Chain)
	if err != nil || !runs {
		return wrong, err
	}
	return fmt.Errorf("%w; it is unpacked: containers of the image run, but neither it nor a commit of one can be saved or pushed", wrong), nil
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
		return errors.New("damaged: its content has changed since it was verified")
	}
	return nil
}
