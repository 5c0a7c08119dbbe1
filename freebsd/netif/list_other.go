//go:build !(darwin || dragonfly || freebsd || netbsd || openbsd)

package netif

import "errors"

func (*Stack) interfaces(int) ([]Interface, error) { return nil, errors.ErrUnsupported }
func (*Stack) routes() ([]Route, error)            { return nil, errors.ErrUnsupported }

func (*Stack) lookup(string) (Interface, error) { return Interface{}, errors.ErrUnsupported }
