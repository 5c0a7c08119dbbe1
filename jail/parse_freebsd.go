package jail

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Variables of sysctl itself: sys/kern/kern_sysctl.c.
var (
	sysctlName2OID = []int32{0, 3}
	sysctlFormat   = []int32{0, 4}
)

const ctlMaxName = 24 // CTL_MAXNAME

// kindOf asks how the values of a parameter are written. A node, such as
// linux or ip4, has its own value in a leaf without a name.
func kindOf(name string) (kind, error) {
	for _, leaf := range []string{name, name + "."} {
		oid, err := oidOf("security.jail.param." + leaf)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		var info [256]byte
		n, err := sysctl(append(append([]int32{}, sysctlFormat...), oid...), info[:], nil)
		if err != nil {
			return 0, err
		}
		if k, err := kindOfSysctl(info[:n]); err == nil || leaf != name {
			return k, err
		}
	}
	return 0, unix.ENOENT
}

// oidOf is the number of a variable.
func oidOf(name string) ([]int32, error) {
	var out [ctlMaxName + 2]int32
	n, err := sysctl(sysctlName2OID, unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), ctlMaxName*4), []byte(name))
	return out[:n/4], err
}

// sysctl is sysctl(3). It returns how many bytes of old were written.
func sysctl(mib []int32, old, new []byte) (int, error) {
	size := uintptr(len(old))
	var from unsafe.Pointer
	if len(new) > 0 {
		from = unsafe.Pointer(&new[0])
	}
	_, _, errno := unix.Syscall6(unix.SYS___SYSCTL, uintptr(unsafe.Pointer(&mib[0])), uintptr(len(mib)),
		uintptr(unsafe.Pointer(&old[0])), uintptr(unsafe.Pointer(&size)), uintptr(from), uintptr(len(new)))
	runtime.KeepAlive(new)
	if errno != 0 {
		return 0, os.NewSyscallError("sysctl", errno)
	}
	return int(size), nil
}
