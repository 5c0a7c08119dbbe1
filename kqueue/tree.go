package kqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
)

// maxQueue bounds the events that wait for a slow reader. One is 32 bytes, so
// that a reader which has gone away costs 2 MiB and not the machine.
const maxQueue = 1 << 16

// A Tree is a process that was started by a [Tracker], with all its
// descendants. Its methods may be called by many goroutines at once.
type Tree struct {
	tracker *Tracker
	cmd     *exec.Cmd

	// Guarded by Tracker.mu.
	root     int // pid of main; the kernel's name for the sub-tree
	live     int // processes that the notes say are alive
	fate     fate
	finished bool

	mu    sync.Mutex // guards what follows
	queue []Event
	head  int           // index of the oldest event in queue
	err   error         // why there will be no more events
	wake  chan struct{} // holds one token when there may be something to read
}

// fate is whose a child of the tracking process is.
type fate uint8

const (
	undecided fate = iota // born while a Start is under way: perhaps its child
	ours                  // returned by Start
	foreign               // started by somebody else in this process, or closed
)

func newTree(t *Tracker, root int) *Tree {
	return &Tree{tracker: t, root: root, wake: make(chan struct{}, 1)}
}

// Next returns the next event of the tree and waits for one if need be. After
// the last one it returns io.EOF: no process of the tree exists any more, a
// census has confirmed it, and all have been waited for. It returns ctx's error
// when ctx ends first, and [os.ErrClosed] after Close.
func (tr *Tree) Next(ctx context.Context) (Event, error) {
	for {
		tr.mu.Lock()
		if tr.head < len(tr.queue) {
			e := tr.pop()
			tr.mu.Unlock()
			return e, nil
		}
		err := tr.err
		tr.mu.Unlock()
		if err != nil {
			tr.rouse() // the next reader has to see it too
			return Event{}, err
		}
		select {
		case <-tr.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// pop takes the oldest event out. tr.mu is held, the queue is not empty.
func (tr *Tree) pop() Event {
	e := tr.queue[tr.head]
	tr.head++
	if tr.head == len(tr.queue) {
		tr.head = 0
		if cap(tr.queue) > 1024 {
			tr.queue = nil // a burst is over: give its memory back
		} else {
			tr.queue = tr.queue[:0]
		}
	} else {
		tr.rouse()
	}
	return e
}

// put queues e. It never waits for the reader.
func (tr *Tree) put(e Event) {
	if tr.fate == foreign {
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.err != nil {
		return
	}
	if len(tr.queue)-tr.head >= maxQueue && (e.Kind != Exit || e.PID != tr.root) {
		if last := &tr.queue[len(tr.queue)-1]; last.Kind == Lost && last.PID == 0 {
			return
		}
		e = Event{Kind: Lost}
	}
	if tr.head > len(tr.queue)/2 && len(tr.queue) == cap(tr.queue) {
		tr.queue = slices.Delete(tr.queue, 0, tr.head)
		tr.head = 0
	}
	tr.queue = append(tr.queue, e)
	tr.rouse()
}

// end lets Next return err once the queue has been read. The first reason stays.
func (tr *Tree) end(err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.err == nil {
		tr.err = err
	}
	tr.rouse()
}

func (tr *Tree) rouse() {
	select {
	case tr.wake <- struct{}{}:
	default:
	}
}

// PIDs returns the living processes of the tree in ascending order, as a census
// taken now lists them. A number may have been given to another process by the
// time it is used: signal with Signal, not with kill(2).
func (tr *Tree) PIDs() []int {
	t := tr.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || tr.finished {
		return nil
	}
	census, err := t.kernel.census()
	if err != nil {
		return t.fold.members(tr) // by the notes; the loop meets the error as well
	}
	pids, strange := t.fold.listed(tr, census)
	if strange {
		// Let the loop find out, once it has read what is queued.
		t.fold.strange = true
		_ = t.kernel.wake() // if it fails the next audit finds out
	}
	return pids
}

// Signal sends sig to every process of the tree, those included that are being
// forked while it runs (procctl(2), PROC_REAP_KILL). When none is left it returns
// [os.ErrProcessDone]. Signal 0 is refused with EINVAL.
func (tr *Tree) Signal(sig syscall.Signal) error {
	t := tr.tracker
	t.mu.Lock() // also keeps main's number from being freed and given away
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return os.ErrClosed
	case tr.finished:
		return os.ErrProcessDone
	}
	err := t.kernel.kill(tr.root, sig)
	switch {
	case errors.Is(err, syscall.ESRCH):
		return os.ErrProcessDone
	case err != nil:
		return fmt.Errorf("signal %v to the tree of %d: %w", sig, tr.root, err)
	}
	return nil
}

// Close drops the tree's events. Its processes are not touched, and they are
// still waited for when they end. Close may be called again.
func (tr *Tree) Close() error {
	tr.end(os.ErrClosed)
	tr.mu.Lock()
	tr.queue, tr.head, tr.err = nil, 0, os.ErrClosed
	tr.mu.Unlock()
	return nil
}

// finish marks the tree as empty. Tracker.mu is held.
func (tr *Tree) finish() {
	tr.finished = true
	tr.end(io.EOF)
}
