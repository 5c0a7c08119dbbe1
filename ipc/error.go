package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Codes of errors that every peer knows. Packages add their own by giving an
// error a method Code() string; nothing is registered.
const (
	CodeNotExist      = "not_exist"      // fs.ErrNotExist
	CodeExist         = "exist"          // fs.ErrExist
	CodePermission    = "permission"     // fs.ErrPermission
	CodeInvalid       = "invalid"        // fs.ErrInvalid, and parameters that do not decode
	CodeUnsupported   = "unsupported"    // errors.ErrUnsupported
	CodeNoMethod      = "no_method"      // the server does not have the method; errors.ErrUnsupported too
	CodeNoField       = "no_field"       // nor something in its parameters; fs.ErrInvalid and errors.ErrUnsupported too
	CodeClosed        = "closed"         // fs.ErrClosed
	CodeCanceled      = "canceled"       // context.Canceled
	CodeDeadline      = "deadline"       // context.DeadlineExceeded, os.ErrDeadlineExceeded
	CodeEOF           = "eof"            // io.EOF
	CodeUnexpectedEOF = "unexpected_eof" // io.ErrUnexpectedEOF
	CodeTooLarge      = "too_large"      // a frame beyond the receiver's limits
	CodeUnavailable   = "unavailable"    // not executed: the server drains or is at its limit; try again
	CodeSilent        = "silent"         // beside CodeUnavailable: the server is there and has not greeted in time
	CodeInternal      = "internal"       // everything else
)

// sentinels are matched in this order; the first is the code, unless the error
// has its own.
var sentinels = []struct {
	code string
	errs []error
}{
	{CodeNotExist, []error{fs.ErrNotExist}},
	{CodeExist, []error{fs.ErrExist}},
	{CodePermission, []error{fs.ErrPermission}},
	{CodeUnsupported, []error{errors.ErrUnsupported}},
	{CodeInvalid, []error{fs.ErrInvalid, syscall.EINVAL}},
	{CodeCanceled, []error{context.Canceled}},
	{CodeDeadline, []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}},
	{CodeClosed, []error{fs.ErrClosed, net.ErrClosed, io.ErrClosedPipe}},
	{CodeEOF, []error{io.EOF}},
	{CodeUnexpectedEOF, []error{io.ErrUnexpectedEOF}},
}

// Error is an error that crossed the wire. errors.Is holds for the sentinels of
// its codes, for the syscall.Errno of its name, whatever number that has on
// this system, and for every error whose Code method returns one of its codes.
type Error struct {
	Code    string   `json:"code"`
	Also    []string `json:"also,omitempty"`   // further codes that hold
	Message string   `json:"message"`          // the whole text of the error
	Op      string   `json:"op,omitempty"`     // what was done, as in fs.PathError
	Object  string   `json:"object,omitempty"` // to what
	Errno   string   `json:"errno,omitempty"`  // name, as in errno(2): "ENOENT"
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Message
}

// Is compares codes.
func (e *Error) Is(target error) bool {
	if errno, ok := target.(syscall.Errno); ok {
		return e.Errno != "" && e.Errno == errnoName(errno)
	}
	code := ""
	switch t := target.(type) {
	case *Error:
		code = t.Code
	case interface{ Code() string }:
		code = t.Code()
	default:
		code = sentinelCode(target)
	}
	return code != "" && (code == e.Code || slices.Contains(e.Also, code))
}

// As sets a *syscall.Errno to this system's number of the error's errno.
func (e *Error) As(target any) bool {
	p, ok := target.(*syscall.Errno)
	if !ok || e.Errno == "" {
		return false
	}
	for n := syscall.Errno(1); n < 256; n++ {
		if errnoName(n) == e.Errno {
			*p = n
			return true
		}
	}
	return false
}

// CodeOf returns the code under which err crosses the wire, "" for nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	return wireError(err).Code
}

func sentinelCode(target error) string {
	for _, s := range sentinels {
		if slices.Contains(s.errs, target) {
			return s.code
		}
	}
	return ""
}

// wireError describes err for the other side.
func wireError(err error) *Error {
	w := &Error{Message: err.Error()}
	var remote *Error
	if errors.As(err, &remote) { // passed on from a third process
		*w = *remote
		w.Message = err.Error()
		w.Also = slices.Clone(remote.Also)
	}
	var own interface{ Code() string }
	if errors.As(err, &own) {
		w.addCode(own.Code())
	}
	for _, s := range sentinels {
		if slices.ContainsFunc(s.errs, func(target error) bool { return errors.Is(err, target) }) {
			w.addCode(s.code)
		}
	}
	w.addCode(CodeInternal)
	if w.Op == "" && w.Object == "" {
		w.Op, w.Object = place(err)
	}
	var errno syscall.Errno
	if w.Errno == "" && errors.As(err, &errno) {
		w.Errno = errnoName(errno)
	}
	return w
}

func (e *Error) addCode(code string) {
	switch {
	case code == "":
	case e.Code == "":
		e.Code = code
	case code != e.Code && code != CodeInternal && !slices.Contains(e.Also, code):
		e.Also = append(e.Also, code)
	}
}

// place finds what failed on what.
func place(err error) (op, object string) {
	var p *fs.PathError
	var l *os.LinkError
	var s *os.SyscallError
	var own interface{ OpObject() (op, object string) }
	switch {
	case errors.As(err, &own):
		return own.OpObject()
	case errors.As(err, &p):
		return p.Op, p.Path
	case errors.As(err, &l):
		return l.Op, l.New
	case errors.As(err, &s):
		return s.Syscall, ""
	}
	return "", ""
}

// errnoName returns one name for each errno. Where two names share a number,
// x/sys/unix knows one of them, and not the same on both systems.
func errnoName(e syscall.Errno) string {
	switch e {
	case unix.EAGAIN:
		return "EAGAIN" // EWOULDBLOCK
	case unix.EOPNOTSUPP:
		return "EOPNOTSUPP" // ENOTSUP
	}
	return unix.ErrnoName(e)
}

// parseError decodes the body of an error frame.
func parseError(body []byte) error {
	e := &Error{}
	if err := json.Unmarshal(body, e); err != nil {
		return fmt.Errorf("%w: error frame: %w", errProtocol, err)
	}
	if e.Code == "" {
		e.Code = CodeInternal
	}
	return e
}
