package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
)

// fromControl is an exit as the API shows it.
func fromControl(x control.Exit) api.Exit {
	out := api.Exit{Code: x.Code, Core: x.Core, Lost: x.Lost, Error: x.Error, At: x.At}
	if x.Signal != 0 {
		out.Signal = signalName(syscall.Signal(x.Signal))
	}
	return out
}

// signalName is TERM, or a number where it has no name.
func signalName(sig syscall.Signal) string {
	return cmp.Or(strings.TrimPrefix(unix.SignalName(sig), "SIG"), strconv.Itoa(int(sig)))
}

// askError is an error of a run loop that was asked for something it can only
// do while its container runs, and only if it is not too old for that.
func askError(loop *host.Loop, err error) error {
	switch {
	case lostLoop(err):
		return fmt.Errorf("it has ended meanwhile: %w: %w", api.ErrNotRunning, err)
	case control.Unknown(err):
		version, verr := loop.Control.C.API(context.Background()) // does not wait: it has answered
		if verr != nil {
			return errors.Join(err, verr)
		}
		return fmt.Errorf("it was started by another release of xc, which cannot do this: restart the container (its run loop has version %d of the control protocol, this engine %d): %w",
			version, control.Version, err)
	}
	return err
}

// commandError says what an error of the run loop is about when it is about
// the program: the tenant gives those a code of package api.
func commandError(err error) error {
	if errors.Is(err, api.ErrInitFailed) {
		return err // whatever else it is, it is not about main
	}
	for _, is := range []api.Sentinel{api.ErrCommandNotFound, api.ErrNotExecutable} {
		if errors.Is(err, is) {
			return fmt.Errorf("%w: %w", is, err)
		}
	}
	return err
}

// exitCode is what Docker would exit with.
func exitCode(err error) int {
	switch {
	case errors.Is(err, api.ErrInitFailed):
		return 125
	case errors.Is(err, api.ErrCommandNotFound):
		return 127
	case errors.Is(err, api.ErrNotExecutable):
		return 126
	}
	return 125
}

// lostLoop says that the run loop ended while it was asked something, or is
// ending and takes no more questions.
func lostLoop(err error) bool {
	return ipc.CodeOf(err) == ipc.CodeUnavailable && !host.Silent(err) || errors.Is(err, ipc.ErrLost) || errors.Is(err, fs.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// signalNumber takes TERM, SIGTERM, sigterm or 15.
func signalNumber(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("signal %d: %w", n, fs.ErrInvalid)
		}
		return syscall.Signal(n), nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if sig := unix.SignalNum(full); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("signal %q: %w: no signal has that name here", name, fs.ErrInvalid)
}
