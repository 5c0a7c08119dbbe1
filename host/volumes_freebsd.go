package host

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/volume"
)

// VolumeDrivers are the ways to keep volumes here, by name, and the one that is
// used unless somebody asks for another.
func (h *Host) VolumeDrivers() (drivers map[string]volume.Driver, standard string) {
	drivers = map[string]volume.Driver{"directory": h.directories()}
	if h.cfg.VolumeDataset == "" {
		return drivers, "directory"
	}
	drivers["zfs"] = &volume.Datasets{
		ZFS: h.zfs, Parent: h.cfg.VolumeDataset, Tag: h.cfg.Tag, Dir: h.VolumesDir(), Mount: mountVolume, Unmount: h.unmount,
	}
	return drivers, "zfs"
}

// mountVolume mounts a volume's file system unless that was done.
func mountVolume(dataset, dir string) error {
	switch st, err := mount.At(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return mountDataset(dataset, dir)
	case err != nil:
		return err
	case st.From != dataset:
		return fmt.Errorf("%s is mounted on %s, where %s belongs: %w", st.From, dir, dataset, syscall.EBUSY)
	}
	return nil
}
