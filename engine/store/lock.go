package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ErrLocked says that another engine holds the state directory.
type ErrLocked struct {
	StateDir string
	PID      int    // of the holder; 0 when it has not said
	Socket   string // where the holder answers; empty when it does not
}

func (e *ErrLocked) Error() string {
	holder := "another engine"
	if e.PID != 0 {
		holder = fmt.Sprintf("the engine with pid %d", e.PID)
	}
	if e.Socket != "" {
		holder += ", which answers on " + e.Socket
	}
	return fmt.Sprintf("lock state directory %s: held by %s", e.StateDir, holder)
}

// Unwrap is the errno of flock(2).
func (e *ErrLocked) Unwrap() error { return syscall.EWOULDBLOCK }

// holder is what the lock file says. It is a hint for people and clients; the
// lock itself is the kernel's.
type holder struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket,omitempty"`
}

// Lock is the right to use a state directory. It ends with Close or with the
// process.
type Lock struct {
	mu sync.Mutex
	f  *os.File // nil once closed
}

// NewLock takes the state directory, which it makes when there is none. The
// error is an *ErrLocked when another engine has it.
//
// The lock is flock(2)'s on the file "lock": it belongs to the open file, is
// not inherited by programs started (close-on-exec), and the kernel drops it
// when the process dies. The file is never removed: two engines could then
// each lock one of the same name.
func NewLock(stateDir string) (*Lock, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(stateDir, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	err = flock(f)
	for i := 0; errors.Is(err, syscall.EWOULDBLOCK) && i < inheritTries && !alive(readHolder(f).PID); i++ {
		time.Sleep(inheritWait)
		err = flock(f)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		h := readHolder(f)
		err = &ErrLocked{StateDir: stateDir, PID: h.PID, Socket: h.Socket}
		return nil, errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock state directory %s: %w", stateDir, err), f.Close())
	}
	l := &Lock{f: f}
	if err := l.Announce(""); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// A process that was killed while it started another one leaves it its open
// files until that one has executed its program: for that moment a dead engine
// holds the lock.
const (
	inheritTries = 100
	inheritWait  = 20 * time.Millisecond
)

// alive tells whether there is a process with this number. Of none, which the
// holder has not written yet, it says that there is.
func alive(pid int) bool {
	return pid == 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}

// readHolder reads what the holder wrote; nothing when it is about to.
func readHolder(f *os.File) (h holder) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil || json.Unmarshal(b, &h) != nil {
		return holder{}
	}
	return h
}

// Announce tells whoever finds the lock held where the holder answers.
func (l *Lock) Announce(socket string) error {
	b, err := json.Marshal(holder{PID: os.Getpid(), Socket: socket})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return fmt.Errorf("announce holder of the state directory: %w", os.ErrClosed)
	}
	if err := l.f.Truncate(0); err != nil {
		return fmt.Errorf("announce holder of the state directory: %w", err)
	}
	if _, err := l.f.WriteAt(append(b, '\n'), 0); err != nil {
		return fmt.Errorf("announce holder of the state directory: %w", err)
	}
	return nil
}

// Close gives the state directory up. Closing twice is fine.
func (l *Lock) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
