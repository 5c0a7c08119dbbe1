//go:build !freebsd

package jail

import (
	"context"
	"errors"
	"os"
)

func set(int, []Param) (ID, error)             { return 0, errors.ErrUnsupported }
func get(int, Param, []string) (Values, error) { return nil, errors.ErrUnsupported }
func attach(ID) error                          { return errors.ErrUnsupported }
func remove(ID) error                          { return errors.ErrUnsupported }

// Supports reports whether the kernel knows a parameter. Here it is false.
func Supports(string) bool { return false }

func kindOf(string) (kind, error) { return 0, errors.ErrUnsupported }

func open(ID, bool) (*os.File, error)             { return nil, errors.ErrUnsupported }
func removeDescriptor(*os.File) error             { return errors.ErrUnsupported }
func watch(ID) (*Watcher, error)                  { return nil, errors.ErrUnsupported }
func (queue) next(context.Context) (Event, error) { return Event{}, errors.ErrUnsupported }
func (queue) close() error                        { return errors.ErrUnsupported }

type queue struct{}
