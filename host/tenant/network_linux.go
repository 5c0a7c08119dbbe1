package tenant

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/joyboyid/xc/linux/ns"
	"golang.org/x/sys/unix"
)

// newNetwork makes a network namespace with nothing but a loopback interface
// that is up, and returns its descriptor. It takes the kernel as long as all
// else together (0.4 ms), and is done here while the stub starts.
func newNetwork() (fd int, err error) {
	runtime.LockOSThread()
	old, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	defer unix.Close(old)
	fd, err = enterNew()
	if back := unix.Setns(old, unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with the goroutine.
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return fd, err
}

// enterNew moves this thread into a new network namespace.
func enterNew() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	if err := ns.Loopback(); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	return fd, nil
}
