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
