package api

// Sentinel is an error that keeps its identity across the wire: compare with
// errors.Is.
type Sentinel string

// Errors of a command that cannot be run.
const (
	// ErrCommandNotFound: the program is not in the container's root (exit code 127).
	ErrCommandNotFound Sentinel = "command_not_found"
	// ErrNotExecutable: the program is there and cannot be executed (exit code 126).
	ErrNotExecutable Sentinel = "not_executable"
	// ErrInitFailed: an init command has not exited with 0, and main was not started.
	ErrInitFailed Sentinel = "init_failed"
	// ErrInUse: what was to be removed is needed by something else.
	ErrInUse Sentinel = "in_use"
	// ErrNotRunning: what was asked for needs a container that runs, and this one does
	// not, or ended meanwhile.
	ErrNotRunning Sentinel = "not_running"
)

func (s Sentinel) Error() string {
	switch s {
	case ErrCommandNotFound:
		return "command not found in the container"
	case ErrNotExecutable:
		return "command is not executable"
	case ErrInitFailed:
		return "init command failed"
	case ErrInUse:
		return "in use"
	case ErrNotRunning:
		return "container is not running"
	}
	return string(s)
}

// Code is the error's name on the wire.
func (s Sentinel) Code() string { return string(s) }
