// Package control is what a site's run loop answers: the interface
// [Control], with its generated client and server.
//
// The run loop outlives the daemon, so both may be of different releases:
// fields and methods are only ever added, see [Version].
package control

import (
	"context"
	"os"
	"strings"
	"time"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Control

// Control starts and watches processes in a site.
type Control interface {
	// Start runs the init commands, one after the other, then starts main with the
	// streams given and returns its pid once it has been executed. Start fails
	// when main was started before. An init command that fails, or cannot be
	// started, is ErrInitFailed. When the caller goes away before main runs, the
	// command that runs then is killed, and main is not started.
	Start(ctx context.Context, main Process, stdio Stdio) (pid int, err error)
	// Exec starts a process beside main and returns when it has exited. The
	// container does not wait for what it leaves behind.
	Exec(ctx context.Context, p Process, stdio Stdio) (Exit, error)
	// Detach starts a process beside main that has nobody's streams, calls started once
	// it has been executed, and returns when it has exited. It goes on when the
	// caller goes away, in a terminal as well.
	Detach(ctx context.Context, p Process, started func(pid int) error) (Exit, error)
	// Signal sends a signal to main, or with all set to every process. While an
	// init or deinit command runs, that is who gets what is for main.
	Signal(ctx context.Context, signal int, all bool) error
	// Stop sends signal to main, waits until the container has ended, and
	// after timeout sends SIGKILL to every process. The deinit commands run after
	// that; without a timeout they do not, and are killed if they are at it. While
	// init commands run, the signal and what follows are for them, Stop returns
	// when none runs any more, and main is not started.
	Stop(ctx context.Context, signal int, timeout time.Duration) error
	// Attach joins streams to main's terminal or, without one, to a copy of
	// what is logged; replay begins with the recent output. It returns when
	// the output has ended or ctx is done.
	Attach(ctx context.Context, stdio Stdio, replay bool, size Size) error
	// Resize sets the window of the terminal of main ("") or of the exec'ed
	// process with this id.
	Resize(ctx context.Context, id string, size Size) error
	// State tells what runs.
	State(ctx context.Context) (State, error)
	// Wait returns when the container has ended.
	Wait(ctx context.Context) (Exit, error)
	// Abandon kills every process, writes the exit record and ends the run
	// loop. It serves cleanup: it succeeds whatever state the site is in.
	Abandon(ctx context.Context) error
}

// Process says what to run. Names (of the program, the user, the directory)
// are resolved inside the site's root.
type Process struct {
	ID       string   `json:"id,omitempty"` // of an exec'ed process: for Resize
	Args     []string `json:"args"`         // Args[0] is looked up in PATH of Env unless it has a slash
	Env      []string `json:"env"`
	Dir      string   `json:"dir,omitempty"`  // absolute; "/" when empty; made by no one: must exist
	User     string   `json:"user,omitempty"` // name|uid[:group|gid]; root when empty
	Terminal bool     `json:"terminal,omitempty"`
	Size     Size     `json:"size"`
	WaitMain bool     `json:"wait_main,omitempty"` // main: the end of main is the end of the container
	// OpenStdin, without a terminal and without a given stdin, makes stdin a
	// pipe that attached clients write to. It stays open when they leave.
	OpenStdin bool     `json:"open_stdin,omitempty"`
	Ulimits   []Ulimit `json:"ulimits,omitempty"`

	// Main: commands that are run before it, each to its end, and after it, when
	// it and its descendants are gone; with its environment, directory, user and
	// limits, and no input. Their output is logged. What an init command leaves
	// behind does not keep the container.
	Init          []Command     `json:"init,omitempty"`
	Deinit        []Command     `json:"deinit,omitempty"`
	DeinitTimeout time.Duration `json:"deinit_timeout,omitempty"` // of all together, then they are killed; 0: none
}

// Command is a program that is run to its end.
type Command struct {
	Args []string `json:"args"`
	User string   `json:"user,omitempty"` // main's when empty
}

// String is the command for a message, shortened.
func (c Command) String() string {
	const most = 200 // bytes
	s := strings.Join(c.Args, " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Ulimit is a limit that a process, and all that it starts, has for itself:
// setrlimit(2). -1 is none.
type Ulimit struct {
	Name string `json:"name"` // "nofile", "core", ... as the site's system has them
	Soft int64  `json:"soft"` // in the unit of the kernel: bytes, a number, seconds
	Hard int64  `json:"hard"`
}

// Stdio are the descriptors for a process; nil is /dev/null for stdin and
// the log for stdout and stderr.
type Stdio struct {
	Stdin  *os.File `json:"stdin,omitempty"`
	Stdout *os.File `json:"stdout,omitempty"`
	Stderr *os.File `json:"stderr,omitempty"`
}

// Size is the size of a terminal's window, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Exit tells how a process ended. It is also the exit record that the run
// loop leaves in the state directory.
type Exit struct {
	Code   int       `json:"code"`             // 128+n for signal n
	Signal int       `json:"signal,omitempty"` // the number, when a signal ended it
	Core   bool      `json:"core,omitempty"`
	Lost   bool      `json:"lost,omitempty"` // how it ended is not known
	Error  string    `json:"error,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// State is what runs in a site.
type State struct {
	Loop    int       `json:"loop"`             // pid of the run loop
	Main    int       `json:"main,omitempty"`   // pid of main on the host, while it lives
	Started time.Time `json:"started,omitzero"` // of main
	PIDs    []int     `json:"pids,omitempty"`   // of main's tree, on the host
	Exit    *Exit     `json:"exit,omitempty"`   // of main, once it has exited; the site goes on while descendants live
}
