//go:build !freebsd

package zfs

import "errors"

// device is the way by ioctl, which is known for FreeBSD only: elsewhere zfs(8)
// does everything.
type device struct{}

func kernelVersion() (uint32, error) { return 0, errors.ErrUnsupported }

func openDevice() *device { return nil }

func (*device) call(int, string, list) ([]byte, list, error) { return nil, nil, errNvlist }

func (*device) close() error { return nil }
