package host

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"
)

// What is kept ready is given up without holding spares.mu: to end a run loop and to
// destroy a root take their time, and others need other ids. It is among those that
// leave meanwhile, and who needs its id or its chain waits.

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
		var useless *started
		if d.err != nil && root != nil {
			h.spares.stuck = append(h.spares.stuck, stuckRoot{id, root.chain})
			if s := h.spares.now; s != nil && s.id == id { // a container could not have its root by that id
				useless, h.spares.now = s.loop, nil
				stop(s.claimed)
			}
		}
		h.spares.mu.Unlock()
		if useless != nil {
			d.err = errors.Join(d.err, h.removeSpare(id, useless))
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
