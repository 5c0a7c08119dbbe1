package api

// Revision is the revision of the interface. It grows when a method or a
// field is added; old clients go on working.
const Revision = 1

// Version tells versions.
type Version struct {
	Version  string `json:"version"` // of the engine
	Revision int    `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/arch
}

// Info describes an engine.
type Info struct {
	Tag        string   `json:"tag"` // instance tag: part of every name the kernel sees
	Version    Version  `json:"version"`
	OSRelease  string   `json:"os_release"`
	Hostname   string   `json:"hostname"`
	Storage    string   `json:"storage"` // "zfs", "overlayfs", "reflink" or "copy"
	StateDir   string   `json:"state_dir"`
	RunDir     string   `json:"run_dir"`
	Containers int      `json:"containers"`
	Running    int      `json:"running"`
	Images     int      `json:"images"`
	Warnings   []string `json:"warnings,omitempty"` // what this host lacks, and what follows
}

// Kinds of what takes room.
const (
	UsageImages     = "images"     // blobs, compressed as they were transferred
	UsageLayers     = "layers"     // unpacked layers of images
	UsageContainers = "containers" // what containers have written into their roots
	UsageVolumes    = "volumes"
)

// DiskUsage is what one kind of things takes on the disk.
type DiskUsage struct {
	Kind        string `json:"kind"`
	Total       int    `json:"total"`       // how many there are
	Active      int    `json:"active"`      // how many are in use: by a container, or running
	Size        int64  `json:"size"`        // bytes
	Reclaimable int64  `json:"reclaimable"` // bytes of what is not in use
}
