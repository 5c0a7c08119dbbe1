package zfs

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// device is /dev/zfs.
type device struct{ fd int }

// iocparm is zfs_iocparm_t, include/os/freebsd/zfs/sys/zfs_ioctl_compat.h.
type iocparm struct {
	version uint32
	_       uint32
	cmd     uint64
	size    uint64
}

const (
	iocBase = 0xc0185a00 // _IOWR('Z', 0, zfs_iocparm_t)

	answerSize = 64 << 10 // the room for an answer to begin with
	answerMax  = 16 << 20
)

// kernelVersion fails if the module is not loaded (zfs(8) loads it).
func kernelVersion() (uint32, error) { return unix.SysctlUint32("vfs.zfs.version.ioctl") }

// openDevice returns nil if that cannot be done.
func openDevice() *device {
	fd, err := unix.Open("/dev/zfs", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &device{fd}
}

// call does one ioctl. It returns the struct as the kernel left it, and the list
// in its answer if there is one.
func (d *device) call(n int, name string, args list) ([]byte, list, error) {
	var src []byte
	if args != nil {
		var err error
		if src, err = args.pack(); err != nil {
			return nil, nil, err
		}
	}
	for room := answerSize; ; room *= 2 {
		cmd, err := newCmd(name)
		if err != nil {
			return nil, nil, err
		}
		dst := make([]byte, room)
		err = d.ioctl(n, cmd, src, dst)
		if errors.Is(err, unix.ENOMEM) && room < answerMax && native.Uint64(cmd[cmdDstSize:]) > uint64(room) {
			continue
		}
		if err != nil {
			return cmd, nil, err
		}
		size := native.Uint64(cmd[cmdDstSize:])
		if (n != iocObjsetStats && native.Uint32(cmd[cmdDstFilled:]) == 0) || size == 0 || size > uint64(len(dst)) {
			return cmd, nil, nil
		}
		out, err := unpack(dst[:size])
		return cmd, out, err
	}
}

func (d *device) ioctl(n int, cmd, src, dst []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	address := func(b []byte) uint64 {
		if len(b) == 0 {
			return 0
		}
		pin.Pin(&b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	native.PutUint64(cmd[cmdSrc:], address(src))
	native.PutUint64(cmd[cmdSrcSize:], uint64(len(src)))
	native.PutUint64(cmd[cmdDst:], address(dst))
	native.PutUint64(cmd[cmdDstSize:], uint64(len(dst)))
	parm := iocparm{version: ioctlVersion, cmd: address(cmd), size: uint64(len(cmd))}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), uintptr(iocBase|n), uintptr(unsafe.Pointer(&parm)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (d *device) close() error { return os.NewSyscallError("close", unix.Close(d.fd)) }
