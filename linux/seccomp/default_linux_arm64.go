package seccomp

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_AARCH64

// only are the system calls refused that this architecture alone has.
func only() []uint32 { return nil }
