package kqueue

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	batch     = 512                   // notes per kevent(2)
	sweepTime = 50 * time.Millisecond // between looks for orphaned zombies
	auditTime = time.Minute           // between censuses while all is well
	retryMin  = time.Millisecond      // a process is between its exit note and its zombie
	retryMax  = time.Second           // a zombie is held by somebody, such as a debugger
)

// kernel is what a Tracker needs of the system. Only poll blocks.
type kernel interface {
	// poll waits for notes; a negative timeout waits for ever, wake ends it. drained
	// says that all have been read which any lane held when poll was called. It may
	// be false although they have: a lane that gave all it was asked for may be empty.
	poll(notes []note, timeout time.Duration) (n int, drained bool, err error)
	wake() error
	// watch arms (or disarms) a note for a process in all lanes: ESRCH if there is
	// none.
	watch(pid int, on bool) error
	// census lists the descendants, those of nested reapers included.
	census() ([]member, error)
	// wait reaps a zombie child, or with keep only looks whether it could. It
	// reports whether the process is gone (or would be).
	wait(pid int, keep bool) (bool, error)
	// kill signals every process that hangs from root: ESRCH if there is none.
	kill(root int, sig syscall.Signal) error
	close() error
}

// A Tracker starts processes and follows them. It occupies one thread, which
// sleeps in kevent(2). Its methods may be called by many goroutines at once.
type Tracker struct {
	kernel kernel
	start  sync.Mutex    // held around every fork
	done   chan struct{} // closed when the loop has ended

	mu     sync.Mutex // guards what follows, and the fields of Tree that say so
	fold   *fold
	closed bool
	err    error // why the loop ended, if it was not Close

	// Of the loop alone.
	more    bool          // the lanes have to be read on before settle may act
	armed   map[int]bool  // watched by the reconciliation under way; nil if none is
	sweepAt time.Time     // when zombies are looked for; zero: nobody needs it
	auditAt time.Time     // when the table is compared with a census
	retry   time.Duration // until empty trees are looked at again; 0: no need
}

// NewTracker makes the calling process the reaper of its descendants and
// watches it. Call it before anything is started. A process needs one Tracker.
func NewTracker() (*Tracker, error) {
	k, err := newKernel()
	if err != nil {
		return nil, fmt.Errorf("track processes: %w", err)
	}
	t := newTracker(k, os.Getpid())
	go t.run()
	return t, nil
}

func newTracker(k kernel, self int) *Tracker {
	t := &Tracker{kernel: k, done: make(chan struct{})}
	t.fold = newFold(self, t)
	return t
}

// Start starts cmd as cmd.Start does and returns its tree. The Tracker waits for
// the process: do not call cmd.Wait. Streams must be nil or an [os.File], the
// ends of StdinPipe and StdoutPipe are the caller's to close, and a command with
// a context is refused, since only Wait could serve these: use [Tree.Signal].
//
// To start it in a jail, set SysProcAttr.Jail. jail_attach(2) refuses a process
// that holds an open directory, so that the tracking process must hold none.
func (t *Tracker) Start(cmd *exec.Cmd) (*Tree, error) {
	if err := check(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return t.launch(func() (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	}, cmd)
}

// check refuses what only cmd.Wait could serve.
func check(cmd *exec.Cmd) error {
	if cmd.Cancel != nil {
		return errors.New("a command with a context cannot be tracked")
	}
	for _, s := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		if _, ok := s.(*os.File); s != nil && !ok {
			return fmt.Errorf("a stream must be an *os.File, not %T", s)
		}
	}
	return nil
}

func (t *Tracker) launch(spawn func() (int, error), cmd *exec.Cmd) (*Tree, error) {
	t.start.Lock()
	defer t.start.Unlock()
	if err := t.begin(); err != nil {
		return nil, err
	}
	pid, err := spawn()
	t.mu.Lock()
	defer t.mu.Unlock()
	tree := t.fold.claim(pid)
	if err != nil {
		return nil, err
	}
	tree.cmd = cmd
	// Should its birth have been lost all the same, at least its end is told.
	switch err := t.kernel.watch(pid, true); {
	case err == nil:
		t.fold.follow(pid)
	case !errors.Is(err, syscall.ESRCH):
		t.fold.trackErr = true
	}
	// The end may have been read before the tree was known to be ours.
	if err := t.kernel.wake(); err != nil {
		return tree, fmt.Errorf("track process %d: %w", pid, err)
	}
	return tree, nil
}

func (t *Tracker) begin() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return t.err
	case t.closed:
		return os.ErrClosed
	}
	t.fold.starting = true
	return nil
}

// Close ends the tracking. Processes that live are not touched; those that have
// not been waited for become orphans of the next reaper when this process ends.
// Next returns [os.ErrClosed] from then on. Close may be called again.
func (t *Tracker) Close() error {
	t.start.Lock()
	defer t.start.Unlock()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	if err := t.kernel.wake(); err != nil {
		return fmt.Errorf("close tracker: %w", err)
	}
	<-t.done
	return t.kernel.close()
}

// run reads notes until Close.
func (t *Tracker) run() {
	defer close(t.done)
	notes := make([]note, batch)
	for {
		n, drained, err := t.kernel.poll(notes, t.timeout(time.Now()))
		if !t.step(notes[:n], drained, err, time.Now()) {
			return
		}
	}
}

// timeout says how long the loop may sleep.
func (t *Tracker) timeout(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more || t.armed != nil || len(t.fold.young[1]) > 0 {
		// All that is queued has to be read before settle acts, and between two
		// censuses or two looks at lanes.
		return 0
	}
	wait := time.Duration(-1)
	sooner := func(d time.Duration) {
		if d = max(d, 0); wait < 0 || d < wait {
			wait = d
		}
	}
	if t.retry > 0 {
		sooner(t.retry)
	}
	if !t.sweepAt.IsZero() {
		sooner(t.sweepAt.Sub(now))
	}
	if len(t.fold.trees) > 0 {
		sooner(t.auditAt.Sub(now))
	}
	return wait
}

// step takes in what poll returned. It returns false when the loop has to end.
func (t *Tracker) step(notes []note, drained bool, err error, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.fail(os.ErrClosed)
		return false
	}
	if err == nil {
		if len(notes) > 0 {
			t.retry = 0 // somebody new may need to be looked at again soon
		}
		for _, n := range notes {
			t.fold.apply(n)
		}
		t.fold.turn(drained)
		t.more = !drained
		if drained {
			err = t.settle(now)
		}
	}
	if err != nil {
		t.err = fmt.Errorf("track processes: %w", err)
		t.fail(t.err)
		return false
	}
	return true
}

// fail ends all trees.
func (t *Tracker) fail(err error) {
	for _, tree := range t.fold.trees {
		tree.end(err)
	}
}
