package api

import (
	"os"
	"time"
)

// Image is an image on this host.
type Image struct {
	ID           string            `json:"id"`               // digest of the configuration, sha256:…
	Digest       string            `json:"digest"`           // digest of the manifest
	Names        []string          `json:"names"`            // references, in full
	Platform     string            `json:"platform"`         // os/arch[/variant]
	Created      time.Time         `json:"created,omitzero"` // UTC
	Size         int64             `json:"size"`             // bytes of its blobs
	Chain        string            `json:"chain"`            // chain id of its layers
	Layers       []string          `json:"layers"`           // diff ids
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Env          []string          `json:"env,omitempty"`
	WorkDir      string            `json:"work_dir,omitempty"`
	User         string            `json:"user,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"`
	Warning      string            `json:"warning,omitempty"` // of a pull: why the image may not run here
}

// PullOptions say what to pull.
type PullOptions struct {
	Platform string `json:"platform,omitempty"` // os/arch[/variant]; empty: the best this host can run
}

// Phases of a layer during a pull.
const (
	PhaseExists      = "exists" // here already
	PhaseWaiting     = "waiting"
	PhaseDownloading = "downloading"
	PhaseDownloaded  = "downloaded"
	PhaseUnpacking   = "unpacking"
	PhaseDone        = "done"
)

// PullProgress is a step of a pull.
type PullProgress struct {
	Layer   string `json:"layer,omitempty"` // digest of the blob; empty: the image as a whole
	Phase   string `json:"phase"`
	Current int64  `json:"current,omitempty"` // bytes
	Total   int64  `json:"total,omitempty"`   // bytes
}

// ImportSpec describes an image to make of a root file system.
type ImportSpec struct {
	Name       string            `json:"name"`
	Archive    *os.File          `json:"archive"`            // read to its end
	Platform   string            `json:"platform,omitempty"` // os/arch[/variant]; this host's when empty
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Env        []string          `json:"env,omitempty"`
	WorkDir    string            `json:"work_dir,omitempty"`
	User       string            `json:"user,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// RemoveImageOptions say how to remove an image.
type RemoveImageOptions struct {
	Force bool `json:"force,omitempty"` // remove all names of an image named by its digest
}
