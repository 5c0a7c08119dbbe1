package zfs

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Numbers of the ioctls: sys/contrib/openzfs/include/sys/fs/zfs.h, zfs_ioc_t.
const (
	iocObjsetStats  = 0x12
	iocCreate       = 0x17
	iocDestroy      = 0x18
	iocSnapshot     = 0x23
	iocDestroySnaps = 0x3b
	iocClone        = 0x42
)

// ioctlVersion is the version (sysctl vfs.zfs.version.ioctl, ZFS_IOCVER_OZFS)
// with the layout here.
const ioctlVersion = 15

// struct zfs_cmd of that version, include/sys/zfs_ioctl.h: offsets in bytes. The kernel copies
// its own size of it, 4528 in 2.2, both ways: the buffer is larger, and nothing
// is touched behind what is named here.
const (
	cmdSize      = 16384
	cmdName      = 0    // char[1024]
	cmdSrc       = 1024 // address of the packed arguments
	cmdSrcSize   = 1032
	cmdDst       = 1040 // address of room for the answer
	cmdDstSize   = 1048 // its size, and afterwards the answer's
	cmdDstFilled = 1056 // uint32
	cmdStats     = 3488 // dmu_objset_stats_t
	statsType    = cmdStats + 24
	cmdNameSize  = 1024
)

const objsetFileSystem = 2 // dmu_objset_type_t, DMU_OST_ZFS

// Errors above errno: include/sys/fs/zfs.h, zfs_errno_t.
const (
	errCmdUnavail = 1029 // ZFS_ERR_IOC_CMD_UNAVAIL
	errArgUnavail = 1030 // ZFS_ERR_IOC_ARG_UNAVAIL
)

func createArgs(props list) list {
	l := list{"type": int32(objsetFileSystem)}
	if len(props) > 0 {
		l["props"] = props
	}
	return l
}

func cloneArgs(origin string, props list) list {
	l := list{"origin": origin}
	if len(props) > 0 {
		l["props"] = props
	}
	return l
}

func snapsArgs(name string) list { return list{"snaps": list{name: flag{}}} }

// device returns the way by ioctl, or nil.
func (z *ZFS) device() *device {
	z.once.Do(func() {
		if z.Run == nil && z.known() {
			z.dev = openDevice()
		}
	})
	return z.dev
}

// known tells whether the kernel's ioctls are of the version that is known here.
func (z *ZFS) known() bool {
	version := z.version
	if version == nil {
		version = kernelVersion
	}
	v, err := version()
	return err == nil && v == ioctlVersion
}

// Native reports whether the kernel's ioctls are those known here: they are
// used then, where zfs(8) would otherwise be run.
func (z *ZFS) Native() bool { return z.device() != nil }

// ioctl does one. done is false if zfs(8) has to do it instead.
func (z *ZFS) ioctl(ctx context.Context, op, dataset string, n int, name string, args list) (done bool, err error) {
	d := z.device()
	if d == nil {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return true, &Error{Op: op, Dataset: dataset, Err: err}
	}
	_, _, err = d.call(n, name, args)
	return verdict(op, dataset, err)
}

// stat is Get by ioctl.
func (z *ZFS) stat(ctx context.Context, name string) (done bool, ds Dataset, err error) {
	d := z.device()
	if d == nil {
		return false, Dataset{}, nil
	}
	if err := ctx.Err(); err != nil {
		return true, Dataset{}, &Error{Op: "get", Dataset: name, Err: err}
	}
	cmd, props, err := d.call(iocObjsetStats, name, nil)
	if err == nil {
		ds, err = decodeStats(name, cmd, props)
		return true, ds, err
	}
	done, err = verdict("get", name, err)
	return done, Dataset{}, err
}

// verdict says what the error of an ioctl means.
func verdict(op, dataset string, err error) (done bool, _ error) {
	if err == nil {
		return true, nil
	}
	errno, ok := err.(syscall.Errno)
	switch {
	case !ok:
		return true, &Error{Op: op, Dataset: dataset, Err: err}
	case errno == errCmdUnavail || errno == errArgUnavail:
		return false, nil
	}
	e := &Error{Op: op, Dataset: dataset, Errno: errno}
	switch {
	case op == "destroy" && (errno == syscall.EEXIST || errno == syscall.ENOTEMPTY):
		e.Errno, e.Msg = syscall.EBUSY, "it has snapshots, children or clones"
	case op == "destroy" && errno == syscall.EBUSY:
		e.Msg = "it is mounted, held, or has snapshots"
	case op == "clone" && errno == syscall.ENOENT:
		e.Msg = "the snapshot or the parent does not exist"
	case op == "create" && errno == syscall.ENOENT:
		e.Msg = "the parent does not exist"
	}
	return true, e
}

// errnoText names an errno, also one of those that only ZFS has.
func errnoText(errno syscall.Errno) string {
	if errno >= 1024 {
		return fmt.Sprintf("ZFS error %d", int(errno))
	}
	return errno.Error()
}

// newCmd makes the struct for an ioctl on name.
func newCmd(name string) ([]byte, error) {
	if len(name) >= cmdNameSize || strings.ContainsRune(name, 0) {
		return nil, syscall.ENAMETOOLONG
	}
	cmd := make([]byte, cmdSize)
	copy(cmd[cmdName:], name)
	return cmd, nil
}

// decodeStats makes a Dataset of the answer of ZFS_IOC_OBJSET_STATS.
func decodeStats(name string, cmd []byte, props list) (Dataset, error) {
	d := Dataset{Name: name, Type: FileSystem}
	switch {
	case strings.Contains(name, "@"):
		d.Type = Snapshot
	case native.Uint32(cmd[statsType:]) != objsetFileSystem:
		d.Type = Volume
	}
	number := func(prop string) uint64 {
		p, _ := props[prop].(list)
		v, _ := p["value"].(uint64)
		return v
	}
	if len(props) == 0 {
		return d, &Error{Op: "get", Dataset: name, Msg: "the kernel gave no properties"}
	}
	d.Used, d.Available, d.Referenced = number("used"), number("available"), number("referenced")
	d.GUID, d.Creation = number("guid"), time.Unix(int64(number("creation")), 0)
	if p, ok := props["origin"].(list); ok {
		d.Origin, _ = p["value"].(string)
	}
	return d, nil
}
