package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/dirstore"
)

// Dirs keeps volumes as directories:
//
//	Dir/NAME/data   what is in the volume
//	Dir/NAME/id     its id
//	Dir/.new-ID     one in the making
//	Dir/.gone-ID    one that is being removed
type Dirs struct {
	Dir string // absolute; made when missing
}

var _ Driver = (*Dirs)(nil)

const (
	idFile     = "id"
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// Check implements Driver.
func (d *Dirs) Check(o Options) error {
	for name := range o.Properties {
		return fmt.Errorf("option %s: %w: a directory has none; they are for volumes of the driver zfs", name, fs.ErrInvalid)
	}
	if o.From != "" {
		return errNoSnapshots
	}
	return nil
}

// Create implements Driver. The name appears with everything below it.
func (d *Dirs) Create(ctx context.Context, name, id string, o Options) error {
	if err := errors.Join(CheckName(name), CheckName(id), d.Check(o)); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Dir, 0o711); err != nil {
		return err
	}
	draft := newPrefix + id
	if err := dirstore.RemoveTree(ctx, d.Dir, draft); err != nil {
		return err
	}
	err := d.draft(filepath.Join(d.Dir, draft), id)
	if err == nil {
		err = rename(filepath.Join(d.Dir, draft), filepath.Join(d.Dir, name))
	}
	if err == nil {
		return syncDir(d.Dir)
	}
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s: %w", filepath.Join(d.Dir, name), fs.ErrExist)
	}
	return errors.Join(err, dirstore.RemoveTree(context.WithoutCancel(ctx), d.Dir, draft))
}

func (d *Dirs) draft(dir, id string) error {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, data), 0o755); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, data), 0o755); err != nil { // whatever the umask is
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, idFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// rename gives a draft its name. An empty directory of that name, which
// rename(2) would replace, is somebody's as well.
func rename(draft, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(draft, to)
}

// Remove implements Driver. The name is free at once.
func (d *Dirs) Remove(ctx context.Context, name, id string) error {
	if err := errors.Join(CheckName(name), CheckName(id)); err != nil {
		return err
	}
	gone := gonePrefix + id
	has, err := os.ReadFile(filepath.Join(d.Dir, name, idFile))
	switch {
	case err == nil && string(has) == id:
		if err := dirstore.CheckMounts(filepath.Join(d.Dir, name)); err != nil {
			return err // nothing of it is lost
		}
		if err := os.Rename(filepath.Join(d.Dir, name), filepath.Join(d.Dir, gone)); err != nil {
			return err
		}
		if err := syncDir(d.Dir); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return err
	}
	return errors.Join(d.removeTree(ctx, gone), d.removeTree(ctx, newPrefix+id))
}

// removeTree removes a directory beside the volumes, if it is there.
func (d *Dirs) removeTree(ctx context.Context, name string) error {
	err := dirstore.RemoveTree(ctx, d.Dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Path implements Driver.
func (d *Dirs) Path(_ context.Context, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	dir := DataDir(d.Dir, name)
	fi, err := os.Lstat(dir)
	if err == nil && !fi.IsDir() {
		err = &fs.PathError{Op: "volume", Path: dir, Err: syscall.ENOTDIR}
	}
	return dir, err
}

// Sizes implements Driver. What is made or removed is not in it.
func (d *Dirs) Sizes(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	entries, err := os.ReadDir(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return sizes, nil
	}
	for _, e := range entries {
		if err == nil && !strings.HasPrefix(e.Name(), ".") {
			sizes[e.Name()], err = dirstore.TreeSize(ctx, DataDir(d.Dir, e.Name()))
		}
	}
	return sizes, err
}

// Snapshot implements Driver: directories have none.
func (d *Dirs) Snapshot(context.Context, string, string) error { return errNoSnapshots }

// RemoveSnapshot implements Driver: directories have none.
func (d *Dirs) RemoveSnapshot(_ context.Context, name, snapshot string) error {
	return fmt.Errorf("snapshot %s@%s: %w", name, snapshot, fs.ErrNotExist)
}

// Snapshots implements Driver: directories have none.
func (d *Dirs) Snapshots(context.Context, string) ([]Snapshot, error) { return nil, nil }

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
