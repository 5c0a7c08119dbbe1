package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/site"
)

// RootSteps make the root of a container that does not run ready for OpenRoot.
func (h *Host) RootSteps(Spec) []site.Step { return nil }

// OpenRoot opens a container's root for the *at system calls. Of one that runs it
// is what its processes see, of which pids are some, and loop is its run loop's; of one
// that does not, what is mounted into it is not there.
func (h *Host) OpenRoot(s Spec, loop int, pids []int) (*os.File, error) {
	if loop == 0 {
		return h.stoppedRoot(s)
	}
	for _, pid := range pids {
		f, err := rootOf(loop, pid)
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return f, err
		}
	}
	return nil, fmt.Errorf("it has ended meanwhile: %w", fs.ErrNotExist)
}

// stoppedRoot makes the mount that a run would have, attached to nothing: it goes with
// its descriptor. It needs a mount namespace for a moment, on older kernels.
func (h *Host) stoppedRoot(s Spec) (*os.File, error) {
	r, err := h.root(s)
	if err != nil {
		return nil, err
	}
	type result struct {
		tree *ns.Tree
		err  error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes, and its namespace
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = ns.Private()
		}
		if err != nil {
			made <- result{nil, os.NewSyscallError("unshare", err)}
			return
		}
		tree, err := tenant.OpenRoot(r)
		made <- result{tree, err}
	}()
	got := <-made
	if got.err != nil {
		return nil, got.err
	}
	return os.NewFile(uintptr(got.tree.FD()), h.RootDir(s)), nil
}

// maxAncestors bounds the way from a process to the pid 1 of its container.
const maxAncestors = 1 << 16

// rootOf opens the root of the pid 1, a stub of ours that never leaves it, of the
// container that a process is in: the parent of its parents that the run loop started.
func rootOf(loop, pid int) (*os.File, error) {
	for range maxAncestors {
		dir, err := openProc(pid)
		if err != nil {
			return nil, err
		}
		parent, first, err := ancestry(dir)
		if err != nil || !first {
			_ = dir.Close() // only looked at
			if err != nil {
				return nil, err
			}
			pid = parent
			continue
		}
		defer dir.Close()
		if parent != loop {
			return nil, fmt.Errorf("process %d is of another run loop: %w", pid, fs.ErrNotExist)
		}
		// Relative to the process as it was opened: its number may be another's by now.
		fd, err := unix.Openat(int(dir.Fd()), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: dir.Name() + "/root", Err: err}
		}
		return os.NewFile(uintptr(fd), dir.Name()+"/root"), nil
	}
	return nil, fmt.Errorf("process %d has no run loop above it: %w", pid, fs.ErrNotExist)
}

// openProc opens the directory of proc(5) of a process, which is that process's also
// when its number has become another's.
func openProc(pid int) (*os.File, error) {
	return os.OpenFile("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// ancestry reads the parent of a process, and whether it is the first of its pid
// namespace, by its directory of proc(5).
func ancestry(dir *os.File) (parent int, first bool, err error) {
	fd, err := unix.Openat(int(dir.Fd()), "status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, &os.PathError{Op: "open", Path: dir.Name() + "/status", Err: err}
	}
	f := os.NewFile(uintptr(fd), dir.Name()+"/status")
	defer f.Close()
	b := make([]byte, 8<<10) // NSpid has 32 numbers at the most
	n, err := f.Read(b)
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(string(b[:n])) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch words := strings.Fields(value); key {
		case "PPid":
			parent, err = strconv.Atoi(strings.Join(words, ""))
		case "NSpid":
			first = len(words) > 1 && slices.Index(words, "1") == len(words)-1
		}
		if err != nil {
			return 0, false, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	if parent <= 1 && !first {
		return 0, false, fmt.Errorf("%s: it is in no container: %w", f.Name(), fs.ErrNotExist)
	}
	return parent, first, nil
}
