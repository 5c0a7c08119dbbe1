//go:build !linux

package ns

import "errors"

// Tree is a mount that is held by a descriptor.
type Tree struct{}

// Private returns errors.ErrUnsupported.
func Private() error { return errors.ErrUnsupported }

// Clone returns errors.ErrUnsupported.
func Clone(int, string) (*Tree, error) { return nil, errors.ErrUnsupported }

// Overlay returns errors.ErrUnsupported.
func Overlay(Layers, Attr) (*Tree, error) { return nil, errors.ErrUnsupported }

// Adopt returns nil.
func Adopt(int) *Tree { return nil }

// FD returns -1.
func (t *Tree) FD() int { return -1 }

// Set returns errors.ErrUnsupported.
func (t *Tree) Set(Attr) error { return errors.ErrUnsupported }

// Attach returns errors.ErrUnsupported.
func (t *Tree) Attach(string) error { return errors.ErrUnsupported }

// Pivot returns errors.ErrUnsupported.
func (t *Tree) Pivot() error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (t *Tree) Close() error { return errors.ErrUnsupported }

// Place returns errors.ErrUnsupported.
func (t *Tree) Place(string) error { return errors.ErrUnsupported }

// Proc returns errors.ErrUnsupported.
func Proc() (*Tree, error) { return nil, errors.ErrUnsupported }

// Sys returns errors.ErrUnsupported.
func Sys() (*Tree, error) { return nil, errors.ErrUnsupported }

// Devices is a /dev in the making.
type Devices struct{}

// Dev returns errors.ErrUnsupported.
func Dev(DevOptions) (*Devices, error) { return nil, errors.ErrUnsupported }

// Place returns errors.ErrUnsupported.
func (d *Devices) Place(string) error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (d *Devices) Close() error { return errors.ErrUnsupported }

// Mask returns errors.ErrUnsupported.
func Mask(...string) error { return errors.ErrUnsupported }

// ReadOnly returns errors.ErrUnsupported.
func ReadOnly(...string) error { return errors.ErrUnsupported }

// Hostname returns errors.ErrUnsupported.
func Hostname(string) error { return errors.ErrUnsupported }

// Loopback returns errors.ErrUnsupported.
func Loopback() error { return errors.ErrUnsupported }

// Permitted returns errors.ErrUnsupported.
func Permitted() (Caps, error) { return 0, errors.ErrUnsupported }

// Bounding returns errors.ErrUnsupported.
func Bounding() (Caps, error) { return 0, errors.ErrUnsupported }
