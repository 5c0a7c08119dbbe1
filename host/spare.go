package host

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A host can keep one run loop ready, so that the next container does not wait
// for processes to start. It is made for an id, which the next container gets:
// the id is in its arguments, its socket's name and its cgroup. It is not in the
// journal. When the engine dies it ends by itself, and what is left of it is
// swept by its name.

// spares is the run loop that is kept ready.
type spares struct {
	mu     sync.Mutex
	closed bool
	now    *spare
}

type spare struct {
	id      string
	loop    *started
	claimed *time.Timer // running since the id was given out
}

// claimTime is how long a run loop is kept for a container that was created
// and not started.
const claimTime = 2 * time.Second

// NewID returns an id for a container: a letter and 11 base32 characters (55
// bits). It fits in an interface name, is never all digits and has no dot, which
// a jail name could not bear.
func (h *Host) NewID() string {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	s := h.spares.now
	if s == nil || s.claimed != nil {
		return randomID()
	}
	s.claimed = time.AfterFunc(claimTime, func() { h.dropSpare(s) })
	return s.id
}

func randomID() string { return "c" + strings.ToLower(rand.Text()[:11]) }

// rehearsal bounds how long a run loop that is made ready is waited for.
const rehearsal = 10 * time.Second

// Ready makes a run loop ready for the next container, unless there is one.
func (h *Host) Ready() error {
	path, err := h.makeSpare()
	if err != nil || path == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), rehearsal)
	defer cancel()
	// It may be taken, its socket renamed, and even have ended meanwhile; and
	// whether it lives is seen when it is configured.
	_ = rehearse(ctx, path)
	return nil
}

// makeSpare returns the path of its socket, or "" where there is one already.
func (h *Host) makeSpare() (string, error) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if h.spares.now != nil || h.spares.closed {
		return "", nil
	}
	id := randomID()
	if err := h.makeGroup(id); err != nil {
		return "", err
	}
	loop, err := h.startLoop(id, h.sparePath(id), nil)
	if err != nil {
		return "", errors.Join(err, h.removeSpare(id))
	}
	h.spares.now = &spare{id: id, loop: loop}
	return h.sparePath(id), nil
}

// takeSpare returns the run loop that is ready for a container, or nil.
func (h *Host) takeSpare(id string) *started {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	s := h.spares.now
	if s == nil || s.id != id {
		return nil
	}
	h.spares.now = nil
	s.claimed.Stop()
	return s.loop
}

// dropSpare ends a run loop that nobody wants.
func (h *Host) dropSpare(s *spare) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if h.spares.now == s && s != nil {
		h.spares.now = nil
		// What cannot be removed now is swept by the next engine.
		_ = errors.Join(s.loop.abandon(), h.removeSpare(s.id))
	}
}

// closeSpare ends the one that is there, for good.
func (h *Host) closeSpare() {
	h.spares.mu.Lock()
	h.spares.closed = true
	s := h.spares.now
	h.spares.mu.Unlock()
	h.dropSpare(s)
}

func (h *Host) sparePath(id string) string {
	return filepath.Join(h.cfg.RunDir, "spare-"+id+".sock")
}

// removeSpare removes what a spare run loop has on the host.
func (h *Host) removeSpare(id string) error {
	err := os.Remove(h.sparePath(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, h.dropGroup(id))
}

// sweepSpares removes the sockets of spares whose engine has died.
func (h *Host) sweepSpares() error {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	left, err := filepath.Glob(h.sparePath("*"))
	for _, path := range left {
		if s := h.spares.now; s != nil && path == h.sparePath(s.id) {
			continue // a container that ended during recovery had it made
		}
		if rerr := os.Remove(path); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}
