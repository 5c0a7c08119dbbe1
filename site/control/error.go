package control

// ErrNotRunning is a call that needs main to run, before it was started or
// after the container has ended. It crosses the wire.
var ErrNotRunning error = notRunning{}

// ErrInitFailed is an init command that has not exited with 0: main was not
// started. It crosses the wire.
var ErrInitFailed error = initFailed{}

type initFailed struct{}

func (initFailed) Error() string { return "init command failed" }

// Code is the error's code on the wire.
func (initFailed) Code() string { return "init_failed" }

type notRunning struct{}

func (notRunning) Error() string { return "container is not running" }

// Code is the error's code on the wire.
func (notRunning) Code() string { return "not_running" }
