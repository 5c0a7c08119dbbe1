package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// struct xucred of sys/sys/ucred.h: version, uid, ngroups (short, padded),
// groups[16], and a union of the pid and a pointer.
const (
	xucredSize   = 88
	xucredUID    = 4
	xucredN      = 8
	xucredGroups = 12
	xucredPID    = 80
	xucredMax    = 16 // XU_NGROUPS
)

// read asks for LOCAL_PEERCRED, see unix(4). unix.GetsockoptXucred hides the
// pid, so the option is read raw.
func (p *Peer) read(fd int) error {
	b, err := getsockopt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED, make([]byte, xucredSize))
	if err != nil {
		return err
	}
	if len(b) != xucredSize || binary.NativeEndian.Uint32(b) != 0 { // XUCRED_VERSION
		return fmt.Errorf("LOCAL_PEERCRED of %d bytes: %w", len(b), errors.ErrUnsupported)
	}
	n := int(int16(binary.NativeEndian.Uint16(b[xucredN:])))
	if n < 1 || n > xucredMax {
		return fmt.Errorf("LOCAL_PEERCRED with %d groups: %w", n, errors.ErrUnsupported)
	}
	groups := ids(b[xucredGroups : xucredGroups+4*n])
	p.UID = binary.NativeEndian.Uint32(b[xucredUID:])
	p.GID, p.Groups = groups[0], groups[1:]
	p.PID = int(int32(binary.NativeEndian.Uint32(b[xucredPID:])))
	return nil
}

// struct kinfo_proc of sys/sys/user.h on 64-bit platforms; its size,
// KINFO_PROC_SIZE, is part of the ABI.
const (
	kinfoSize = 1088
	kinfoPID  = 72
	kinfoUID  = 168
	kinfoJID  = 592
)

// here asks kern.proc.pid for the peer's jail: 0 is the asker's own, be it the
// host or a jail (sys/kern/kern_proc.c, fill_kinfo_proc_only).
func (p *Peer) here(int) error {
	if p.PID <= 0 {
		return errors.New("its pid is not known")
	}
	b, err := unix.SysctlRaw("kern.proc.pid", p.PID)
	if err != nil {
		return fmt.Errorf("sysctl kern.proc.pid: %w", err)
	}
	if len(b) < kinfoSize || binary.NativeEndian.Uint32(b) != kinfoSize ||
		int(int32(binary.NativeEndian.Uint32(b[kinfoPID:]))) != p.PID {
		return fmt.Errorf("kern.proc.pid of %d bytes: %w", len(b), errors.ErrUnsupported)
	}
	if uid := binary.NativeEndian.Uint32(b[kinfoUID:]); uid != p.UID {
		return fmt.Errorf("its pid belongs to uid %d", uid)
	}
	if jid := int32(binary.NativeEndian.Uint32(b[kinfoJID:])); jid != 0 {
		return fmt.Errorf("in jail %d", jid)
	}
	return nil
}
