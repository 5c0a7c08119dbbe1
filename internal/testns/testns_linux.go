package testns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// entered tells the second life of the process, and its children, that it is
// inside. It names the mount namespace: whoever is in another one starts anew.
const entered = "XC_TESTNS"

// Enter executes the test binary again in a mount namespace, where nothing
// spreads to or from the host, and a network namespace, where only lo is up.
// Where the process may not do that, it does nothing. Call it in TestMain, after
// what makes the binary a helper of its own tests, and before m.Run.
//
// The thread that calls unshare(2) is the one that execve(2) keeps, so that the
// process keeps its pid, and go test its child.
func Enter() {
	here := namespace()
	if os.Getuid() != 0 || os.Getenv(entered) == here {
		return
	}
	if err := enter(); err != nil && !errors.Is(err, unix.EPERM) {
		fmt.Fprintf(os.Stderr, "testns: %v\n", err)
		os.Exit(1)
	}
}

func enter() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv(entered, namespace()); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", self, unix.Exec(self, os.Args, os.Environ()))
}

// namespace is the name of this thread's mount namespace.
func namespace() string {
	name, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		return ""
	}
	return name
}

// loopback sets lo up: netdevice(7).
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
