package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/linux/pidfd"
	"github.com/joyboyid/xc/linux/spawn"
	"golang.org/x/sys/unix"
)

// inside is the argv[0] of this program when it is executed again as pid 1 of
// the namespaces.
const inside = "sandbox-inside"

func main() {
	status := 0
	var err error
	switch {
	case os.Args[0] == inside:
		err = furnish(os.Args[1], os.Args[2:])
	case len(os.Args) < 3:
		err = errors.New("usage: sandbox ROOT PROGRAM [ARGUMENT...]")
	case os.Getuid() != 0:
		err = errors.New("needs root, for the namespaces: try sudo")
	default:
		status, err = run(context.Background(), os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		status = 125
	}
	os.Exit(status)
}

// furnish makes the root, and becomes the program.
func furnish(dir string, args []string) error {
	runtime.LockOSThread() // capabilities are the thread's, and so is what it executes
	unix.Umask(0)
	if err := ns.Private(); err != nil {
		return err
	}
	root, err := ns.Clone(unix.AT_FDCWD, dir)
	if err != nil {
		return err
	}
	defer root.Close()
	proc, err1 := ns.Proc()
	sys, err2 := ns.Sys()
	dev, err3 := ns.Dev(ns.DevOptions{})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return root.Set(ns.NoDev) },
		root.Pivot,
		func() error { return proc.Place("/proc") },
		func() error { return sys.Place("/sys") },
		func() error { return dev.Place("/dev") },
		func() error { return ns.Mask(ns.MaskedPaths()...) },
		func() error { return ns.ReadOnly(ns.ReadOnlyPaths()...) },
		func() error { return ns.Hostname("sandbox") },
		ns.Loopback, dropCaps,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	return fmt.Errorf("exec %s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}

// run starts this program again inside, and follows it.
func run(ctx context.Context, args []string) (int, error) {
	o := spawn.Options{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET}
	group, err := makeGroup()
	if err != nil {
		return 0, err
	}
	if group != nil {
		defer func() { _ = errors.Join(group.Remove(ctx), group.Close()) }() // empty by then
		o.Cgroup = group.FD()
	}
	var p spawn.Program
	p.Call("setsid", unix.SYS_SETSID)
	pid, fd, err := p.Start(o, "/proc/self/exe", append([]string{inside}, args...), os.Environ())
	if err != nil {
		return 0, err
	}
	handle, err := pidfd.New(fd)
	if err != nil {
		return 0, err
	}
	defer handle.Close()
	fmt.Fprintf(os.Stderr, "sandbox: pid %d on the host\n", pid)
	if err := handle.Wait(ctx); err != nil {
		return 0, err
	}
	status, err := handle.Reap()
	if err != nil {
		return 0, err
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// makeGroup makes a control group where that is possible.
func makeGroup() (*cgroup.Group, error) {
	base, err := cgroup.Find()
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintln(os.Stderr, "sandbox: without a control group:", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return cgroup.Make(filepath.Join(base, "sandbox-"+strconv.Itoa(os.Getpid())))
}

// dropCaps takes from what this thread executes all capabilities but the usual.
// What this thread itself may do stays as it is.
func dropCaps() error {
	has, err := ns.Bounding()
	if err != nil {
		return err
	}
	for n := range 64 {
		if !(has &^ ns.DefaultCaps).Has(n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", n, err)
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
