//go:build !freebsd

package kqueue

import "errors"

func newKernel() (kernel, error) { return nil, errors.ErrUnsupported }
