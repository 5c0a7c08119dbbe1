package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Sizes are the bytes on the disk that each chain takes by itself and that each
// root has of its own. With reflinks, what files share counts for each.
func (s *Store) Sizes(ctx context.Context) (chains, roots map[string]int64, err error) {
	chains, roots = map[string]int64{}, map[string]int64{}
	err = s.eachLayer(func(l layer) (err error) {
		chains[l.Chain], err = TreeSize(ctx, s.path(layersName, short(l.Chain)))
		return err
	})
	if err == nil {
		err = s.rootSizes(ctx, roots)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sizes in %s: %w", s.dir, err)
	}
	return chains, roots, nil
}

func (s *Store) rootSizes(ctx context.Context, roots map[string]int64) error {
	ids, err := s.Roots()
	for _, id := range ids {
		if err == nil {
			roots[id], err = TreeSize(ctx, s.path(rootsName, id))
		}
	}
	return err
}

// RootSize is what Sizes has of one root, 0 when there is none.
func (s *Store) RootSize(ctx context.Context, id string) (int64, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	n, err := TreeSize(ctx, s.path(rootsName, id))
	if err != nil {
		return 0, fmt.Errorf("size of root %s: %w", id, err)
	}
	return n, nil
}

// TreeSize adds up the blocks of what is below dir. A file with several names
// counts once; what vanishes meanwhile does not count.
func TreeSize(ctx context.Context, dir string) (n int64, err error) {
	seen := map[inode]bool{}
	err = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(name, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		id := inode{uint64(st.Dev), uint64(st.Ino)}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		n += st.Blocks * 512
		return ctx.Err()
	})
	return n, err
}
