//go:build !freebsd

package pf

import (
	"context"
	"errors"
	"net/netip"
)

func loaded() bool { return false }

func pfctl(context.Context, string, ...string) (string, error) { return "", errors.ErrUnsupported }

func changeTable(string, string, []netip.Addr) error { return errors.ErrUnsupported }

func listTable(string) ([]netip.Prefix, error) { return nil, errors.ErrUnsupported }

func dropTable(string) error { return errors.ErrUnsupported }
