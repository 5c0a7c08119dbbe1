package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// openLower refuses: jail_attach(2) wants a process without open directories. Lower
// layers are overlayfs's, which FreeBSD has not.
func openLower(dir string) (*inroot.Root, error) {
	return nil, fmt.Errorf("lower layer %s: %w", dir, errors.ErrUnsupported)
}

// enter makes root the world of this process: a jail without a name, without network
// and children, that goes with it. Device nodes and the system namespace of attributes
// are not to be had in jails. Where no jail can be made (inside one, or not as root) it
// is chroot(2) if possible and capability mode (cap_enter(2)); that would do always, had
// ZFS not to look up attributes by name, which capability mode forbids.
func enter(root string, _ bool) (*inroot.Root, error) {
	err := jailSelf(root)
	if err == nil {
		return inroot.Open("/")
	}
	if err != unix.EPERM {
		return nil, fmt.Errorf("jail_set: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := unix.Chroot(root); err != nil {
			return nil, fmt.Errorf("chroot: %w", err)
		}
		root = "/"
	}
	if err := unix.Chdir(root); err != nil {
		return nil, err
	}
	r, err := inroot.Open(".")
	if err != nil {
		return nil, err
	}
	if err := unix.CapEnter(); err != nil {
		return nil, fmt.Errorf("cap_enter: %w", err)
	}
	return r, nil
}

// enterHere makes the working directory the world. The kernel finds out its path.
func enterHere() (*inroot.Root, error) { return enter(".", false) }

// Empty leaves this process nothing but its open descriptors: capability mode.
func Empty() error {
	if err := unix.CapEnter(); err != nil {
		return fmt.Errorf("cap_enter: %w", err)
	}
	return nil
}

// Flags of jail_set(2), sys/jail.h.
const (
	jailCreate = 0x01
	jailAttach = 0x04
	jailSysNew = 1 // JAIL_SYS_NEW: of ip4 and ip6, with no addresses: none
)

// jailSelf creates a jail and moves this process into it.
func jailSelf(root string) error {
	number := func(n uint32) []byte { return (*[4]byte)(unsafe.Pointer(&n))[:] }
	params := []struct {
		name  string
		value []byte
	}{
		{"path", append([]byte(root), 0)},
		{"enforce_statfs", number(2)},
		{"ip4", number(jailSysNew)},
		{"ip6", number(jailSysNew)},
		{"allow.chflags", nil},
	}
	var iov []unix.Iovec
	var pin runtime.Pinner
	defer pin.Unpin()
	add := func(b []byte) {
		v := unix.Iovec{}
		if len(b) > 0 {
			pin.Pin(&b[0])
			v.Base = &b[0]
			v.SetLen(len(b))
		}
		iov = append(iov, v)
	}
	for _, p := range params {
		add(append([]byte(p.name), 0))
		add(p.value)
	}
	_, _, errno := unix.Syscall(unix.SYS_JAIL_SET, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)), jailCreate|jailAttach)
	if errno != 0 {
		return errno
	}
	return nil
}
