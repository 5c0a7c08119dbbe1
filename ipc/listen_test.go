package ipc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	leaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	gid := os.Getegid()
	if os.Geteuid() == 0 {
		gid = 4242 // of no group that it could have by itself
	}
	l, err := Listen(path, ListenOptions{Mode: 0o620, GID: gid})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o620 || int(info.Sys().(*syscall.Stat_t).Gid) != gid {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := Listen(path, ListenOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("beside a living server: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Who dials a server that goes away meanwhile has a connection, which ends, or is
// told that there is none.
func TestDialWhileAServerCloses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for range 2000 {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan error)
		go func() { closed <- l.Close() }()
		c, err := Dial(t.Context(), path)
		if err == nil {
			err = c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err = errors.Join(err, <-closed); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListenReplacesADeadSocket(t *testing.T) {
	leaks(t)
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := Listen(path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A listener whose file was replaced leaves the new one alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	c, err := Dial(limited(t), path)
	if err != nil {
		t.Fatalf("the second listener is gone: %v", err)
	}
	if err := errors.Join(c.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func TestListenKeepsWhatIsNoSocket(t *testing.T) {
	leaks(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if _, err := Listen(path, ListenOptions{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 120)), ListenOptions{}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("long name: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, "none", "s"), ListenOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// Of many that find a dead socket at the same time, one gets it.
func TestListenRace(t *testing.T) {
	leaks(t)
	path := filepath.Join(t.TempDir(), "s")
	for range 10 {
		dead, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		dead.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := dead.Close(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		got := make(chan net.Listener, 8)
		for range cap(got) {
			wg.Go(func() {
				l, err := Listen(path, ListenOptions{})
				if err == nil {
					got <- l
				} else if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("%d listeners", len(got))
		}
		if err := (<-got).Close(); err != nil {
			t.Error(err)
		}
	}
}
