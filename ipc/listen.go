package ipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ListenOptions say who may connect to a socket. Whoever may, is at the mercy of
// the server's Allow only.
type ListenOptions struct {
	Mode fs.FileMode // permission bits; 0 is 0600
	GID  int         // group of the socket file; 0 leaves it as the system made it
}

// Listen listens at path. The socket file of a server that is dead is replaced;
// that of a living one, and whatever is not a socket, is an fs.ErrExist and
// stays. Nobody can connect before mode and group are set. The directory must
// belong to who is trusted.
//
// Closing the listener removes the file, if it is still its own.
func Listen(path string, o ListenOptions) (net.Listener, error) {
	l, err := listen(path, o)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, o ListenOptions) (_ *listener, err error) {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := clear(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		if err == unix.EINVAL && len(path) > 103 { // sun_path: 108 bytes on Linux, 104 on FreeBSD
			err = unix.ENAMETOOLONG
		}
		return nil, os.NewSyscallError("bind", err)
	}
	l, err := open(f, path, o)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return l, nil
}

// open makes a bound socket reachable. Until listen(2), connecting to it is
// refused, so the mode that bind(2) gave it does not matter.
func open(f *os.File, path string, o ListenOptions) (*listener, error) {
	if o.GID != 0 {
		if err := os.Lchown(path, -1, o.GID); err != nil {
			return nil, err
		}
	}
	mode := o.Mode.Perm()
	if mode == 0 {
		mode = 0o600
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(int(f.Fd()), backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: nl, path: path, info: info}, nil
}

const backlog = 128 // cut to somaxconn by both kernels

// clear removes the socket file of a dead server.
func clear(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("not a socket: %w", fs.ErrExist)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := dial(ctx, path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("a living server is there: %w", fs.ErrExist), c.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("not known to be dead: %w: %w", fs.ErrExist, err)
}

// lock lets one process at a time look and replace. The lock file is removed
// while it is locked; who waited for a removed one tries again.
func lock(path string) (unlock func() error, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
		}
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, held) {
			return func() error { return errors.Join(os.Remove(path), f.Close()) }, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// listener removes its socket file.
type listener struct {
	net.Listener
	path string
	info fs.FileInfo
}

// Close stops listening. A file that another server has put there stays.
func (l *listener) Close() error {
	var err error
	if now, serr := os.Lstat(l.path); serr == nil && os.SameFile(now, l.info) {
		err = os.Remove(l.path)
	}
	return errors.Join(err, l.Listener.Close())
}
