package zfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
)

// Exec runs the zfs(8) in PATH. It is what ZFS does without a Run of its own,
// and, given as one, keeps it from using ioctls.
func Exec(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "zfs", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	cmd.Env = append(cmd.Environ(), "LC_ALL=C") // its messages are read
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if text := strings.TrimSpace(stderr.String()); text != "" {
		return &said{text, err}
	}
	return err
}

// said is what a failed zfs(8) wrote to its standard error.
type said struct {
	text string
	err  error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.err }

func (z *ZFS) stream(ctx context.Context, op, dataset string, in io.Reader, out io.Writer, args ...string) error {
	run := z.Run
	if run == nil {
		run = Exec
	}
	if err := run(ctx, in, out, args...); err != nil {
		return failure(op, dataset, err)
	}
	return nil
}

func (z *ZFS) run(ctx context.Context, op, dataset string, args ...string) error {
	return z.stream(ctx, op, dataset, nil, nil, args...)
}

func (z *ZFS) output(ctx context.Context, op, dataset string, args ...string) ([]byte, error) {
	var b bytes.Buffer
	err := z.stream(ctx, op, dataset, nil, &b, args...)
	return b.Bytes(), err
}

// sentences are what zfs(8) says instead of an errno (lib/libzfs/libzfs_util.c,
// libzfs_error_description).
var sentences = []struct {
	text  string
	errno syscall.Errno
}{
	{"does not exist", syscall.ENOENT},
	{"no such pool", syscall.ENOENT},
	{"could not find any snapshots to destroy", syscall.ENOENT},
	{"already exists", syscall.EEXIST},
	{"dependent clones", syscall.EBUSY},
	{"has children", syscall.EBUSY},
	{"is busy", syscall.EBUSY},
	{"permission denied", syscall.EPERM},
	{"out of space", syscall.ENOSPC},
	{"name is too long", syscall.ENAMETOOLONG},
}

// failure makes an Error of what zfs(8) said.
func failure(op, dataset string, err error) error {
	e := &Error{Op: op, Dataset: dataset, Err: err}
	var s *said
	if !errors.As(err, &s) {
		return e
	}
	first, _, _ := strings.Cut(s.text, "\n")
	e.Msg = first
	for _, c := range sentences {
		if strings.Contains(first, c.text) {
			e.Errno = c.errno
			break
		}
	}
	return e
}
