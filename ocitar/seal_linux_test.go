package ocitar

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// isSealed tells the second life of the process that it is inside.
const isSealed = "OCITAR_SEALED"

// sealWorld executes the test binary again in a mount namespace in which all is
// read-only, but a tmpfs for temporary files: what root is led to do elsewhere is then
// seen, and does no harm.
func sealWorld() error {
	if os.Getenv(isSealed) != "" {
		sealed = true
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &ro); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := unix.Mount("fuzz", os.TempDir(), "tmpfs", 0, "mode=1777"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	const self = "/proc/self/exe" // which may be in the directory for temporary files
	return fmt.Errorf("execute %s: %w", self, unix.Exec(self, os.Args, append(os.Environ(), isSealed+"=1")))
}
