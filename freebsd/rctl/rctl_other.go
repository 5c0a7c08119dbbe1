//go:build !freebsd

package rctl

import "errors"

func enabled() bool { return false }

func call(string, string) (string, error) { return "", errors.ErrUnsupported }
