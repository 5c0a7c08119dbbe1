package api

import "os"

// SaveSpec says which images to save where.
type SaveSpec struct {
	Names   []string `json:"names"`
	Archive *os.File `json:"archive"` // written to
}

// LoadSpec says where to load images from.
type LoadSpec struct {
	Archive  *os.File `json:"archive"`            // read to its end; plain or compressed with gzip or zstd
	Platform string   `json:"platform,omitempty"` // os/arch[/variant], where there are several; empty: the best this host can run
	Name     string   `json:"name,omitempty"`     // for an image that has none in the archive
}

// CheckImagesOptions say what to do about problems.
type CheckImagesOptions struct {
	Repair bool `json:"repair,omitempty"` // fetch again what can be fetched
}

// ImageCheck is the state of the image store.
type ImageCheck struct {
	Images   int            `json:"images"`             // that were looked at
	Blobs    int            `json:"blobs"`              // that were read and verified
	Repaired []ImageProblem `json:"repaired,omitempty"` // what was wrong and is not any more
	Problems []ImageProblem `json:"problems,omitempty"` // what is wrong
}

// ImageProblem is something that is wrong with the image store.
type ImageProblem struct {
	Object  string `json:"object"` // image NAME, blob DIGEST or chain ID
	Problem string `json:"problem"`
}
