//go:build !freebsd

package netif

import "errors"

func setUp(name string, _ bool) error {
	if err := checkName("up", name); err != nil {
		return err
	}
	return errors.ErrUnsupported
}

func addAddr(string, bool, []byte) error { return errors.ErrUnsupported }
func list() ([]Interface, error)         { return nil, errors.ErrUnsupported }
