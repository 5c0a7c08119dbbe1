package runloop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/site/control"
)

// check refuses descriptors that a process must not be given: a directory of
// the host is a way out of the container, and what is neither a file, a
// character device, a pipe nor a socket is nothing to read from.
func check(s control.Stdio) error {
	for name, f := range map[string]*os.File{"stdin": s.Stdin, "stdout": s.Stdout, "stderr": s.Stderr} {
		if f == nil {
			continue
		}
		if err := checkFile(f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkFile(f *os.File) error {
	var st unix.Stat_t
	var err error
	if cerr := withFD(f, func(fd int) { err = unix.Fstat(fd, &st) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT { // uint32 on Linux, uint16 on FreeBSD
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, unix.S_IFCHR:
		return nil
	case unix.S_IFDIR:
		return fmt.Errorf("descriptor of a directory: %w", fs.ErrInvalid)
	}
	return fmt.Errorf("descriptor of type %#o: %w", st.Mode&unix.S_IFMT, fs.ErrInvalid)
}

// setBlocking takes O_NONBLOCK from files that go to a process: programs do
// not expect it. A client written in Go has it on the pipes that it makes.
func setBlocking(files *[3]*os.File) error {
	for _, f := range files {
		if f == nil {
			continue
		}
		var err error
		if cerr := withFD(f, func(fd int) { err = unix.SetNonblock(fd, false) }); cerr != nil || err != nil {
			return errors.Join(cerr, os.NewSyscallError("fcntl", err))
		}
	}
	return nil
}

// closeStdio closes the files that a call came with. The server would do so
// when the call returns; what reads from them must see an end before that.
func closeStdio(s control.Stdio) {
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			_ = f.Close() // nothing was written through it
		}
	}
}

// dup returns a file of our own for f, in the mode f is in; nil for nil.
func dup(f *os.File) (*os.File, error) {
	if f == nil {
		return nil, nil
	}
	fd := -1
	var err error
	if cerr := withFD(f, func(old int) { fd, err = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// withFD calls do with the descriptor of f, whose mode stays as it is:
// f.Fd may change it.
func withFD(f *os.File, do func(fd int)) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) { do(int(fd)) })
}

// pipe returns a pipe of which our end does not block and theirs does: a
// program does not expect O_NONBLOCK. ours is 0 for the read end, 1 for the
// write end.
func pipe(ours int) (our, their *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(p[ours], true); err != nil {
		return nil, nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(p[0]), unix.Close(p[1]))
	}
	return os.NewFile(uintptr(p[ours]), "pipe"), os.NewFile(uintptr(p[1-ours]), "pipe"), nil
}

// readNow reads what is there, without waiting, whatever f's deadline is.
func readNow(f *os.File, b []byte) (n int, err error) {
	cerr := withFD(f, func(fd int) {
		for {
			if n, err = unix.Read(fd, b); err != syscall.EINTR {
				return
			}
		}
	})
	return max(n, 0), errors.Join(cerr, err)
}
