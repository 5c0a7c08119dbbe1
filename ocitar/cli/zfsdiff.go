package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"

	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/zfs"
)

// zfsChanges are the changes from one snapshot to another, or to the file system itself,
// and the directory that has the newer state. zfs-diff(8) says where to look; what has
// become of it the trees themselves tell.
func zfsChanges(ctx context.Context, from, to string) (now string, changes iter.Seq2[ocitar.Change, error], err error) {
	var z zfs.ZFS
	defer func() { err = errors.Join(err, z.Close()) }()
	top, old, err := snapshotDir(ctx, &z, from)
	if err != nil {
		return "", nil, err
	}
	if _, now, err = snapshotDir(ctx, &z, to); err != nil {
		return "", nil, err
	}
	var hints []ocitar.Hint
	for c, err := range z.Diff(ctx, from, to) {
		if err != nil {
			return "", nil, err
		}
		for _, p := range []string{c.Path, c.To} {
			if p == "" {
				continue
			}
			rel, ok := strings.CutPrefix(p, strings.TrimSuffix(top, "/")+"/")
			if !ok && p != top {
				return "", nil, fmt.Errorf("zfs diff tells of %q, which is not in %s", p, top)
			}
			hints = append(hints, ocitar.Hint{Path: path.Clean(rel), Deep: c.Kind == 'R' && c.Type == '/'})
		}
	}
	return now, ocitar.CompareAt(old, now, func(yield func(ocitar.Hint, error) bool) {
		for _, h := range hints {
			if !yield(h, nil) {
				return
			}
		}
	}), nil
}

// snapshotDir is where the state name is to be seen, and its file system is mounted.
func snapshotDir(ctx context.Context, z *zfs.ZFS, name string) (top, dir string, err error) {
	fs, snapshot, isSnapshot := strings.Cut(name, "@")
	props, err := z.Props(ctx, fs, "mountpoint", "mounted")
	if err != nil {
		return "", "", err
	}
	top = props["mountpoint"]
	if props["mounted"] != "yes" || !path.IsAbs(top) {
		return "", "", fmt.Errorf("%s is not mounted", fs)
	}
	if !isSnapshot {
		return top, top, nil
	}
	return top, path.Join(top, ".zfs/snapshot", snapshot), nil
}
