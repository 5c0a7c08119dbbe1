//go:build darwin || dragonfly || netbsd || openbsd

package netif

import (
	"errors"
	"syscall"

	"golang.org/x/net/route"
)

func (*Stack) fetch(what route.RIBType, arg int) ([]byte, error) {
	return route.FetchRIB(syscall.AF_UNSPEC, what, arg)
}

func (*Stack) lookup(string) (Interface, error) { return Interface{}, errors.ErrUnsupported }
