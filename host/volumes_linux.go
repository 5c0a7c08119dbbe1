package host

import "github.com/joyboyid/xc/volume"

// VolumeDrivers are the ways to keep volumes here, by name, and the one that is
// used unless somebody asks for another.
func (h *Host) VolumeDrivers() (drivers map[string]volume.Driver, standard string) {
	return map[string]volume.Driver{"directory": h.directories()}, "directory"
}
