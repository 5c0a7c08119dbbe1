package host

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sealedFD is the least number for the descriptor of the sealed program:
// above those that a run loop inherits, which replace whatever has their number
// before execve(2) looks at the name.
const sealedFD = 200

// seal copies the run loop's program into a sealed memfd. The run loop and the
// pid 1 of its container are executed from it, so that no process in the
// container that gets hold of /proc/PID/exe can change the program on the host
// (CVE-2019-5736).
func (h *Host) seal(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("run loop: %w", err)
	}
	defer in.Close()
	out, err := sealedCopy(in)
	if err != nil {
		return fmt.Errorf("run loop: %w", err)
	}
	defer out.Close()
	high, err := unix.FcntlInt(out.Fd(), unix.F_DUPFD_CLOEXEC, sealedFD)
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	h.sealed = os.NewFile(uintptr(high), "xc-runloop")
	h.program = fmt.Sprintf("/proc/self/fd/%d", high)
	return nil
}

// sealedCopies is how many copies sealedCopy makes at most. The kernel waits
// some 150 ms for the pages of each (mm/memfd.c, memfd_wait_for_pins).
const sealedCopies = 20

// sealedCopy returns a memfd with the bytes of src that nobody can change any
// more. Whoever holds a page of it for a moment (reclaim, compaction, DAMON)
// makes the kernel refuse the seal with EBUSY; another copy has other pages.
func sealedCopy(src io.ReadSeeker) (*os.File, error) {
	for n := 1; ; n++ {
		if _, err := src.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		f, err := sealOnce(src)
		if !errors.Is(err, unix.EBUSY) || n == sealedCopies {
			return f, err
		}
	}
}

// sealOnce is one attempt of sealedCopy.
func sealOnce(src io.Reader) (_ *os.File, err error) {
	fd, err := unix.MemfdCreate("xc-runloop", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	out := os.NewFile(uintptr(fd), "xc-runloop")
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	if _, err := io.Copy(out, src); err != nil {
		return nil, fmt.Errorf("copy the program: %w", err)
	}
	if err := out.Chmod(0o500); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(out.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the program: %w", err)
	}
	return out, nil
}
