package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// The directory of a channel is mounted where others rule: they may be able to
// put into it what they like, links too. So nothing in it is opened or changed by
// its name. The socket is made in a directory beside it and renamed into place.

// channelPath returns the real path of a channel's directory, which need not
// exist. What is above it must belong to root, or to who runs the engine, or
// another could put something else in its place.
func channelPath(path string) (string, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) == "/" {
		return "", fmt.Errorf("the path of a channel is absolute and not /: %w", fs.ErrInvalid)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return "", err
	}
	for dir := parent; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return "", err
		}
		owner, ours := info.Sys().(*syscall.Stat_t).Uid, uint32(os.Geteuid())
		if open := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0; !info.IsDir() || open || owner != 0 && owner != ours {
			return "", fmt.Errorf("%s is not a directory that only root can change: %w", dir, fs.ErrPermission)
		}
		if dir == "/" {
			return filepath.Join(parent, filepath.Base(path)), nil
		}
	}
}

// makeChannelDir makes the directory. Others may enter it; the socket's mode
// says who may connect.
func makeChannelDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // whatever the umask is
}

// ownChannelDir tells whether what is there is the channel's. One that nobody
// saw being made is taken for it while it is empty.
func ownChannelDir(path string, made bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory: %w", path, fs.ErrExist)
	}
	if made {
		return nil
	}
	list, err := os.ReadDir(path)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s was there before: %w", path, fs.ErrExist)
	}
	return err
}

// removeChannelDir removes the directory. If there is more in it than the socket
// was, or something else in its place, that stays: it is not ours.
func removeChannelDir(path string) error {
	switch err := syscall.Rmdir(path); err {
	case nil, syscall.ENOENT, syscall.ENOTEMPTY, syscall.ENOTDIR:
		return nil
	default:
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
}

// channelSocket listens in a channel's directory.
type channelSocket struct {
	net.Listener
	path  string
	info  fs.FileInfo
	close func() error
}

// listenInChannel makes a socket and moves it into the directory. One that is
// there is replaced if nobody answers at it.
func listenInChannel(dir, tag string, mode fs.FileMode) (_ *channelSocket, err error) {
	private := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"."+tag)
	if err := removePrivate(private); err != nil { // of an engine that crashed in between
		return nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removePrivate(private)) }()
	s := &channelSocket{path: filepath.Join(dir, api.ChannelSocket)}
	s.close = sync.OnceValue(s.remove)
	made := filepath.Join(private, "s")
	if s.Listener, err = ipc.Listen(made, ipc.ListenOptions{Mode: mode}); err != nil {
		return nil, err
	}
	if s.info, err = os.Lstat(made); err == nil {
		err = replaceable(s.path)
	}
	if err == nil {
		err = os.Rename(made, s.path)
	}
	if err != nil {
		return nil, errors.Join(err, s.Listener.Close())
	}
	return s, nil
}

// removePrivate removes what listenInChannel makes. Its name has the engine's
// tag: it is nobody else's.
func removePrivate(dir string) error {
	for _, path := range []string{filepath.Join(dir, "s"), filepath.Join(dir, "s.lock"), dir} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaceable tells whether nothing is there, or the socket of a server that is dead.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket: %w", path, fs.ErrExist)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := ipc.Dial(ctx, path)
	if err == nil {
		return errors.Join(fmt.Errorf("another server answers at %s: %w", path, fs.ErrExist), c.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%s: not known to be dead: %w", path, err)
}

// Close stops listening and removes the socket, if it is still the one that was
// made. Closing it twice is fine.
func (s *channelSocket) Close() error { return s.close() }

func (s *channelSocket) remove() error {
	var err error
	if now, serr := os.Lstat(s.path); serr == nil && os.SameFile(now, s.info) {
		err = os.Remove(s.path)
	}
	return errors.Join(err, s.Listener.Close())
}
