package api

import (
	"os"
	"time"
)

// File is a file in a container's root.
type File struct {
	Path    string    `json:"path"` // absolute, without links on the way
	Type    string    `json:"type"` // file, dir, symlink, char, block, fifo, socket
	Mode    uint32    `json:"mode"` // permissions, setuid, setgid and sticky bits
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	Size    int64     `json:"size"` // bytes
	ModTime time.Time `json:"mod_time"`
}

// CopyFrom says what is copied from a container.
type CopyFrom struct {
	Path    string   `json:"path"`             // in the root; relative ones are from "/"
	Follow  bool     `json:"follow,omitempty"` // what a link leads to, if Path is one
	As      string   `json:"as,omitempty"`     // its name in the archive; the last of its path when empty; ".": what is in a directory
	Archive *os.File `json:"archive"`          // a tar archive is written to it
}

// CopyTo says what is copied to a container.
type CopyTo struct {
	Path    string   `json:"path"`             // a directory of the root, which exists
	Archive *os.File `json:"archive"`          // a tar archive, plain or compressed with gzip or zstd
	Owners  bool     `json:"owners,omitempty"` // as in the archive; else all is root's
}
