package runloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// loop implements control.Control. It takes over the files of the calls:
// they are closed as soon as they have been handed on.
type loop struct {
	dir    string // of the exit record; set when the tenant is ready
	tenant *opening
	log    atomic.Pointer[logfile.Writer] // nil: none
	hub    *hub                           // of main, and of what else is logged

	starting sync.RWMutex  // held by Start, shared by Exec, until what it started is in procs
	started  chan struct{} // closed when main runs
	exited   chan struct{} // closed when main's first process is gone: exit is set
	over     chan struct{} // closed when main is, by the rule of its WaitMain
	killing  sync.Mutex    // held to close over, and to kill what has not ended by then
	ended    chan struct{} // closed when the container has ended: result is set
	closed   chan struct{} // closed when nothing of it is left
	result   control.Exit
	failure  error // the record is not written
	once     sync.Once
	waiting  atomic.Int32   // calls of Wait
	clients  sync.WaitGroup // of a terminal that main was started with

	mu     sync.Mutex
	main   *proc
	since  time.Time
	exit   *control.Exit // of main's first process
	procs  map[*proc]struct{}
	execs  map[string]*proc // by id; nil while it is being started
	ending bool             // nothing is started any more

	detached, detachedBytes int // commands that are detached, and what they were told

	commands *commands // before or after main; nil: none is run
	noInit   bool      // init commands are not run any more
	noDeinit bool      // deinit commands are not run
}

var _ control.Control = (*loop)(nil)

// newLoop makes a loop that answers at once; what needs the tenant waits for
// configure.
func newLoop() *loop {
	return &loop{tenant: &opening{ready: make(chan struct{})}, hub: newHub(true),
		started: make(chan struct{}), exited: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}), closed: make(chan struct{}),
		procs: map[*proc]struct{}{}, execs: map[string]*proc{}}
}

// configure opens the tenant, in the background.
func (l *loop) configure(cfg Config, open Opener) {
	l.dir = cfg.Dir
	if cfg.LogPath != "" {
		l.log.Store(&logfile.Writer{Path: cfg.LogPath, MaxBytes: cfg.LogMax, MaxFiles: cfg.LogFiles})
	}
	go l.tenant.open(open, cfg.Tenant)
}

// output takes what is logged.
func (l *loop) output(s logfile.Stream, p []byte) {
	if log := l.log.Load(); log != nil {
		log.Write(s, time.Now(), p)
	}
	l.hub.publish(s, p)
}

// Start implements control.Control.
func (l *loop) Start(ctx context.Context, main control.Process, stdio control.Stdio) (int, error) {
	defer closeStdio(stdio)
	if err := check(stdio); err != nil {
		return 0, fmt.Errorf("start main: %w", err)
	}
	if len(main.Args) == 0 {
		return 0, fmt.Errorf("start main: no program: %w", fs.ErrInvalid)
	}
	l.starting.Lock()
	defer l.starting.Unlock()
	l.mu.Lock()
	p, ending := l.main, l.ending
	l.mu.Unlock()
	if p != nil {
		return 0, fmt.Errorf("start main: it was started before: %w", fs.ErrExist)
	}
	if ending {
		return 0, fmt.Errorf("start main: %w", control.ErrNotRunning)
	}
	if err := l.initialize(ctx, main); err != nil {
		return 0, fmt.Errorf("start main: %w", err)
	}
	p, err := l.startMain(main, stdio)
	if err != nil {
		return 0, fmt.Errorf("start main: %w", err)
	}
	pid := p.tree.Pid()
	l.mu.Lock()
	l.main, l.since = p, time.Now().UTC()
	l.procs[p] = struct{}{}
	l.mu.Unlock()
	close(l.started)
	go l.watch(p, main)
	return pid, nil
}

// startMain starts main. With a terminal the descriptors given are the first
// client's; they join before there is output.
func (l *loop) startMain(main control.Process, stdio control.Stdio) (*proc, error) {
	if !main.Terminal {
		return launch(l.tenant.get(), main, stdio, l.output)
	}
	stdio.Stderr = nil
	c, err := join(l.hub, stdio, false)
	if err != nil {
		return nil, err
	}
	p, err := launch(l.tenant.get(), main, control.Stdio{}, l.output)
	if err == nil {
		err = c.feed(p.input)
		if err != nil { // no descriptors left: better no main than a deaf one
			err = errors.Join(err, p.tree.Kill(), p.tree.Close())
			p.close()
		}
	}
	if err != nil {
		c.leave()
		return nil, err
	}
	l.clients.Go(func() { c.serve(context.Background(), true) })
	return p, nil
}

// watch follows main to the end of the container.
func (l *loop) watch(p *proc, main control.Process) {
	ctx := context.Background()
	exit := exitOf(p.tree.Main(ctx))
	l.mu.Lock()
	seen := exit
	l.exit = &seen
	l.mu.Unlock()
	close(l.exited)
	if !main.WaitMain {
		if err := p.tree.Empty(ctx); err != nil {
			exit.Error = fmt.Sprintf("descendants of main cannot be followed: %v", err)
		}
	}
	l.killing.Lock()
	close(l.over)
	l.killing.Unlock()
	if len(main.Deinit) > 0 {
		if main.WaitMain { // they come after all of it
			if err := killTree(p.tree); err != nil {
				l.output(logfile.Note, fmt.Appendf(nil, "run loop: kill what main has left: %v\n", err))
			}
		}
		l.finish(main)
	}
	l.end(exit)
}

// end ends the container and sets the result. Only the first call counts; all
// return when nothing is left, and nothing is written after that: who was told so
// removes the site's directory.
//
// Who waits is told before the tenant is closed, which takes the kernel a while.
// It kills what exec has left, and with WaitMain the descendants of main: they may
// live for that long.
func (l *loop) end(exit control.Exit) {
	l.once.Do(func() {
		l.retire(true)
		l.tell(exit)
		l.clean()
		close(l.closed)
	})
	<-l.closed
}

// tell makes known how the container ended, once main's output is logged.
func (l *loop) tell(exit control.Exit) {
	l.mu.Lock()
	main := l.main
	l.mu.Unlock()
	if main != nil {
		main.drain()
	}
	l.tenant.get() // not before there is a directory for the record
	exit.At = time.Now().UTC()
	// Who waits makes the result durable; only without anybody is
	// the record all there is, and nobody minds the milliseconds.
	l.result, l.failure = exit, writeExit(l.dir, exit, l.waiting.Load() == 0)
	l.hub.end()
	close(l.ended)
}

// clean closes the tenant, and then nothing lives that could write.
func (l *loop) clean() {
	if err := l.tenant.get().Close(); err != nil {
		l.output(logfile.Note, fmt.Appendf(nil, "run loop: close tenant: %v\n", err))
	}
	l.mu.Lock()
	procs := l.procs
	l.procs = map[*proc]struct{}{}
	l.mu.Unlock()
	for p := range procs {
		p.drain()
		p.close()
	}
	if log := l.log.Load(); log != nil {
		_ = log.Close() // a full disk: there is nowhere to tell it
	}
}

// Wait implements control.Control.
func (l *loop) Wait(ctx context.Context) (control.Exit, error) {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	select {
	case <-l.ended:
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
	return l.result, nil // also when the record could not be written: who waits gets it
}

// State implements control.Control.
func (l *loop) State(context.Context) (control.State, error) {
	l.mu.Lock()
	p := l.main
	s := control.State{Loop: os.Getpid(), Started: l.since, Exit: l.exit}
	l.mu.Unlock()
	if p == nil {
		return s, nil
	}
	if s.Exit == nil {
		s.Main = p.tree.Pid()
	}
	var err error
	select {
	case <-l.ended:
	default:
		if s.PIDs, err = p.tree.PIDs(); err != nil {
			return s, fmt.Errorf("processes of main: %w", err)
		}
	}
	return s, nil
}

// Resize implements control.Control.
func (l *loop) Resize(_ context.Context, id string, size control.Size) error {
	l.mu.Lock()
	p := l.main
	if id != "" {
		p = l.execs[id]
	}
	l.mu.Unlock()
	switch {
	case p == nil && id == "":
		return fmt.Errorf("resize: %w", control.ErrNotRunning)
	case p == nil:
		return fmt.Errorf("resize exec %s: %w", id, fs.ErrNotExist)
	case p.master == nil:
		return fmt.Errorf("resize: process without a terminal: %w", fs.ErrInvalid)
	}
	return resize(p.master, size)
}

// running returns main's proc, and whether its first process lives.
func (l *loop) running() (p *proc, alive bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.main == nil || l.ending {
		return nil, false, control.ErrNotRunning
	}
	return l.main, l.exit == nil, nil
}

// retire makes sure that nothing is started any more, if main was not started
// yet or in any case. It tells whether main was.
func (l *loop) retire(anyway bool) (started bool) {
	l.mu.Lock()
	l.noInit = true
	if l.commands != nil && (anyway || l.main == nil) {
		l.commands.kill()
	}
	l.mu.Unlock()
	l.starting.Lock()
	defer l.starting.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = l.ending || anyway || l.main == nil
	return l.main != nil
}
