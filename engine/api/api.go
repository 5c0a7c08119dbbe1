// Package api is what a container engine can do: the interface [Engine], the
// types that cross the wire, and (generated) its client and its server.
//
// The engine in process (package engine), the client over xcd's socket and
// every test speak this one interface; code above it cannot tell them apart.
//
//	conn, err := ipc.Dial(ctx, "/var/run/xc.sock")
//	...
//	var e api.Engine = api.EngineClient{C: ipc.NewClient(conn)}
//	list, err := e.ListContainers(ctx, api.ListOptions{All: true})
//
// Errors keep their meaning across the wire: errors.Is(err, fs.ErrNotExist)
// holds for a missing container or image on both sides, fs.ErrExist for a
// name that is taken, errors.ErrUnsupported for what the host cannot do.
//
// A *os.File in a parameter crosses as a descriptor and stays the caller's
// to close.
package api

import (
	"context"
	"iter"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Engine -doc ../../docs/api.md

// Engine is everything a container engine does.
type Engine interface {
	Containers
	Images
	Networks
	Ports
	Volumes
	Channels
	System
}

// Containers creates, runs and removes containers. A name parameter takes a
// container's name, its id, or a prefix of the id that fits only one.
type Containers interface {
	// CreateContainer makes a container and what a stopped one keeps: its
	// record, its name and its root. Nothing runs yet.
	CreateContainer(ctx context.Context, spec ContainerSpec) (Container, error)
	// StartContainer runs the init commands, starts main and returns when it runs
	// (or cannot: a missing command is fs.ErrNotExist with code
	// "command_not_found"). Until then the container is StateCreated, or StateExited.
	StartContainer(ctx context.Context, name string, opt StartOptions) error
	// RunContainer is CreateContainer, StartContainer and WaitContainer in one
	// call. It tells how far it is before it goes on: progress gets a container
	// that is created, and then one that runs. Who goes away before that, or
	// makes progress fail, leaves a container that was created and not started,
	// or, with AutoRemove, none.
	RunContainer(ctx context.Context, spec ContainerSpec, opt StartOptions, progress func(RunProgress) error) (Exit, error)
	// WaitContainer returns how the container ended. It waits for the end of
	// a container that runs, and for the first start of one that never did;
	// or as the options say.
	WaitContainer(ctx context.Context, name string, opt WaitOptions) (Exit, error)
	// StopContainer sends the stop signal, waits, and kills what is left. It answers
	// when ports, addresses and whatever else only a running container has are free
	// again; WaitContainer, the container's state and its events tell of the end before.
	// Stopping a stopped container succeeds; to stop one whose init commands run
	// ends these, and its start fails.
	StopContainer(ctx context.Context, name string, opt StopOptions) error
	// RestartContainer stops a container that runs, and starts it again; its
	// output goes to its log.
	RestartContainer(ctx context.Context, name string, opt StopOptions) error
	// RenameContainer gives a container another name. Its host name stays.
	RenameContainer(ctx context.Context, name, to string) error
	// KillContainer sends a signal, by name or number, to main, or to the init or
	// deinit command that is run instead.
	KillContainer(ctx context.Context, name, signal string) error
	// RemoveContainer removes a stopped container and all it held.
	RemoveContainer(ctx context.Context, name string, opt RemoveOptions) error
	// PruneContainers removes all containers that do not run, but for those that are
	// being started; their volumes stay. One that cannot be removed keeps no other,
	// and is told of in the result.
	PruneContainers(ctx context.Context) (PrunedContainers, error)
	// ExecContainer runs a command in a running container and returns when
	// the command has exited; or, if it is to be detached, once it runs.
	ExecContainer(ctx context.Context, name string, opt ExecOptions) (Exit, error)
	// AttachContainer connects streams to main: to its terminal, or, without
	// one, to what it writes to its log. It returns when the streams end. A stdin is
	// fs.ErrInvalid where main has neither a terminal nor Container.OpenStdin.
	AttachContainer(ctx context.Context, name string, opt AttachOptions) error
	// ResizeContainer sets the window size of the terminal of main, or of
	// the exec'ed process whose ExecOptions.ID is exec.
	ResizeContainer(ctx context.Context, name, exec string, size Size) error
	// ContainerLogs calls emit for each recorded piece of output, oldest first.
	ContainerLogs(ctx context.Context, name string, opt LogOptions, emit func(LogEntry) error) error
	// DiffContainer calls emit for each path of the root that is another than
	// in the image. What is mounted into the root is not in it.
	DiffContainer(ctx context.Context, name string, emit func(Change) error) error
	// CommitContainer makes an image of a container: of the image that it was
	// made from, and a layer of what has changed. The container may run: what is
	// seen of its root is a snapshot on ZFS, elsewhere each file as it is when it
	// is read.
	CommitContainer(ctx context.Context, name string, spec CommitSpec) (Image, error)
	// StatContainer describes a file of the root; follow: what it leads to, if
	// it is a link. Names are looked up in the root, also while the container runs.
	StatContainer(ctx context.Context, name, path string, follow bool) (File, error)
	// CopyFromContainer writes a file or a directory of the root as an archive.
	// It returns what could not be copied as it is. Of a container that does not
	// run, what is mounted into it is not there, and a path in a mount fs.ErrInvalid.
	CopyFromContainer(ctx context.Context, name string, opt CopyFrom) (notes []string, err error)
	// CopyToContainer unpacks an archive into a directory of the root. A file does
	// not take the place of a directory, nor a directory that of a file
	// (fs.ErrExist). It returns what could not be restored as it is.
	CopyToContainer(ctx context.Context, name string, opt CopyTo) (notes []string, err error)
	// ContainerProcesses lists what lives of main and its descendants, by pid.
	ContainerProcesses(ctx context.Context, name string) ([]Process, error)
	// ContainerUsage tells what a running container uses.
	ContainerUsage(ctx context.Context, name string) (Usage, error)
	// ListContainers lists containers, newest first.
	ListContainers(ctx context.Context, opt ListOptions) ([]Container, error)
	// InspectContainer returns one container.
	InspectContainer(ctx context.Context, name string) (Container, error)
}

// Images brings images to this host and removes them. A name parameter takes
// a reference as Docker's users write it, or an image's digest.
type Images interface {
	// PullImage fetches an image from its registry, verifies and unpacks it.
	PullImage(ctx context.Context, name string, opt PullOptions, progress func(PullProgress) error) (Image, error)
	// PushImage brings an image to a registry: what the registry does not have
	// yet of it, and a name.
	PushImage(ctx context.Context, name string, opt PushOptions, progress func(PullProgress) error) (PushedImage, error)
	// Login tries a login at a registry and keeps it for all who use this
	// engine. It returns the registry's name.
	Login(ctx context.Context, spec LoginSpec) (string, error)
	// Logout forgets a login. It returns the registry's name.
	Logout(ctx context.Context, registry string) (string, error)
	// ImportImage makes an image of one layer from an archive of a root file
	// system (tar, plain or compressed with gzip, zstd or xz).
	ImportImage(ctx context.Context, spec ImportSpec) (Image, error)
	// SaveImages writes images as one archive: an OCI layout that also has the
	// manifest.json of docker save.
	SaveImages(ctx context.Context, spec SaveSpec) error
	// LoadImages reads images from an archive: an OCI layout, or what docker
	// save writes.
	LoadImages(ctx context.Context, spec LoadSpec) ([]Image, error)
	// CheckImages verifies every blob and looks that every image has its layers.
	// If asked to, what is damaged or missing is fetched again.
	CheckImages(ctx context.Context, opt CheckImagesOptions) (ImageCheck, error)
	// ListImages lists images by name.
	ListImages(ctx context.Context, opt ListImagesOptions) ([]Image, error)
	// InspectImage returns one image.
	InspectImage(ctx context.Context, name string) (Image, error)
	// RemoveImage removes a name and, with the last one, the image. It
	// returns what was removed: names and digests.
	RemoveImage(ctx context.Context, name string, opt RemoveImageOptions) ([]string, error)
	// TagImage gives an image another name, which may have been another image's.
	TagImage(ctx context.Context, name, newName string) error
	// ImageHistory tells how an image was made, the newest step first.
	ImageHistory(ctx context.Context, name string) ([]ImageStep, error)
	// PruneImages removes what no name and no container needs: blobs, unpacked
	// layers, downloads that were broken off; and, if asked to, the names of
	// images of which there is no container.
	PruneImages(ctx context.Context, opt PruneImagesOptions) (PrunedImages, error)
}

// Volumes keeps data that outlives containers.
type Volumes interface {
	// CreateVolume makes an empty volume, or a clone of a snapshot. fs.ErrExist:
	// the name is taken, by a volume or by data that are in no record.
	CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error)
	// ListVolumes lists volumes by name.
	ListVolumes(ctx context.Context) ([]Volume, error)
	// InspectVolume returns one volume.
	InspectVolume(ctx context.Context, name string) (Volume, error)
	// RemoveVolume removes a volume with all its data, or, of a name
	// VOLUME@SNAPSHOT, the snapshot. ErrInUse: a container has it, it has
	// snapshots, or a volume is a clone of the snapshot; the error names them.
	RemoveVolume(ctx context.Context, name string, opt RemoveVolumeOptions) error
	// SnapshotVolume keeps a volume as it is now, under VOLUME@SNAPSHOT.
	SnapshotVolume(ctx context.Context, name, snapshot string) error
	// PruneVolumes removes anonymous volumes that no container has; and, if asked
	// to, all that no container has. What has snapshots stays.
	PruneVolumes(ctx context.Context, opt PruneVolumesOptions) (PrunedVolumes, error)
}

// Channels are sockets beside the engine's own, on which a part of its methods
// can be called: to be mounted into a container, or a jail, that is to know or to
// do something of what the engine knows and does. They are there until they are
// removed, whenever an engine is.
type Channels interface {
	// CreateChannel makes a directory and listens at a socket in it. A path that
	// exists is fs.ErrExist and is left alone.
	CreateChannel(ctx context.Context, spec ChannelSpec) (Channel, error)
	// ListChannels lists channels by path.
	ListChannels(ctx context.Context) ([]Channel, error)
	// RemoveChannel ends the connections of a channel and removes its socket, and
	// its directory, if nothing else is in there. It returns the path.
	RemoveChannel(ctx context.Context, path string) (string, error)
}

// System tells about the engine and its host.
type System interface {
	// Info describes the engine: its host, its storage, its directories.
	Info(ctx context.Context) (Info, error)
	// Version tells the versions of the engine and of its API.
	Version(ctx context.Context) (Version, error)
	// CheckSystem looks at what the host has of what containers need, and at
	// what is missing. It changes nothing.
	CheckSystem(ctx context.Context) ([]Check, error)
	// Events tells what has happened, oldest first. The engine keeps the latest.
	// It never waits for who reads them: one who is so slow that events are
	// removed before they could be read is told how many.
	Events(ctx context.Context, opt EventOptions) iter.Seq2[Event, error]
	// DiskUsage tells what takes room on the disk, and how much of it could be
	// had back.
	DiskUsage(ctx context.Context) ([]DiskUsage, error)
}
