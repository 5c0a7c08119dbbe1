package ns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Hostname sets the name of the caller's UTS namespace.
func Hostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set hostname %q: %w", name, err)
	}
	return nil
}

// Loopback brings up lo, which is down in a new network namespace. The kernel
// adds 127.0.0.1/8 and ::1 by itself.
func Loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}

// Permitted returns the capabilities this thread may use.
func Permitted() (Caps, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return Caps(data[0].Permitted) | Caps(data[1].Permitted)<<32, nil
}

// Bounding returns the bounding set of this thread: what a program it executes
// as root gets at most.
func Bounding() (Caps, error) {
	var c Caps
	for n := 0; n < 64; n++ {
		is, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // past the last one this kernel knows
		}
		if err != nil {
			return 0, fmt.Errorf("read capability %d: %w", n, err)
		}
		c |= Caps(is) << n
	}
	return c, nil
}
