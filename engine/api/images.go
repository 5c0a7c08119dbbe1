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
	Volumes      []string          `json:"volumes,omitempty"` // paths for which a container gets a volume
	Warning      string            `json:"warning,omitempty"` // of a pull: why the image may not run here
}

// ListImagesOptions choose images.
type ListImagesOptions struct {
	// Filters are KEY=VALUE, with the keys of ImageFilters. One of those with the
	// same key has to fit, of labels each, and each key. Of an image that is chosen
	// by its name only the names that fit are listed.
	Filters []string `json:"filters,omitempty"`
}

// ImageFilters are the keys of ListImagesOptions.Filters: reference (a name with or
// without its tag; * ? [ ] as in path.Match), label (KEY or KEY=VALUE), dangling (true:
// without a name, false: with one), before and since (the creation of another image).
func ImageFilters() []string {
	return []string{"reference", "label", "dangling", "before", "since"}
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

// Phases of a layer during a push, beside PhaseExists, PhaseWaiting and PhaseDone.
const (
	PhaseUploading = "uploading"
	PhaseMounted   = "mounted" // the registry has taken it from another repository
)

// PullProgress is a step of a pull or a push.
type PullProgress struct {
	Layer   string `json:"layer,omitempty"` // digest of the blob; empty: the image as a whole
	Phase   string `json:"phase"`
	Current int64  `json:"current,omitempty"` // bytes
	Total   int64  `json:"total,omitempty"`   // bytes
}

// PushOptions say how to push.
type PushOptions struct {
	Name string `json:"name,omitempty"` // in the registry; the image's own when empty
	// Index puts the image into the index that the name has in the registry,
	// beside the images of other platforms, instead of making the name its own.
	Index bool `json:"index,omitempty"`
}

// PushedImage is what a registry has now.
type PushedImage struct {
	Name   string `json:"name"`            // reference in full
	Digest string `json:"digest"`          // of the image's manifest
	Index  string `json:"index,omitempty"` // digest of the index that it is in
}

// LoginSpec is a login.
type LoginSpec struct {
	Registry string `json:"registry,omitempty"` // HOST[:PORT]; docker.io when empty
	Username string `json:"username"`
	Password string `json:"password"`
}

// ImportSpec describes an image to make of a root file system.
type ImportSpec struct {
	Name      string   `json:"name"`
	Archive   *os.File `json:"archive"`              // read to its end; plain, or compressed with gzip, zstd or xz
	Platform  string   `json:"platform,omitempty"`   // os/arch[/variant]; this host's when empty
	OSVersion string   `json:"os_version,omitempty"` // of the programs in it, as 14.3-RELEASE
	ConfigChange
}

// ConfigChange is what an image's configuration is to say. What is empty stays
// as it was.
type ConfigChange struct {
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Env          []string          `json:"env,omitempty"` // KEY=VALUE, laid over what is there
	WorkDir      string            `json:"work_dir,omitempty"`
	User         string            `json:"user,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`        // laid over what is there
	ExposedPorts []string          `json:"exposed_ports,omitempty"` // PORT[/PROTOCOL], added
	Volumes      []string          `json:"volumes,omitempty"`       // paths, added
}

// RemoveImageOptions say how to remove an image.
type RemoveImageOptions struct {
	Force bool `json:"force,omitempty"` // remove all names of an image named by its digest
}

// ImageStep is a step of an image's history.
type ImageStep struct {
	Created   time.Time `json:"created,omitzero"` // UTC
	CreatedBy string    `json:"created_by,omitempty"`
	Author    string    `json:"author,omitempty"`
	Comment   string    `json:"comment,omitempty"`
	Layer     string    `json:"layer,omitempty"` // diff id of the layer that it made; "" for none
	Blob      string    `json:"blob,omitempty"`  // digest of that layer's blob
	Size      int64     `json:"size"`            // bytes of the blob
}

// PruneImagesOptions say what to remove.
type PruneImagesOptions struct {
	All bool `json:"all,omitempty"` // images of which there is no container, too
}

// PrunedImages is what was removed.
type PrunedImages struct {
	Names []string `json:"names"` // references, in full
	Blobs []string `json:"blobs"` // digests
	Roots []string `json:"roots"` // chain ids of unpacked layers
	Bytes int64    `json:"bytes"` // of blobs and of unpacked layers
}
