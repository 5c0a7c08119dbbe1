package api

import "time"

// ChannelSpec says what a channel is to be.
type ChannelSpec struct {
	Path  string   `json:"path"`            // of the directory to make, absolute; only root may change what is above it
	Mode  string   `json:"mode,omitempty"`  // of the socket, octal; "0600" when empty
	Allow []string `json:"allow,omitempty"` // methods, or all of a group: "Images.*"; ChannelDefaults() when empty
}

// Channel is a channel.
type Channel struct {
	Path    string    `json:"path"`
	Socket  string    `json:"socket"` // below Path
	Mode    string    `json:"mode"`   // of the socket, octal
	Allow   []string  `json:"allow"`  // methods
	Created time.Time `json:"created"`
	Error   string    `json:"error,omitempty"` // why nobody answers there now
}

// ChannelSocket is the name of the socket in a channel's directory.
const ChannelSocket = "xc.sock"

// ChannelDefaults are the methods of a channel that names none: those that show
// what there is and change nothing. What containers write is not among it, but
// their environment is.
func ChannelDefaults() []string {
	return []string{
		MethodContainersWaitContainer, MethodContainersContainerProcesses,
		MethodContainersListContainers, MethodContainersInspectContainer,
		MethodImagesListImages, MethodImagesInspectImage, MethodImagesImageHistory,
		MethodSystemInfo, MethodSystemVersion, MethodSystemDiskUsage,
	}
}
