//go:build !linux

package nft

import "errors"

func (t Table) set(part) error                 { return errors.ErrUnsupported }
func (t Table) delete() error                  { return errors.ErrUnsupported }
func (t Table) parts() (Parts, error)          { return Parts{}, errors.ErrUnsupported }
func (t Table) counts(string) ([]Count, error) { return nil, errors.ErrUnsupported }
