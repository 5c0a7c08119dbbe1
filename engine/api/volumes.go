package api

import "time"

// Drivers of volumes.
const (
	DriverDirectory = "directory" // a directory below the engine's state directory
	DriverZFS       = "zfs"       // FreeBSD: a file system below default_volume_dataset
)

// VolumeSpec says what a volume is to be.
type VolumeSpec struct {
	Name    string            `json:"name,omitempty"`   // chosen by the engine when empty
	Driver  string            `json:"driver,omitempty"` // DriverZFS where it is configured, else DriverDirectory, when empty
	Labels  map[string]string `json:"labels,omitempty"`
	Options map[string]string `json:"options,omitempty"` // DriverZFS: properties, as zfs(8) takes them: quota=10G
	From    string            `json:"from,omitempty"`    // DriverZFS: VOLUME@SNAPSHOT, of which it is to be a clone
}

// Volume is data that outlives containers, under a name.
type Volume struct {
	Name       string            `json:"name"`
	Driver     string            `json:"driver"`
	Mountpoint string            `json:"mountpoint"` // where its data are on the host; DriverZFS: from its first use on
	Created    time.Time         `json:"created"`    // UTC
	Labels     map[string]string `json:"labels,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	From       string            `json:"from,omitempty"`
	Anonymous  bool              `json:"anonymous,omitempty"` // made for one container, which gave no name
	Users      []string          `json:"users"`               // names of the containers that have it
	Snapshots  []VolumeSnapshot  `json:"snapshots,omitempty"` // of InspectVolume only, the oldest first
}

// VolumeSnapshot is a volume as it was at a time.
type VolumeSnapshot struct {
	Name    string    `json:"name"` // without the volume's
	Created time.Time `json:"created"`
	Used    int64     `json:"used"` // bytes that only it has
}

// RemoveVolumeOptions say how to remove a volume.
type RemoveVolumeOptions struct {
	Force bool `json:"force,omitempty"` // one that is not there is no error
}

// PruneVolumesOptions say which volumes to remove.
type PruneVolumesOptions struct {
	All bool `json:"all,omitempty"` // those with a name as well
}

// PrunedVolumes is what a prune has removed.
type PrunedVolumes struct {
	Names []string `json:"names"`
	Bytes int64    `json:"bytes"`
}
