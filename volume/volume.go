// Package volume keeps data that outlives containers under names: in
// directories, or in ZFS file systems.
//
// # Words
//
// A volume has a name and an id: the id is new each time a volume of that name is
// made, and is kept with the data. Who removes a volume says both, so that what
// somebody else has put under the name is not removed with it. A [Driver] makes
// a volume whole or not at all, and removes it so that a crash in between leaves
// something that another Remove finishes.
//
// Whatever the driver, the data of the volume NAME are to be seen in
// DIR/NAME/data, where [Driver.Path] brings them.
//
//	d := &volume.Dirs{Dir: "/var/db/xc/volumes"}
//	err := d.Create(ctx, "db", "c4f2…", volume.Options{})
//	dir, err := d.Path(ctx, "db") // "/var/db/xc/volumes/db/data"
//	err = volume.Fill(ctx, dir, root, "/var/lib/db") // once, from an image
//	err = d.Remove(ctx, "db", "c4f2…")
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"time"
)

// Options say what a volume is to be.
type Options struct {
	Properties map[string]string // of its ZFS file system, as zfs(8) takes them
	From       string            // VOLUME@SNAPSHOT: what it is a clone of
}

// Snapshot is a volume as it was at a time.
type Snapshot struct {
	Name    string // without the volume's
	Created time.Time
	Used    int64 // bytes that only it has
}

// Driver is a way to keep volumes. It is safe for use by many goroutines, each
// with another volume.
type Driver interface {
	// Check tells what is wrong with the options, and nothing about the host.
	Check(o Options) error
	// Create makes an empty volume, or a clone. fs.ErrExist: there is something of
	// that name, which stays as it is.
	Create(ctx context.Context, name, id string, o Options) error
	// Remove removes a volume with all its data. It succeeds when there is none of
	// that name and id. syscall.EBUSY: it has snapshots or clones, or is in use.
	Remove(ctx context.Context, name, id string) error
	// Path returns the directory that has the data, from where they can be mounted.
	// fs.ErrNotExist: there is no such volume.
	Path(ctx context.Context, name string) (string, error)
	// Sizes are the bytes that each volume takes on the disk, by name: of all there
	// are, whoever knows of them.
	Sizes(ctx context.Context) (map[string]int64, error)
	// Snapshot keeps a volume as it is now. errors.ErrUnsupported: it cannot.
	Snapshot(ctx context.Context, name, snapshot string) error
	// RemoveSnapshot removes a snapshot. syscall.EBUSY: a volume is a clone of it.
	RemoveSnapshot(ctx context.Context, name, snapshot string) error
	// Snapshots lists the snapshots of a volume, the oldest first.
	Snapshots(ctx context.Context, name string) ([]Snapshot, error)
}

// nameRule keeps names apart from what drivers keep beside volumes, which begins
// with a dot, and within what ZFS takes.
var nameRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// CheckName tells what is wrong with the name of a volume or of a snapshot.
func CheckName(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	return fmt.Errorf("volume name %.200q: %w: letters, digits, '_', '.' and '-' only, 128 at the most, a letter or digit first", name, fs.ErrInvalid)
}

// data is the directory of a volume that has its data.
const data = "data"

// DataDir is where the data of a volume are to be seen, below the directory of
// all volumes.
func DataDir(dir, name string) string { return filepath.Join(dir, name, data) }

var errNoSnapshots = fmt.Errorf("snapshots of a directory: %w: they are for volumes of the driver zfs", errors.ErrUnsupported)
