package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func read(pid int) (Process, error) {
	b, err := unix.SysctlRaw("kern.proc.pid", pid)
	if errors.Is(err, unix.ESRCH) || err == nil && len(b) == 0 {
		return Process{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if err != nil {
		return Process{}, fmt.Errorf("process %d: sysctl kern.proc.pid: %w", pid, err)
	}
	p, err := parseKinfo(b, os.Getpagesize())
	if err != nil {
		return p, fmt.Errorf("process %d: %w", pid, err)
	}
	args, err := unix.SysctlRaw("kern.proc.args", pid)
	switch {
	case err == nil:
		p.Args = parseArgs(args)
	case !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EPERM): // it ended, or hides them
		return p, fmt.Errorf("process %d: sysctl kern.proc.args: %w", pid, err)
	}
	return p, nil
}

func readIO(pid int) (IO, error) {
	return IO{}, fmt.Errorf("i/o of process %d: %w: the kernel counts no bytes of processes", pid, errors.ErrUnsupported)
}
