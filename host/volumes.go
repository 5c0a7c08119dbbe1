package host

import (
	"path/filepath"

	"github.com/joyboyid/xc/volume"
)

// VolumesDir is the directory below which the data of all volumes are to be
// seen, whatever their driver.
func (h *Host) VolumesDir() string { return filepath.Join(h.cfg.StateDir, "volumes") }

// directories is the driver that every host has.
func (h *Host) directories() volume.Driver { return &volume.Dirs{Dir: h.VolumesDir()} }
