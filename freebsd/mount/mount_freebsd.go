package mount

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errmsgLen is what mount(8) gives the kernel for its sentence, in bytes.
const errmsgLen = 255

func nmount(path string, pairs []pair) error {
	errmsg := make([]byte, errmsgLen)
	var iov []unix.Iovec
	add := func(b []byte) {
		var v unix.Iovec
		if len(b) > 0 {
			v.Base = &b[0]
		}
		v.SetLen(len(b))
		iov = append(iov, v)
	}
	for _, p := range append(pairs, pair{"errmsg", errmsg}) {
		add(text(p.name))
		add(p.value)
	}
	_, _, errno := unix.Syscall(unix.SYS_NMOUNT, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)), 0)
	runtime.KeepAlive(iov)
	if errno != 0 {
		return &Error{Op: "mount", Path: path, Errno: errno, Msg: unix.ByteSliceToString(errmsg)}
	}
	return nil
}

func unmount(path string, force bool) error {
	flags := 0
	if force {
		flags |= unix.MNT_FORCE
	}
	if strings.HasPrefix(path, "FSID:") {
		flags |= unix.MNT_BYFSID
	}
	err := unix.Unmount(path, flags)
	if err == nil {
		return nil
	}
	errno := number(err)
	if errno == unix.EINVAL && path != "/" {
		errno = unix.ENOENT // sys/kern/vfs_mount.c, kern_unmount: not in the mount table
	}
	return &Error{Op: "unmount", Path: path, Errno: errno}
}

func number(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

func list() ([]Status, error) {
	for {
		n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
		if err != nil {
			return nil, &Error{Op: "statfs", Path: "/", Errno: number(err)}
		}
		buf := make([]unix.Statfs_t, n+8)
		if n, err = unix.Getfsstat(buf, unix.MNT_NOWAIT); err != nil {
			return nil, &Error{Op: "statfs", Path: "/", Errno: number(err)}
		}
		if n == len(buf) {
			continue // there may be more
		}
		out := make([]Status, n)
		for i := range out {
			out[i] = decode(&buf[i])
		}
		return out, nil
	}
}

func stat(path string) (Status, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Status{}, &Error{Op: "statfs", Path: path, Errno: number(err)}
	}
	return decode(&st), nil
}

func decode(st *unix.Statfs_t) Status {
	return Status{
		Entry: Entry{
			Type:    unix.ByteSliceToString(st.Fstypename[:]),
			From:    unix.ByteSliceToString(st.Mntfromname[:]),
			Path:    unix.ByteSliceToString(st.Mntonname[:]),
			Options: options(st.Flags),
		},
		ID: st.Fsid.Val,
	}
}
