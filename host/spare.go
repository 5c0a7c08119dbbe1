package host

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
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
// swept by its name. On ZFS there can be a root with it: see spareroot_freebsd.go.

// spares is what is kept ready.
type spares struct {
	making sync.Mutex // held while a root is made, and while a chain is deleted

	mu     sync.Mutex // guards what follows
	closed bool
	now    *spare
	last   [2]rootKind // of the containers that were made last, the latest first
	marked string      // the id of the next root, if it has one and its mark is there
}

type spare struct {
	id      string
	loop    *started
	claimed *time.Timer // running since the id was given out
	root    *spareRoot  // nil: there is none, or its container has it
	mounted bool        // its container has it, and has not come for it where it is mounted
}

// rootKind is what is known of a root before its container is.
type rootKind struct {
	chain   string
	program string // what main executes
}

// spareRoot is a root that is kept ready.
type spareRoot struct {
	rootKind
	ready chan struct{} // closed when it has been made
	err   error         // why it could not be; there is nothing of it then
}

// wait waits until a root has been made, and returns why it could not be.
func (r *spareRoot) wait() error {
	if r == nil {
		return nil
	}
	<-r.ready
	return r.err
}

// claimTime is how long what is ready is kept for a container that was created
// and not started.
const claimTime = 2 * time.Second

// NewID returns an id for a container of a chain, or of none: a letter and 11
// base32 characters (55 bits). It fits in an interface name, is never all digits
// and has no dot, which a jail name could not bear.
func (h *Host) NewID(chain string) string {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	s := h.spares.now
	if s == nil || s.claimed != nil || s.root != nil && s.root.chain != chain {
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
	h.spares.making.Lock()
	s, root, err := h.makeSpare()
	if err != nil || s == nil {
		h.spares.making.Unlock()
		return err
	}
	rehearsed := make(chan struct{})
	go func() {
		defer close(rehearsed)
		ctx, cancel := context.WithTimeout(context.Background(), rehearsal)
		defer cancel()
		// It may be taken, its socket renamed, and even have ended meanwhile; and
		// whether it lives is seen when it is configured.
		_ = rehearse(ctx, h.sparePath(s.id))
	}()
	if err = root.wait(); err == nil && root != nil {
		err = h.markNext()
	}
	h.spares.making.Unlock()
	<-rehearsed
	return err
}

// makeSpare returns what it has made, and the root, which is being made, or nil
// where there is something already.
func (h *Host) makeSpare() (*spare, *spareRoot, error) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	kind := h.spares.next()
	if s := h.spares.now; s != nil && s.claimed == nil && s.root != nil && kind.chain != "" && s.root.chain != kind.chain {
		h.dropSpareLocked(s) // nobody has asked for that chain lately
	}
	if h.spares.now != nil || h.spares.closed {
		return nil, nil, nil
	}
	id, marked := randomID(), false
	if kind.chain != "" && h.spares.marked != "" {
		id, marked, h.spares.marked = h.spares.marked, true, ""
	}
	if err := h.makeGroup(id); err != nil {
		return nil, nil, err
	}
	root := h.makeRoot(id, kind, marked)
	loop, err := h.startLoop(id, h.sparePath(id), nil)
	if err != nil {
		return nil, nil, errors.Join(err, h.removeSpare(id), h.dropRoot(id, root))
	}
	h.spares.now = &spare{id: id, loop: loop, root: root}
	return h.spares.now, root, nil
}

// next is what the next container will be made of, if that can be guessed: of
// what the last two were.
func (s *spares) next() rootKind {
	if s.last[0].chain != s.last[1].chain {
		return rootKind{}
	}
	return s.last[0]
}

// takeSpare returns the run loop that is ready for a container, or nil. Where
// its root is mounted stays so.
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

// createRoot makes the root of a container, or takes the one that is ready for it.
func (h *Host) createRoot(ctx context.Context, s Spec) error {
	root := h.takeRoot(s)
	if root == nil || root.wait() != nil {
		return h.store.Create(ctx, s.ID, s.Chain)
	}
	return h.unmark(s.ID) // the journal has it
}

// takeRoot returns the root that is ready for a container, or nil.
func (h *Host) takeRoot(c Spec) *spareRoot {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	h.spares.last = [2]rootKind{{c.Chain, c.Program}, h.spares.last[0]}
	s := h.spares.now
	if s == nil || s.id != c.ID || s.root == nil {
		return nil
	}
	root := s.root
	s.root, s.mounted = nil, true
	return root
}

// dropSpare gives up what nobody wants.
func (h *Host) dropSpare(s *spare) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if s != nil && h.spares.now == s {
		h.dropSpareLocked(s)
	}
}

// dropSpareLocked gives up what is ready. What cannot be removed now is swept by
// the next engine.
func (h *Host) dropSpareLocked(s *spare) {
	h.spares.now = nil
	_ = errors.Join(s.loop.abandon(), h.removeSpare(s.id), h.dropRoot(s.id, s.root))
	if s.mounted {
		_ = h.unmountRoot(s.id)
	}
}

// closeSpare ends the one that is there, for good.
func (h *Host) closeSpare() {
	h.spares.making.Lock()
	defer h.spares.making.Unlock()
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	h.spares.closed = true
	if h.spares.marked != "" {
		_ = h.unmark(h.spares.marked) // or the next engine does
		h.spares.marked = ""
	}
	if h.spares.now != nil {
		h.dropSpareLocked(h.spares.now)
	}
}

// Leftovers lists what on this host carries the engine's tag or lives in its
// directories, and belongs to none of the given containers. Names are of the
// form "kind name". What is kept ready is not among it; it does not come or go
// meanwhile.
func (h *Host) Leftovers(ids map[string]bool) ([]string, error) {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	known := map[string]bool{}
	maps.Copy(known, ids)
	if s := h.spares.now; s != nil {
		known[s.id] = true
	}
	return h.leftovers(known)
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
