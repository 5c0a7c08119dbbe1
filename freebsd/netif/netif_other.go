//go:build !freebsd

package netif

import (
	"errors"
	"net/netip"
)

type inside struct{}

func enter(int) (*inside, error) { return nil, errors.ErrUnsupported }
func (*inside) close() error     { return nil }

func (*Stack) create(string) (string, error)              { return "", errors.ErrUnsupported }
func (*Stack) rename(string, string) error                { return errors.ErrUnsupported }
func (*Stack) describe(string, string) error              { return errors.ErrUnsupported }
func (*Stack) description(string) (string, error)         { return "", errors.ErrUnsupported }
func (*Stack) addAddr(string, bool, []byte) error         { return errors.ErrUnsupported }
func (*Stack) removeAddr(string, bool, []byte) error      { return errors.ErrUnsupported }
func (*Stack) tentative(string, netip.Addr) (bool, error) { return false, errors.ErrUnsupported }
func (*Stack) skipDAD(string) error                       { return errors.ErrUnsupported }
func (*Stack) members(string) ([]string, error)           { return nil, errors.ErrUnsupported }
func (*Stack) groups(string) ([]string, error)            { return nil, errors.ErrUnsupported }
func (*Stack) route(string, Route) error                  { return errors.ErrUnsupported }

func (*Stack) setUp(name string, _ bool) error {
	if err := checkName("up", name); err != nil {
		return err
	}
	return errors.ErrUnsupported
}

func (*Stack) simple(op, name string, _ uintptr, _ []byte) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	return errors.ErrUnsupported
}

func (*Stack) member(op, bridge, name string, _ uint64) error {
	if err := errors.Join(checkName(op, bridge), checkName(op, name)); err != nil {
		return err
	}
	return errors.ErrUnsupported
}
