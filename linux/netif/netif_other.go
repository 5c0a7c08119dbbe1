//go:build !linux

package netif

import (
	"errors"
	"os"
)

type socket struct{}

func openSocket(*os.File) (socket, error) { return socket{}, errors.ErrUnsupported }

func (socket) close() error { return nil }

func (socket) exchange(request) ([]answer, error) { return nil, errors.ErrUnsupported }
