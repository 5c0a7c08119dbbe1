//go:build !freebsd

package jail

import "errors"

func set(int, []Param) (ID, error)             { return 0, errors.ErrUnsupported }
func get(int, Param, []string) (Values, error) { return nil, errors.ErrUnsupported }
func attach(ID) error                          { return errors.ErrUnsupported }
func remove(ID) error                          { return errors.ErrUnsupported }

// Supports reports whether the kernel knows a parameter. Here it is false.
func Supports(string) bool { return false }
