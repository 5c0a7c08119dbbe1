package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/zfs"
)

// Datasets keeps volumes as ZFS file systems, Parent/TAG-NAME, which are mounted
// on Dir/NAME/data when they are needed first. All fields are required.
type Datasets struct {
	ZFS    *zfs.ZFS
	Parent string // dataset below which the volumes are
	Tag    string // of the engine: what is ours below it
	Dir    string // absolute

	Mount   func(dataset, dir string) error // succeeds when it is mounted there already
	Unmount func(dir string) error          // succeeds when nothing is mounted there
}

var _ Driver = (*Datasets)(nil)

// idProperty has the id of a volume.
const idProperty = "xc:volume"

// ours are the properties that a volume's file system gets from us.
var ours = []string{"mountpoint", "canmount", "jailed", "zoned", "sharenfs", "sharesmb"}

// Dataset is the file system of a volume.
func (d *Datasets) Dataset(name string) string { return d.Parent + "/" + d.Tag + "-" + name }

// Check implements Driver.
func (d *Datasets) Check(o Options) error {
	for name := range o.Properties {
		if slices.Contains(ours, name) || strings.HasPrefix(name, "xc:") {
			return fmt.Errorf("option %s: %w: the engine sets this property", name, fs.ErrInvalid)
		}
	}
	if o.From == "" {
		return nil
	}
	name, snapshot, ok := strings.Cut(o.From, "@")
	if !ok {
		return fmt.Errorf("volume %s: %w: a clone is made of a snapshot, VOLUME@SNAPSHOT", o.From, fs.ErrInvalid)
	}
	return errors.Join(CheckName(name), CheckName(snapshot))
}

// Create implements Driver. The file system appears with its properties: it is
// one ioctl(2).
func (d *Datasets) Create(ctx context.Context, name, id string, o Options) error {
	if err := errors.Join(CheckName(name), CheckName(id), d.Check(o)); err != nil {
		return err
	}
	p := zfs.Props{idProperty: id, "mountpoint": DataDir(d.Dir, name), "canmount": "noauto"}
	for k, v := range o.Properties {
		p[k] = v
	}
	if o.From == "" {
		return d.ZFS.Create(ctx, d.Dataset(name), p)
	}
	from, snapshot, _ := strings.Cut(o.From, "@")
	return d.ZFS.Clone(ctx, d.Dataset(from)+"@"+snapshot, d.Dataset(name), p)
}

// Remove implements Driver.
func (d *Datasets) Remove(ctx context.Context, name, id string) error {
	if err := errors.Join(CheckName(name), CheckName(id)); err != nil {
		return err
	}
	p, err := d.ZFS.Props(ctx, d.Dataset(name), idProperty)
	if errors.Is(err, fs.ErrNotExist) {
		return d.removeDir(name)
	}
	if err != nil || p[idProperty] != id {
		return err
	}
	if err := d.removable(ctx, name); err != nil {
		return err
	}
	if err := d.Unmount(DataDir(d.Dir, name)); err != nil {
		return err
	}
	if err := d.destroy(ctx, d.Dataset(name)); err != nil {
		return err
	}
	return d.removeDir(name)
}

// removable tells what would be lost with a volume that is more than it.
func (d *Datasets) removable(ctx context.Context, name string) error {
	all, err := d.ZFS.List(ctx, d.Dataset(name))
	if err != nil {
		return err
	}
	var names []string
	for _, s := range all {
		if s.Name != d.Dataset(name) {
			names = append(names, name+strings.TrimPrefix(s.Name, d.Dataset(name)))
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("it has %s, which must be removed first: %w", strings.Join(names, ", "), syscall.EBUSY)
	}
	return nil
}

// destroyTime bounds the wait for a file system that is still being unmounted.
const destroyTime = 10 * time.Second

func (d *Datasets) destroy(ctx context.Context, dataset string) error {
	deadline := time.Now().Add(destroyTime)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := d.ZFS.Destroy(ctx, dataset)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// removeDir removes the mount point, in which nothing is.
func (d *Datasets) removeDir(name string) error {
	for _, dir := range []string{DataDir(d.Dir, name), filepath.Join(d.Dir, name)} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Path implements Driver. The file system stays mounted.
func (d *Datasets) Path(ctx context.Context, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if _, err := d.ZFS.Get(ctx, d.Dataset(name)); err != nil {
		return "", err
	}
	dir := DataDir(d.Dir, name)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	return dir, d.Mount(d.Dataset(name), dir)
}

// Sizes implements Driver: what ZFS calls used, snapshots included.
func (d *Datasets) Sizes(ctx context.Context) (map[string]int64, error) {
	all, err := d.ZFS.List(ctx, d.Parent)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, s := range all {
		if name, ok := strings.CutPrefix(s.Name, d.Dataset("")); ok && !strings.ContainsAny(name, "/@") {
			sizes[name] = int64(s.Used)
		}
	}
	return sizes, nil
}

// Snapshot implements Driver.
func (d *Datasets) Snapshot(ctx context.Context, name, snapshot string) error {
	if err := errors.Join(CheckName(name), CheckName(snapshot)); err != nil {
		return err
	}
	return d.ZFS.Snapshot(ctx, d.Dataset(name)+"@"+snapshot)
}

// RemoveSnapshot implements Driver.
func (d *Datasets) RemoveSnapshot(ctx context.Context, name, snapshot string) error {
	if err := errors.Join(CheckName(name), CheckName(snapshot)); err != nil {
		return err
	}
	return d.ZFS.Destroy(ctx, d.Dataset(name)+"@"+snapshot)
}

// Snapshots implements Driver.
func (d *Datasets) Snapshots(ctx context.Context, name string) ([]Snapshot, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	all, err := d.ZFS.List(ctx, d.Dataset(name))
	if err != nil {
		return nil, err
	}
	var list []Snapshot
	for _, s := range all {
		if snap, ok := strings.CutPrefix(s.Name, d.Dataset(name)+"@"); ok {
			list = append(list, Snapshot{Name: snap, Created: s.Creation.UTC(), Used: int64(s.Used)})
		}
	}
	slices.SortStableFunc(list, func(a, b Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}
