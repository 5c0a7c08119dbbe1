package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

// stuckRoot is a root that somebody holds, or has made a clone of. Its mark stays, and
// the next engine tries again; as does who wants its chain to go. A chain that is ""
// is not known.
type stuckRoot struct{ id, chain string }

// departure is something ready that is being given up. Whoever has its id waits.
type departure struct {
	chain string // of the root in it
	gone  chan struct{}
	err   error // what could not be given up
}

const (
	// claimTime is how long what is ready is kept for a container that was created
	// and not started.
	claimTime = 2 * time.Second
	// idleTime is how long a root is kept ready that nobody asks for. It is a data
	// set on the user's pool, and in the way of who looks at, copies or exports it.
	idleTime = time.Minute
)

// NewID returns an id for a container of a chain, or of none, and which need not
// survive a power cut (see [Spec]): a letter and 11
// base32 characters (55 bits). It fits in an interface name, is never all digits
// and has no dot, which a jail name could not bear.
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

// lockFor locks mu when nothing is being given up any more that was ready for id.
func (s *spares) lockFor(id string) {
	for {
		s.mu.Lock()
		d := s.leaving[id]
		if d == nil {
			return
		}
		s.mu.Unlock()
		<-d.gone
	}
}

// rehearsal bounds how long a run loop that is made ready is waited for.
const rehearsal = 10 * time.Second

// Ready makes ready what is not: a run loop for the next container and, where that
// pays, its root.
func (h *Host) Ready() error {
	h.spares.making.Lock()
	s, root, fresh := h.planSpare()
	rehearsed := make(chan struct{})
	err := h.makeLoop(s, fresh)
	loop := fresh && err == nil
	go func() {
		defer close(rehearsed)
		if !loop {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), rehearsal)
		defer cancel()
		// It may be taken, its socket renamed, and even have ended meanwhile; and
		// whether it lives is seen when it is configured.
		_ = rehearse(ctx, h.sparePath(s.id))
	}()
	if err == nil && root != nil {
		err = h.finishRoot(s, root)
	}
	h.spares.making.Unlock()
	<-rehearsed
	return err
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
	id, marked := "", false
	switch {
	case s != nil:
		id = s.id
	case kind.chain != "" && h.spares.marked != "":
		id, marked, h.spares.marked = h.spares.marked, true, ""
	default:
		id = randomID()
	}
	root = h.makeRoot(id, kind, marked)
	if s == nil {
		s, fresh = &spare{id: id}, true
		h.spares.now = s
	}
	s.root = root
	return s, root, fresh
}

// makeLoop makes the run loop of what is fresh.
func (h *Host) makeLoop(s *spare, fresh bool) error {
	if !fresh {
		return nil
	}
	err := h.makeGroup(s.id)
	var loop *started
	if err == nil {
		loop, err = h.startLoop(s.id, h.sparePath(s.id), nil)
	}
	if err != nil {
		return errors.Join(err, h.dropSpare(s))
	}
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	s.loop = loop
	return nil
}

// finishRoot waits until a root is ready. Its time begins, and the mark of the next
// one is made.
func (h *Host) finishRoot(s *spare, root *spareRoot) error {
	if err := root.wait(); err != nil {
		return err
	}
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
		return h.newRoot(ctx, s)
	}
	there, err := h.rootThere(ctx, s.ID)
	if err == nil && !there { // somebody who wondered about it has destroyed it
		err = h.newRoot(ctx, s)
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

// retire gives up a root that nobody has asked for, and keeps the run loop.
func (h *Host) retire(s *spare, root *spareRoot) error {
	h.spares.mu.Lock()
	if h.spares.now != s || s.root != root || s.claimed != nil {
		h.spares.mu.Unlock()
		return nil
	}
	do := h.retireLocked(s)
	h.spares.mu.Unlock()
	return do()
}

func (h *Host) retireLocked(s *spare) (do func() error) {
	root := s.root
	s.root = nil
	stop(s.idle)
	return h.depart(s.id, root, func() error { return h.dropRoot(s.id, root) })
}

// dropSpare gives up what nobody wants.
func (h *Host) dropSpare(s *spare) error {
	h.spares.mu.Lock()
	if s == nil || h.spares.now != s {
		h.spares.mu.Unlock()
		return nil
	}
	do := h.dropLocked(s)
	h.spares.mu.Unlock()
	return do()
}

func (h *Host) dropLocked(s *spare) (do func() error) {
	h.spares.now = nil
	root, taken, loop := s.root, s.taken, s.loop
	s.root, s.taken = nil, nil
	stop(s.claimed)
	stop(s.idle)
	return h.depart(s.id, root, func() error {
		err := errors.Join(h.removeSpare(s.id, loop), h.dropRoot(s.id, root))
		if taken != nil && taken.wait() == nil {
			err = errors.Join(err, h.unmountRoot(s.id))
		}
		return err
	})
}

// depart has what is ready for id wait until do, which is to be called without mu,
// has done what gives it up. Mu is held.
func (h *Host) depart(id string, root *spareRoot, undo func() error) (do func() error) {
	before := h.spares.leaving[id]
	d := &departure{gone: make(chan struct{})}
	if root != nil {
		d.chain = root.chain
	}
	if h.spares.leaving == nil {
		h.spares.leaving = map[string]*departure{}
	}
	h.spares.leaving[id] = d
	return func() error {
		if before != nil {
			<-before.gone
		}
		if err := undo(); err != nil {
			d.err = fmt.Errorf("give up what was kept ready: %w", err)
		}
		h.spares.mu.Lock()
		if h.spares.leaving[id] == d {
			delete(h.spares.leaving, id)
		}
		var useless *spare
		if d.err != nil && root != nil {
			h.spares.stuck = append(h.spares.stuck, stuckRoot{id, root.chain})
			if s := h.spares.now; s != nil && s.id == id { // a container could not have its root by that id
				useless, h.spares.now = s, nil
				stop(s.claimed)
			}
		}
		h.spares.mu.Unlock()
		if useless != nil {
			d.err = errors.Join(d.err, h.removeSpare(id, useless.loop))
		}
		close(d.gone)
		return d.err
	}
}

// closeSpare ends what is there, for good.
func (h *Host) closeSpare() error {
	h.spares.making.Lock()
	defer h.spares.making.Unlock()
	h.spares.mu.Lock()
	h.spares.closed = true
	marked := h.spares.marked
	h.spares.marked = ""
	leaving := maps.Clone(h.spares.leaving)
	do := func() error { return nil }
	if s := h.spares.now; s != nil {
		do = h.dropLocked(s)
	}
	h.spares.mu.Unlock()
	err := do()
	for _, d := range leaving { // which have told of their errors
		<-d.gone
	}
	if marked != "" {
		err = errors.Join(err, h.unmark(marked))
	}
	return err
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
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

// removeSpare removes what a spare run loop has on the host, and ends it.
func (h *Host) removeSpare(id string, loop *started) error {
	var err error
	if loop != nil {
		err = loop.abandon()
	}
	if rerr := os.Remove(h.sparePath(id)); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return errors.Join(err, h.dropGroup(id))
}

// sweepSpares removes the sockets of spares whose engine has died.
func (h *Host) sweepSpares() error {
	h.spares.making.Lock()
	defer h.spares.making.Unlock()
	entries, err := os.ReadDir(h.cfg.RunDir)
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), sparePrefix)
		id, ok2 := strings.CutSuffix(id, spareSuffix)
		if !ok || !ok2 || h.isSpare(id) { // a container that ended during recovery had it made
			continue
		}
		if rerr := os.Remove(h.sparePath(id)); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// isSpare tells whether an id is that of what is ready, or of what is made next.
func (h *Host) isSpare(id string) bool {
	h.spares.mu.Lock()
	defer h.spares.mu.Unlock()
	return id == h.spares.marked || h.spares.leaving[id] != nil || h.spares.now != nil && id == h.spares.now.id
}
