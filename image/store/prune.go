package store

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
)

// Pruned tells what a prune has removed.
type Pruned struct {
	Blobs  []digest.Digest
	Chains []digest.Digest
	Bytes  int64 // of blobs, partial ones included; chains are not measured
}

// Prune removes blobs and chains that belong to no named image, are not in use
// and not on their way in, and what was downloaded in part. It may run beside
// everything else. An image that cannot be read stops it, since what belongs to
// it cannot be known: remove its name, or pull it again.
func (m *Images) Prune(ctx context.Context) (Pruned, error) {
	return m.prune(ctx, nil)
}

// Scrap removes of the given image what nothing else needs, and of the chains
// those that are named: what is left of an image that turned out to be false.
// The lease on it must have been released.
func (m *Images) Scrap(ctx context.Context, img Image, chains []digest.Digest) error {
	only := map[pin]bool{}
	for _, d := range img.blobs() {
		only[pin{false, d}] = true
	}
	for _, c := range chains {
		only[pin{true, c}] = true
	}
	_, err := m.prune(ctx, only)
	return err
}

// sweep is one run of prune.
type sweep struct {
	m    *Images
	only map[pin]bool // candidates; nil for everything
	live map[pin]bool
	out  Pruned
}

func (m *Images) prune(ctx context.Context, only map[pin]bool) (Pruned, error) {
	m.gate.Lock()
	defer m.gate.Unlock()
	end := m.Blobs.pins.sweep()
	defer end()
	s := &sweep{m: m, only: only, live: map[pin]bool{}}
	for _, step := range []func(context.Context) error{s.mark, s.blobs, s.partials, s.chains} {
		if err := step(ctx); err != nil {
			return s.out, fmt.Errorf("prune images: %w", err)
		}
	}
	return s.out, nil
}

// mark finds what the named images consist of.
func (s *sweep) mark(ctx context.Context) error {
	refs, err := s.m.Refs.List(ctx)
	if err != nil {
		return err
	}
	for name, desc := range refs {
		img, err := s.m.Load(desc)
		if err != nil {
			return fmt.Errorf("image %s: %w; remove it or pull it again", name, err)
		}
		s.spare(img)
	}
	kept, err := s.m.kept(ctx)
	for _, img := range kept {
		s.spare(img)
	}
	return err
}

// spare keeps what an image consists of.
func (s *sweep) spare(img Image) {
	for _, d := range img.blobs() {
		s.live[pin{false, d}] = true
	}
	for _, l := range img.Layers {
		s.live[pin{true, l.Chain}] = true
	}
}

func (s *sweep) spares(p pin) bool {
	return s.live[p] || s.only != nil && !s.only[p]
}

func (s *sweep) blobs(ctx context.Context) error {
	for b, err := range s.m.Blobs.Blobs() {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		p := pin{false, b.Digest}
		if s.spares(p) {
			continue
		}
		removed, err := s.m.Blobs.pins.unless(p, func() error { return s.m.Blobs.Delete(b.Digest) })
		if err != nil {
			return err
		}
		if removed {
			s.out.Blobs = append(s.out.Blobs, b.Digest)
			s.out.Bytes += b.Size
		}
	}
	return nil
}

func (s *sweep) partials(ctx context.Context) error {
	list, err := s.m.Blobs.partials()
	if err != nil {
		return err
	}
	for _, d := range list {
		p := pin{false, d}
		if s.spares(p) {
			continue
		}
		if _, err := s.m.Blobs.pins.unless(p, func() error {
			if info, err := os.Lstat(s.m.Blobs.partial(d)); err == nil {
				s.out.Bytes += info.Size()
			}
			return s.m.Blobs.Delete(d)
		}); err != nil {
			return err
		}
	}
	return nil
}

// chains removes children before their parents, and no parent of what stays.
func (s *sweep) chains(ctx context.Context) error {
	parents, err := s.m.roots().List(ctx)
	if err != nil {
		return err
	}
	children := map[digest.Digest]int{}
	for _, parent := range parents {
		children[parent]++
	}
	var leaves []digest.Digest
	for chain := range parents {
		if children[chain] == 0 {
			leaves = append(leaves, chain)
		}
	}
	for len(leaves) > 0 {
		chain := leaves[len(leaves)-1]
		leaves = leaves[:len(leaves)-1]
		removed, err := s.chain(ctx, chain)
		if err != nil {
			return err
		}
		if !removed {
			continue
		}
		parent := parents[chain]
		if children[parent]--; parent != "" && children[parent] == 0 {
			leaves = append(leaves, parent)
		}
	}
	return nil
}

func (s *sweep) chain(ctx context.Context, chain digest.Digest) (removed bool, err error) {
	p := pin{true, chain}
	if s.spares(p) {
		return false, nil
	}
	if s.m.InUse != nil {
		if users, err := s.m.InUse(ctx, chain); err != nil || len(users) > 0 {
			return false, err
		}
	}
	removed, err = s.m.Blobs.pins.unless(p, func() error { return s.m.roots().Delete(ctx, chain) })
	if err != nil {
		return false, err
	}
	if removed {
		s.out.Chains = append(s.out.Chains, chain)
	}
	return removed, nil
}
