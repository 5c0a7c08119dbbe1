package ocitar

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// readXattrs returns all extended attributes of fd that this process may see.
func readXattrs(fd int, opath bool) (map[string]string, error) {
	list, err := grow(func(b []byte) (int, error) { return listXattr(fd, opath, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		v, err := grow(func(b []byte) (int, error) { return getXattr(fd, opath, string(name), b) })
		if err == unix.ENODATA { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		attrs[string(name)] = string(v)
	}
	return attrs, nil
}

// grow calls f with ever larger buffers until the answer fits: 64 KiB at most
// (XATTR_SIZE_MAX, XATTR_LIST_MAX of linux/limits.h).
func grow(f func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 16 {
		b := make([]byte, size)
		n, err := f(b)
		if err == unix.ERANGE && size <= 1<<16 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}

func listXattr(fd int, opath bool, b []byte) (int, error) {
	if !opath {
		return unix.Flistxattr(fd, b)
	}
	n, err := unix.Listxattr(procFd(fd), b)
	return n, viaProc(err)
}

func getXattr(fd int, opath bool, name string, b []byte) (int, error) {
	if !opath {
		return unix.Fgetxattr(fd, name, b)
	}
	n, err := unix.Getxattr(procFd(fd), name, b)
	return n, viaProc(err)
}

func removeXattr(fd int, name string) error {
	err := unix.Fremovexattr(fd, name)
	if err == unix.ENODATA {
		err = nil
	}
	return err
}
