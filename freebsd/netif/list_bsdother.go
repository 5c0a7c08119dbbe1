//go:build darwin || dragonfly || netbsd || openbsd

package netif

import (
	"syscall"

	"golang.org/x/net/route"
)

func (*Stack) fetch(what route.RIBType) ([]byte, error) {
	return route.FetchRIB(syscall.AF_UNSPEC, what, 0)
}
