package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func read(pid int) (Process, error) {
	p, err := readProc(fmt.Sprintf("/proc/%d", pid))
	if errors.Is(err, syscall.ESRCH) { // it ended between open and read
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

func readProc(dir string) (Process, error) {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Process{}, err
	}
	p, started, err := parseStat(string(stat))
	if err != nil {
		return p, err
	}
	statm, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return p, err
	}
	if p.Memory, err = parseStatm(string(statm), os.Getpagesize()); err != nil {
		return p, err
	}
	boot, err := os.ReadFile("/proc/stat")
	if err != nil {
		return p, err
	}
	at, err := parseBoot(string(boot))
	if err != nil {
		return p, err
	}
	p.Started = at.Add(started)
	args, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return p, err
	}
	p.Args = parseArgs(args)
	info, err := os.Stat(dir)
	if err != nil {
		return p, err
	}
	p.UID = int(info.Sys().(*syscall.Stat_t).Uid)
	return p, nil
}

func readIO(pid int) (IO, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	b, err := os.ReadFile(dir + "/io")
	var io IO
	switch {
	case err == nil:
		io, err = parseIO(string(b))
	case errors.Is(err, syscall.ESRCH):
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case errors.Is(err, fs.ErrNotExist):
		if _, serr := os.Stat(dir); serr == nil {
			err = fmt.Errorf("%w: the kernel was built without CONFIG_TASK_IO_ACCOUNTING", errors.ErrUnsupported)
		}
	}
	if err != nil {
		return io, fmt.Errorf("i/o of process %d: %w", pid, err)
	}
	return io, nil
}
