package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
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
	making sync.Mutex // held while something is made ready, listed or swept

	mu       sync.Mutex // guards what follows; nothing is waited for that holds it
	closed   bool
	now      *spare
	leaving  map[string]*departure // by id: what is being given up
	last     [2]rootKind           // of the containers that were made last, the latest first
	stuck    []stuckRoot           // what could not be given up
	marked   string                // the id of the next root, if it has one and its mark is there
	patience time.Duration         // idleTime if 0
}

type spare struct {
	id      string
	loop    *started    // nil: it is being made, and the id is not given out
	claimed *time.Timer // running since the id was given out
	idle    *time.Timer // running since the root was ready
	root    *spareRoot  // nil: there is none, or its container has it
	taken   *spareRoot  // its container has it, and has not come for it where it is mounted
}

// rootKind is what is known of a root before its container is.
type rootKind struct {
	chain    string
	volatile bool
	program  string // what main executes
}

// like tells whether a root of one kind does for a container of another one.
func (k rootKind) like(other rootKind) bool {
	return k.chain == other.chain && k.volatile == other.volatile
}

func kindOf(s Spec) rootKind { return rootKind{s.Chain, s.Volatile, s.Program} }

// spareRoot is a root that is kept ready.
type spareRoot struct {
	rootKind
	ready chan struct{} // closed when it has been made
	warm  chan struct{} // closed when what main executes is in memory: a container need not wait for that
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

const (
	// claimTime is how long what is ready is kept for a container that was created
	// and not started.
	claimTime = 2 * time.Second
	// idleTime is how long a root is kept ready that nobody asks for. It is a
	// dataset on the user's pool, and in the way of who looks at, copies or exports it.
	idleTime = time.Minute
)

// NewID returns an id for a container of a chain, or of none, which may be volatile
// (see [Spec]): a letter and 11 base32 characters (55 bits). It fits in an interface
// name, is never all digits and has no dot, which a jail name could not bear.
func (h *Host) NewID(chain string, volatile bool) string {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if chain == "" {
		h.spares.made(rootKind{})
	}
	s := h.spares.now
	switch {
	case s == nil, s.loop == nil, s.claimed != nil:
	case s.root != nil && !s.root.like(rootKind{chain: chain, volatile: volatile}), h.spares.leaving[s.id] != nil:
	default:
		s.claimed = time.AfterFunc(claimTime, func() { h.report(h.dropSpare(s)) })
		return s.id
	}
	return randomID()
}

func randomID() string { return "c" + strings.ToLower(rand.Text()[:11]) }

// made remembers that a container was made. Mu is held.
func (s *spares) made(k rootKind) { s.last = [2]rootKind{k, s.last[0]} }

// next is what the next container will be made of, if that can be guessed: of
// what the last two were.
func (s *spares) next() rootKind {
	if !s.last[0].like(s.last[1]) {
		return rootKind{}
	}
	return s.last[0]
}

// wants tells whether a root is worth keeping.
func (s *spares) wants(r *spareRoot) bool {
	if next := s.next(); next.chain != "" {
		return r.like(next)
	}
	return r.like(s.last[0]) || r.like(s.last[1])
}

// rehearsal bounds how long a run loop that is made ready is waited for.
const rehearsal = 10 * time.Second

// Ready makes ready what is not: a run loop for the next container and, where that
// pays, its root.
func (h *Host) Ready() error {
	h.spares.making.Lock()
	s, root, fresh := h.planSpare()
	var err error
	rehearsed := make(chan struct{})
	if fresh {
		err = h.makeLoop(s)
	}
	if fresh && err == nil {
		go h.rehearseSpare(s.id, rehearsed)
	} else {
		close(rehearsed)
	}
	if err == nil && root != nil {
		err = h.finishRoot(s, root)
	}
	h.spares.making.Unlock()
	<-rehearsed
	return err
}

// rehearseSpare rehearses a start, and closes done. What is ready may be taken, its
// socket renamed, and even have ended meanwhile; and whether it lives is seen when it
// is configured.
func (h *Host) rehearseSpare(id string, done chan<- struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), rehearsal)
	defer cancel()
	_ = rehearse(ctx, h.sparePath(id))
}

// planSpare decides what is to be made ready, and begins with its root, if it is to
// have one. What is fresh needs a run loop. It is nil where nothing is to be made.
func (h *Host) planSpare() (s *spare, root *spareRoot, fresh bool) {
	stale := func() error { return nil }
	defer func() { h.report(stale()) }()
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	if h.spares.closed {
		return nil, nil, false
	}
	kind := h.spares.next()
	s = h.spares.now
	switch {
	case s == nil:
	case s.claimed != nil:
		return nil, nil, false
	case s.root != nil && h.spares.wants(s.root):
		return nil, nil, false
	case s.root != nil && kind.chain == "":
		stale = h.retireLocked(s)
		return nil, nil, false
	case s.root != nil:
		stale, s = h.dropLocked(s), nil
	case kind.chain == "" || h.spares.leaving[s.id] != nil:
		return nil, nil, false
	}
	marked := false
	if s == nil {
		s, fresh = &spare{id: randomID()}, true
		if kind.chain != "" && h.spares.marked != "" {
			s.id, marked, h.spares.marked = h.spares.marked, true, ""
		}
		h.spares.now = s
	}
	s.root = h.makeRoot(s.id, kind, marked)
	return s, s.root, fresh
}

// makeLoop makes the run loop of what is fresh.
func (h *Host) makeLoop(s *spare) error {
	err := h.makeGroup(s.id)
	var loop *started
	if err == nil {
		loop, err = h.startLoop(s.id, h.sparePath(s.id), nil)
	}
	if err != nil {
		return errors.Join(err, h.dropSpare(s))
	}
	h.spares.mu.Lock()
	s.loop = loop
	given := h.spares.now != s // its root was, and is stuck
	h.spares.mu.Unlock()
	if given {
		return h.removeSpare(s.id, loop)
	}
	return nil
}

// finishRoot waits until a root is ready. Its time begins, and the mark of the next
// one is made.
func (h *Host) finishRoot(s *spare, root *spareRoot) error {
	if err := root.wait(); err != nil {
		return err
	}
	<-root.warm
	h.spares.mu.Lock()
	if s.root == root {
		s.idle = time.AfterFunc(cmp.Or(h.spares.patience, idleTime), func() { h.report(h.retire(s, root)) })
	}
	marked := h.spares.marked != ""
	h.spares.mu.Unlock()
	if marked {
		return nil
	}
	return h.markNext()
}

// takeSpare returns the run loop that is ready for a container, or nil. Where
// its root is mounted stays so.
func (h *Host) takeSpare(id string) *started {
	h.spares.lockFor(id)
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
		return h.newRoot(ctx, s.ID, kindOf(s))
	}
	there, err := h.rootThere(ctx, s.ID)
	if err == nil && !there { // somebody who wondered about it has destroyed it
		err = h.newRoot(ctx, s.ID, kindOf(s))
	}
	return errors.Join(err, h.unmark(s.ID)) // the journal has it
}

// takeRoot returns the root that is ready for a container, or nil.
func (h *Host) takeRoot(c Spec) *spareRoot {
	h.spares.lockFor(c.ID)
	defer h.spares.mu.Unlock()
	h.spares.made(kindOf(c))
	s := h.spares.now
	if s == nil || s.id != c.ID || s.root == nil {
		return nil
	}
	s.root, s.taken = nil, s.root
	stop(s.idle)
	return s.taken
}

func (h *Host) report(err error) {
	if err != nil && h.cfg.Report != nil {
		h.cfg.Report(err)
	}
}

// Leftovers lists what on this host carries the engine's tag or lives in its
// directories, and belongs to none of the given containers. Names are of the
// form "kind name". What is kept ready is not among it; nothing is made ready
// meanwhile.
func (h *Host) Leftovers(ids map[string]bool) ([]string, error) {
	h.spares.making.Lock()
	defer h.spares.making.Unlock()
	known := map[string]bool{}
	maps.Copy(known, ids)
	h.spares.mu.Lock()
	if s := h.spares.now; s != nil {
		known[s.id] = true
	}
	for id := range h.spares.leaving {
		known[id] = true
	}
	h.spares.mu.Unlock()
	return h.leftovers(known)
}

const (
	sparePrefix = "spare-"
	spareSuffix = ".sock"
)

func (h *Host) sparePath(id string) string {
	return filepath.Join(h.cfg.RunDir, sparePrefix+id+spareSuffix)
}

// isSpare tells whether an id is that of what is ready, or of what is made next.
func (h *Host) isSpare(id string) bool {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	return id == h.spares.marked || h.spares.leaving[id] != nil || h.spares.now != nil && id == h.spares.now.id
}
