package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Error is a start that failed, or a step of Open.
type Error struct {
	Op     string        `json:"op"`     // what was tried: exec, user, working directory, mount
	Object string        `json:"object"` // with what
	Errno  syscall.Errno `json:"errno,omitempty"`
	Msg    string        `json:"msg,omitempty"` // instead of the errno's text
}

func (e *Error) Error() string {
	cause := e.Msg
	switch {
	case cause != "":
	case e.Op == "user" && e.Errno == syscall.ENOENT:
		cause = "not in the root's /etc/passwd"
	case e.Op == "group" && e.Errno == syscall.ENOENT:
		cause = "not in the root's /etc/group"
	default:
		cause = e.Errno.Error()
	}
	if e.Object == "" {
		return fmt.Sprintf("%s: %s", e.Op, cause)
	}
	return fmt.Sprintf("%s %s: %s", e.Op, e.Object, cause)
}

// Code tells across the wire that it is about the program: it is not there, or
// cannot be executed. The names are those of package engine/api.
func (e *Error) Code() string {
	switch {
	case e.Op != "exec":
		return ""
	case errors.Is(e, fs.ErrNotExist):
		return "command_not_found"
	case errors.Is(e, fs.ErrPermission):
		return "not_executable"
	}
	return ""
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Is makes a program that is there but cannot be executed (wrong format, a
// directory, a bad interpreter) match fs.ErrPermission: a shell's 126.
func (e *Error) Is(target error) bool {
	if target != fs.ErrPermission || e.Op != "exec" {
		return false
	}
	switch e.Errno {
	case syscall.ENOEXEC, syscall.EISDIR, syscall.ENOTDIR, syscall.ETXTBSY, syscall.ELOOP, syscall.EINVAL, syscall.EIO:
		return true
	}
	return false
}

// newError keeps of err what crosses to another process: text and errno.
func newError(op, object string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	out := &Error{Op: op, Object: object}
	switch {
	case errors.As(err, &out.Errno):
		var p *fs.PathError
		if !errors.As(err, &p) && err != error(out.Errno) {
			out.Msg = err.Error() // says more than the errno
		}
	case errors.Is(err, fs.ErrNotExist):
		out.Errno = syscall.ENOENT
	case errors.Is(err, fs.ErrPermission):
		out.Errno = syscall.EACCES
	case errors.Is(err, fs.ErrExist):
		out.Errno = syscall.EEXIST
	default:
		out.Msg = err.Error()
	}
	return out
}
