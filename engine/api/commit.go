package api

// Kinds of changes.
const (
	ChangeAdded   = "added"
	ChangeChanged = "changed" // or, of a directory, something in it has; also one that was replaced by another file
	ChangeRemoved = "removed" // with all that was in it
)

// Change is a path of a container's root that is another than in its image.
type Change struct {
	Kind string `json:"kind"`
	Path string `json:"path"` // absolute in the root
}

// CommitSpec describes an image to make of a container.
type CommitSpec struct {
	Name    string `json:"name"` // reference; another image's name is taken
	Author  string `json:"author,omitempty"`
	Message string `json:"message,omitempty"` // for the history
	ConfigChange
}
