package jail

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Variables of sysctl itself: sys/kern/kern_sysctl.c.
var (
	sysctlName     = []int32{0, 1}
	sysctlName2OID = []int32{0, 3}
	sysctlFormat   = []int32{0, 4}
)

const (
	ctlMaxName = 24 // CTL_MAXNAME
	params     = "security.jail.param."
)

// kindOf asks how the values of a parameter are written.
func kindOf(name string) (kind, error) {
	if name == "" {
		return 0, unix.ENOENT
	}
	oid, err := oidOf(params + name)
	if err != nil {
		return 0, err
	}
	info, err := ask(sysctlFormat, oid)
	if err != nil {
		return 0, err
	}
	if !isNode(info) {
		return kindOfSysctl(info)
	}
	// A node such as linux or ip4 has its own value in a child without a name,
	// whose number is the one before or after its own (lib/libjail/jail.c).
	for _, n := range []int32{-1, 1} {
		child := append(slices.Clone(oid), oid[len(oid)-1]+n)
		if b, err := ask(sysctlName, child); err != nil || unix.ByteSliceToString(b) != params+name+"." {
			continue
		}
		if info, err = ask(sysctlFormat, child); err != nil {
			return 0, err
		}
		return kindOfSysctl(info)
	}
	return 0, unix.ENOENT
}

const ctlTypeNode = 1

func isNode(info []byte) bool {
	return len(info) >= 4 && binary.NativeEndian.Uint32(info)&ctlTypeMask == ctlTypeNode
}

// ask asks sysctl about a variable.
func ask(what, oid []int32) ([]byte, error) {
	var b [1024]byte
	n, err := sysctl(slices.Concat(what, oid), b[:], nil)
	return b[:n], err
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
