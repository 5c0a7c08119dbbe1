package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DeviceFilter is a program in the kernel that can be attached to any number of
// groups of version 2.
type DeviceFilter struct{ fd int }

// Load makes the kernel's program of the list. The error matches
// errors.ErrUnsupported where the kernel has no such programs, or lets this
// process have none: it takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN.
func (l Devices) Load() (*DeviceFilter, error) {
	p := l.program()
	license := []byte("BSD\x00")
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&p[0])
	pin.Pin(&license[0])
	attr := struct { // union bpf_attr of linux/bpf.h, for BPF_PROG_LOAD
		kind, count   uint32
		instructions  uint64
		license       uint64
		logLevel      uint32
		logSize       uint32
		log           uint64
		kernel, flags uint32
		name          [16]byte
		iface, attach uint32
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(p)),
		instructions: address(&p[0]), license: address(&license[0]), attach: unix.BPF_CGROUP_DEVICE,
	}
	copy(attr.name[:], "xc_devices")
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err == unix.EPERM || err == unix.ENOSYS || err == unix.EINVAL {
		return nil, fmt.Errorf("load a program for cgroups' devices: %w (%w)", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load a program for cgroups' devices: %w", err)
	}
	return &DeviceFilter{int(fd)}, nil
}

// Attach puts the processes of a group, and of those below it, under the filter, in
// place of the one that was attached before. It stays when f is closed.
func (f *DeviceFilter) Attach(g *Group) error {
	attr := struct { // for BPF_PROG_ATTACH
		group, program, kind, flags uint32
	}{uint32(g.dir), uint32(f.fd), unix.BPF_CGROUP_DEVICE, 0} // flags: one program, which others below cannot widen
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return fmt.Errorf("devices of cgroup %s: %w", g.path, err)
	}
	return nil
}

// Close closes the descriptor.
func (f *DeviceFilter) Close() error { return unix.Close(f.fd) }

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// bpf is the system call. The kernel asks for another try when it was interrupted.
func bpf(command int, attr unsafe.Pointer, size uintptr) (uintptr, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
		if e == unix.EAGAIN || e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return r, nil
	}
}

// Limit puts the processes of a group of version 1 under the list.
func (l Devices) Limit(dir string) error {
	if err := write(filepath.Join(dir, "devices.deny"), "a"); err != nil {
		return fmt.Errorf("devices of cgroup %s: %w", dir, err)
	}
	for _, d := range l {
		if err := d.Allow(dir); err != nil {
			return err
		}
	}
	return nil
}

// Allow adds a device to the list of a group of version 1.
func (d Device) Allow(dir string) error {
	if err := write(filepath.Join(dir, "devices.allow"), d.String()+" rwm"); err != nil {
		return fmt.Errorf("device %v of cgroup %s: %w", d, dir, err)
	}
	return nil
}
