package api

import (
	"os"
	"time"
)

// States of a container.
const (
	StateCreated = "created" // made, never started
	StateRunning = "running" // main or a descendant of it lives
	StateExited  = "exited"  // ended; Exit tells how
)

// ContainerSpec says what a container is to be.
type ContainerSpec struct {
	Name       string    `json:"name,omitempty"`       // chosen by the engine when empty
	Image      string    `json:"image,omitempty"`      // reference of a local image; exclusive with Rootfs
	Platform   string    `json:"platform,omitempty"`   // os/arch[/variant] the image must have; empty: any
	Rootfs     string    `json:"rootfs,omitempty"`     // absolute path of a directory to use as root, as it is
	Command    []string  `json:"command,omitempty"`    // replaces the image's Cmd
	Entrypoint *[]string `json:"entrypoint,omitempty"` // replaces the image's Entrypoint (and drops its Cmd); empty: none
	Env        []string  `json:"env,omitempty"`        // KEY=VALUE, over the image's
	WorkDir    string    `json:"work_dir,omitempty"`   // absolute, inside the root
	User       string    `json:"user,omitempty"`       // name|uid[:group|gid], names as in the root's /etc/passwd
	Hostname   string    `json:"hostname,omitempty"`   // the container's id when empty
	Terminal   bool      `json:"terminal,omitempty"`   // main gets a pty
	OpenStdin  bool      `json:"open_stdin,omitempty"` // main's stdin is what start or attach gives; else /dev/null
	ReadOnly   bool      `json:"read_only,omitempty"`  // the root is mounted read-only
	Mounts     []Mount   `json:"mounts,omitempty"`     // files, directories, volumes and file systems to be seen in it
	// Networks are those to connect to; or only NetworkNone or NetworkHost. None:
	// NetworkDefault where there is one, else NetworkNone.
	Networks []Attachment `json:"networks,omitempty"`
	// VNET gives it a network stack of its own, on FreeBSD, where it would share
	// the host's because its networks have alias interfaces.
	VNET bool `json:"vnet,omitempty"`
	// Main is the network, or the address, that the container is known by and
	// whose gateway it uses; empty: the first.
	Main    string      `json:"main,omitempty"`
	Aliases []string    `json:"aliases,omitempty"` // names on its networks, beside its own; not on none
	Hosts   []HostEntry `json:"hosts,omitempty"`   // further lines of /etc/hosts
	DNS     DNS         `json:"dns,omitzero"`      // instead of what the host's resolv.conf says
	// Publish are ports that are published on the host while it runs; PublishAll
	// adds those that the image exposes, each on a port of the host that is free.
	Publish    []Port `json:"publish,omitempty"`
	PublishAll bool   `json:"publish_all,omitempty"`
	// NoLocalProxy leaves out the process that serves published ports to the host
	// itself, which no redirection reaches.
	NoLocalProxy bool              `json:"no_local_proxy,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`   // over the image's
	Params       []string          `json:"params,omitempty"`   // FreeBSD: parameters of the jail, NAME=VALUE or NAME, as jail(8) takes them
	Datasets     []string          `json:"datasets,omitempty"` // FreeBSD: ZFS datasets that the container administers
	AutoRemove   bool              `json:"auto_remove,omitempty"`
	Limits       Limits            `json:"limits,omitzero"` // what it may use
	// WaitMain ends the container when main exits, as Docker does. By
	// default it lasts until main and all descendants of main are gone.
	WaitMain bool `json:"wait_main,omitempty"`
	// InitCommands are run before main, one after the other and each to its end; one
	// that does not exit with 0 is ErrInitFailed, and main is not started.
	// DeinitCommands are run when main and all its descendants are gone, whatever
	// their exit codes; not where the container is killed at once. Their output is
	// logged. Nil: those of the image; empty: none.
	InitCommands   *[]Command `json:"init_commands,omitempty"`
	DeinitCommands *[]Command `json:"deinit_commands,omitempty"`
	DeinitTimeout  *int       `json:"deinit_timeout,omitempty"` // seconds that DeinitCommands have together before they are killed; nil: the image's, or 10; not without commands

	StopSignal  string `json:"stop_signal,omitempty"`  // the image's, or TERM
	StopTimeout *int   `json:"stop_timeout,omitempty"` // seconds before KILL; 10 when nil
}

// Command is a program that is run in a container, as main would be, to its end.
type Command struct {
	Args []string `json:"args"`
	User string   `json:"user,omitempty"` // the container's when empty
}

// Types of mounts.
const (
	MountBind   = "bind"   // a file or directory of the host
	MountVolume = "volume" // a volume
	MountTmpfs  = "tmpfs"  // an empty file system in memory, for one run
	MountZFS    = "zfs"    // FreeBSD: a ZFS file system that is mounted nowhere else
)

// Mount is something of the host, or made for the container, to be seen in it.
type Mount struct {
	Type        string   `json:"type,omitempty"`      // MountBind when empty
	Source      string   `json:"source,omitempty"`    // MountBind: absolute path on the host; MountVolume: its name, made when missing; MountZFS: the dataset
	Destination string   `json:"destination"`         // absolute path in the container; made when missing
	ReadOnly    bool     `json:"read_only,omitempty"` // nothing can be written through it
	NoSUID      bool     `json:"nosuid,omitempty"`    // set-user-ID and set-group-ID have no effect
	NoExec      bool     `json:"noexec,omitempty"`    // nothing in it can be executed
	Subpath     string   `json:"subpath,omitempty"`   // MountBind, MountVolume: only what has this name in it; links do not lead out of it
	NoCopy      bool     `json:"no_copy,omitempty"`   // MountVolume: not filled from the image when it is empty
	Size        int64    `json:"size,omitempty"`      // MountTmpfs: bytes; 0 is what the host takes
	Mode        uint32   `json:"mode,omitempty"`      // MountTmpfs: of its root; 0 is 01777
	UID         uint32   `json:"uid,omitempty"`       // MountTmpfs: of its root
	GID         uint32   `json:"gid,omitempty"`       // MountTmpfs: of its root
	Opened      *os.File `json:"opened,omitempty"`    // MountBind: Source as the caller sees it: what is mounted must be this very file
}

// Limits are what a container may use; zero is no limit. One that this host
// cannot enforce is an error when the container is made.
type Limits struct {
	Memory  int64    `json:"memory,omitempty"`  // bytes, of all its processes together; 6 MiB at the least
	CPUs    float64  `json:"cpus,omitempty"`    // processors whose time they share, 0.01 at the least
	Pids    int64    `json:"pids,omitempty"`    // processes and threads
	Ulimits []Ulimit `json:"ulimits,omitempty"` // what each process has for itself, also of those that exec starts
}

// Ulimit is a limit of setrlimit(2). -1 is none.
type Ulimit struct {
	Name string `json:"name"` // "nofile", "nproc", "core", ...: as limits.conf(5) has it, or limits(1)
	Soft int64  `json:"soft"` // in the unit of the kernel: bytes, a number, seconds
	Hard int64  `json:"hard"`
}

// Container is a container as ps and inspect show it.
type Container struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Image    string   `json:"image,omitempty"`    // reference it was made from
	ImageID  string   `json:"image_id,omitempty"` // digest of the image's configuration
	Rootfs   string   `json:"rootfs,omitempty"`   // given root directory
	Args     []string `json:"args"`               // entry point and command
	Env      []string `json:"env,omitempty"`
	WorkDir  string   `json:"work_dir,omitempty"`
	User     string   `json:"user,omitempty"`
	Hostname string   `json:"hostname"`
	Terminal bool     `json:"terminal,omitempty"`
	// OpenStdin: main reads what it is given at its start or by who attaches; else
	// nothing, unless it has a terminal.
	OpenStdin bool              `json:"open_stdin,omitempty"`
	Network   string            `json:"network"` // names, with commas between
	Networks  []Connection      `json:"networks,omitempty"`
	Ports     []Port            `json:"ports,omitempty"` // that are published, while it runs; else those that will be
	Mounts    []Mount           `json:"mounts,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	ReadOnly  bool              `json:"read_only,omitempty"`
	Params    []string          `json:"params,omitempty"`
	Datasets  []string          `json:"datasets,omitempty"`
	Limits    Limits            `json:"limits,omitzero"`

	InitCommands   []Command `json:"init_commands,omitempty"`
	DeinitCommands []Command `json:"deinit_commands,omitempty"`
	DeinitTimeout  int       `json:"deinit_timeout,omitempty"` // seconds

	State   string    `json:"state"`
	Pid     int       `json:"pid,omitempty"`    // main's, on the host, while it lives
	RootDir string    `json:"root_dir"`         // where the root is, on the host, as far as it can be seen there
	LogPath string    `json:"log_path"`         // the log file
	JID     int       `json:"jid,omitempty"`    // FreeBSD: the jail, while it runs
	Created time.Time `json:"created"`          // UTC
	Started time.Time `json:"started,omitzero"` // last start
	Exit    *Exit     `json:"exit,omitempty"`   // of the last run
	AutoRm  bool      `json:"auto_remove,omitempty"`
}

// Exit tells how a process, or a container's main, ended.
type Exit struct {
	Code   int       `json:"code"`             // 0-255; 128+n for signal n; 137 when Lost
	Signal string    `json:"signal,omitempty"` // "KILL", when a signal ended it
	Core   bool      `json:"core,omitempty"`   // a core was dumped
	Lost   bool      `json:"lost,omitempty"`   // the run loop was killed: how main ended is not known
	OOM    bool      `json:"oom,omitempty"`    // Linux: its limit of memory had the kernel kill a process of it
	Error  string    `json:"error,omitempty"`  // why main never ran
	At     time.Time `json:"at,omitzero"`      // when, UTC
}

// Stdio are descriptors for a process. Only pipes, sockets, regular files
// and character devices are accepted.
type Stdio struct {
	Stdin  *os.File `json:"stdin,omitempty"`
	Stdout *os.File `json:"stdout,omitempty"`
	Stderr *os.File `json:"stderr,omitempty"` // unused with a terminal
}

// Size is the size of a terminal's window, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// StartOptions connect main's streams. Without a terminal the descriptors go
// to main as they are; those that are nil are /dev/null (stdin) or the log.
// With one, they are joined to the terminal, beside the log.
type StartOptions struct {
	Stdio Stdio `json:"stdio"`
	Size  Size  `json:"size"` // of the terminal; zero: 24 by 80
}

// RunProgress tells how far a run is.
type RunProgress struct {
	ID    string `json:"id"`    // of the container
	State string `json:"state"` // StateCreated, then StateRunning
}

// Conditions of a wait.
const (
	WaitNotRunning = "not-running" // it does not run; one that never did has code 0
	WaitNextExit   = "next-exit"   // the next end of a run, or of a start that fails
	WaitRemoved    = "removed"     // it is removed
)

// WaitOptions say what to wait for.
type WaitOptions struct {
	Condition string `json:"condition,omitempty"` // one of the constants above; empty: see WaitContainer
	// Since makes WaitNextExit take an end that came after this time, for those
	// who ask again.
	Since time.Time `json:"since,omitzero"`
}

// StopOptions say how to stop.
type StopOptions struct {
	Signal  string `json:"signal,omitempty"`  // name or number; the container's stop signal when empty
	Timeout *int   `json:"timeout,omitempty"` // seconds; the container's when nil; 0 kills at once
}

// RemoveOptions say how to remove.
type RemoveOptions struct {
	Force   bool `json:"force,omitempty"`   // kill it first when it runs
	Volumes bool `json:"volumes,omitempty"` // its anonymous volumes go with it
}

// PrunedContainers is what a prune has removed.
type PrunedContainers struct {
	Names  []string `json:"names"`            // the oldest first
	Failed []string `json:"failed,omitempty"` // which could not be removed, and why
	Bytes  int64    `json:"bytes"`            // that were written into their roots
}

// ExecOptions describe a command run in a running container.
type ExecOptions struct {
	ID       string   `json:"id,omitempty"` // chosen by the caller, to resize it; unique among the container's
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"` // over the container's
	WorkDir  string   `json:"work_dir,omitempty"`
	User     string   `json:"user,omitempty"` // the container's when empty
	Terminal bool     `json:"terminal,omitempty"`
	Stdio    Stdio    `json:"stdio"`
	Size     Size     `json:"size"`
	// Detach leaves the command to itself: ExecContainer returns once it runs, with
	// an Exit that says nothing, and it goes on whoever goes away. It reads nothing,
	// and what it writes is lost. There is no Stdio then.
	Detach bool `json:"detach,omitempty"`
}

// AttachOptions describe an attachment.
type AttachOptions struct {
	Stdio  Stdio `json:"stdio"`
	Replay bool  `json:"replay,omitempty"` // begin with the recent output
	Size   Size  `json:"size"`             // of the attaching terminal, when it is one
}

// LogOptions choose what ContainerLogs returns.
type LogOptions struct {
	Follow bool      `json:"follow,omitempty"` // go on until the container ends
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Tail   *int      `json:"tail,omitempty"` // only the last n lines
}

// LogEntry is a piece of output.
type LogEntry struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"` // "stdout" or "stderr"
	Data   []byte    `json:"data"`   // as written; a line ends with '\n'
}

// ListOptions choose containers.
type ListOptions struct {
	All bool `json:"all,omitempty"` // also those that do not run
	// Filters are KEY=VALUE, with the keys of ContainerFilters. One of those with
	// the same key has to fit, of labels each, and each key. Status and exited are
	// also of those that do not run, whatever All says.
	Filters []string `json:"filters,omitempty"`
}

// ContainerFilters are the keys of ListOptions.Filters: id (or its beginning), name (a
// regular expression, of a part of it), label (KEY or KEY=VALUE), status (a state),
// exited (a code), ancestor (an image, also one that the container's was built on),
// network (name or id), volume (name, or what or where anything is mounted), before
// and since (the creation of another container).
func ContainerFilters() []string {
	return []string{"id", "name", "label", "status", "exited", "ancestor", "network", "volume", "before", "since"}
}

// Process is a process of a container.
type Process struct {
	PID     int       `json:"pid"`    // on the host
	Parent  int       `json:"parent"` // on the host
	UID     int       `json:"uid"`    // effective, on the host
	State   string    `json:"state"`  // a letter of ps(1): R, S, D, T, Z, I
	Threads int       `json:"threads"`
	CPU     float64   `json:"cpu"`    // seconds, user and system
	Waited  float64   `json:"waited"` // CPU seconds of its children that have ended and it has waited for, and of theirs
	Memory  int64     `json:"memory"` // resident, bytes
	Started time.Time `json:"started"`
	Name    string    `json:"name"`           // of the program
	Args    []string  `json:"args,omitempty"` // none of a zombie
}

// Usage is what a running container uses, commands that were exec'ed included.
type Usage struct {
	CPUTime   float64 `json:"cpu_time"` // seconds of processor time since its start
	Memory    int64   `json:"memory"`   // bytes: what is counted against a limit, where that is done, else what is resident, added up
	Processes int     `json:"processes"`
	Threads   int     `json:"threads"`
	Read      int64   `json:"read"`    // bytes read from storage since its start
	Written   int64   `json:"written"` // bytes written
	// Rates are averages of the kernel over the last second or so, where it tells
	// these: FreeBSD, which does not add up what was read and written.
	Rates *Rates `json:"rates,omitempty"`
	// Missing tells what is not known of this, and why: "io".
	Missing map[string]string `json:"missing,omitempty"`
}

// Rates are amounts of use per time.
type Rates struct {
	CPU     float64 `json:"cpu"`     // percent of one processor
	Read    int64   `json:"read"`    // bytes per second
	Written int64   `json:"written"` // bytes per second
}
