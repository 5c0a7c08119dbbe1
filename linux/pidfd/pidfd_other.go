//go:build !linux

package pidfd

import (
	"context"
	"errors"
	"syscall"
)

func open(int) (*Handle, error)      { return nil, errors.ErrUnsupported }
func newHandle(int) (*Handle, error) { return nil, errors.ErrUnsupported }

func (h *Handle) signal(syscall.Signal) error       { return errors.ErrUnsupported }
func (h *Handle) reap() (syscall.WaitStatus, error) { return 0, errors.ErrUnsupported }
func (h *Handle) info() (Info, error)               { return Info{}, errors.ErrUnsupported }

// Wait returns errors.ErrUnsupported.
func (h *Handle) Wait(context.Context) error { return errors.ErrUnsupported }
