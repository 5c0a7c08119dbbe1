package zfsstore

import (
	"context"
	"errors"
	"io/fs"
)

// Sizes are the bytes that each chain and each container's root takes by
// itself: what ZFS calls used.
func (s *Store) Sizes(ctx context.Context) (chains, roots map[string]int64, err error) {
	chains, roots = map[string]int64{}, map[string]int64{}
	images, err := s.ZFS.List(ctx, s.Images)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range images {
		if chain := s.chainOf(d.Name); chain != "" {
			chains[chain.String()] = int64(d.Used)
		}
	}
	containers, err := s.ZFS.List(ctx, s.Containers)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range containers {
		if id, ok := s.RootID(d.Name); ok {
			roots[id] = int64(d.Used)
		}
	}
	return chains, roots, nil
}

// RootSize is what Sizes has of one root, 0 when there is none.
func (s *Store) RootSize(ctx context.Context, id string) (int64, error) {
	name, err := s.Root(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	d, err := s.ZFS.Get(ctx, name)
	return int64(d.Used), err
}
