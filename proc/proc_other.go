//go:build !linux && !freebsd

package proc

import "errors"

func read(int) (Process, error) { return Process{}, errors.ErrUnsupported }

func readIO(int) (IO, error) { return IO{}, errors.ErrUnsupported }
