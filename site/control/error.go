package control

// ErrNotRunning is a call that needs main to run, before it was started or
// after the container has ended. It crosses the wire.
var ErrNotRunning error = notRunning{}

type notRunning struct{}

func (notRunning) Error() string { return "container is not running" }

// Code is the error's code on the wire.
func (notRunning) Code() string { return "not_running" }
