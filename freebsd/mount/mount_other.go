//go:build !freebsd

package mount

import "errors"

func nmount(string, []pair) error { return errors.ErrUnsupported }
func unmount(string, bool) error  { return errors.ErrUnsupported }
func list() ([]Status, error)     { return nil, errors.ErrUnsupported }
func stat(string) (Status, error) { return Status{}, errors.ErrUnsupported }
