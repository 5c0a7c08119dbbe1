//go:build !freebsd

package devfs

import "errors"

func add(uint16, []Rule) error     { return errors.ErrUnsupported }
func remove(uint16) error          { return errors.ErrUnsupported }
func rules(uint16) ([]Rule, error) { return nil, errors.ErrUnsupported }
func list() ([]uint16, error)      { return nil, errors.ErrUnsupported }
