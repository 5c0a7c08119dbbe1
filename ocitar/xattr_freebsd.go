package ocitar

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readXattrs returns all extended attributes of fd that this process may see. Those
// of the system namespace are root's to see.
func readXattrs(fd int, _ bool) (map[string]string, error) {
	attrs := map[string]string{}
	for space, prefix := range map[int]string{unix.EXTATTR_NAMESPACE_USER: "user.", unix.EXTATTR_NAMESPACE_SYSTEM: "system."} {
		list, err := attrBytes(func(p uintptr, n int) (int, error) { return unix.ExtattrListFd(fd, space, p, n) })
		if errors.Is(err, unix.ENOTSUP) || err == unix.EPERM {
			continue
		}
		if err != nil {
			return nil, err
		}
		for len(list) > 0 { // each name after a byte with its length: extattr(2)
			n := min(int(list[0]), len(list)-1)
			name := string(list[1 : 1+n])
			list = list[1+n:]
			if _, _, err := attrNamespace(prefix + name); err != nil {
				continue // access control lists
			}
			v, err := attrBytes(func(p uintptr, n int) (int, error) { return unix.ExtattrGetFd(fd, space, name, p, n) })
			if err == unix.ENOATTR { // removed meanwhile
				continue
			}
			if err != nil {
				return nil, err
			}
			attrs[prefix+name] = string(v)
		}
	}
	return attrs, nil
}

// attrBytes asks for the size and then for the bytes, until both agree: a short
// buffer is filled without an error.
func attrBytes(f func(p uintptr, n int) (int, error)) ([]byte, error) {
	for {
		size, err := f(0, 0)
		if err != nil || size == 0 {
			return nil, err
		}
		b := make([]byte, size+1)
		var pin runtime.Pinner // the wrappers take it as an integer
		pin.Pin(&b[0])
		n, err := f(uintptr(unsafe.Pointer(&b[0])), len(b))
		pin.Unpin()
		if err != nil {
			return nil, err
		}
		if n <= size {
			return b[:n], nil
		}
	}
}

func removeXattr(fd int, name string) error {
	space, bare, err := attrNamespace(name)
	if err != nil {
		return err
	}
	if err = unix.ExtattrDeleteFd(fd, space, bare); err == unix.ENOATTR {
		err = nil
	}
	return err
}
