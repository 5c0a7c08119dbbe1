package runloop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// commands are the init or the deinit commands while they are run, one after
// the other. The loop's mutex guards what changes.
type commands struct {
	ctx  context.Context    // ends: the one that runs is killed, and no other is started
	kill context.CancelFunc // ends it
	over chan struct{}      // closed when no more of them is run

	stopped  bool             // no other is started
	starting bool             // one is being started, and may run already
	pending  []syscall.Signal // that it gets once it is known to run
	now      *proc            // the one that runs
}

// send signals the command that runs or is being started. It returns false if there
// is none. The loop's mutex is held.
func (r *commands) send(sig syscall.Signal) (sent bool, err error) {
	switch {
	case r.starting:
		r.pending = append(r.pending, sig)
		return true, nil
	case r.now == nil:
		return false, nil
	case sig == syscall.SIGKILL:
		err = r.now.tree.Kill()
	default:
		err = r.now.tree.Signal(sig)
	}
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrProcessDone) {
		err = nil // it has just ended
	}
	return true, err
}

// errStopped is why no more commands are run, nor main.
var errStopped = errors.New("stopped")

// begin begins to run commands. It returns nil where none may be run any more.
func (l *loop) begin(ctx context.Context, refused *bool) *commands {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *refused {
		return nil
	}
	r := &commands{over: make(chan struct{})}
	r.ctx, r.kill = context.WithCancel(ctx)
	l.commands = r
	return r
}

func (l *loop) done(r *commands) {
	l.mu.Lock()
	l.commands = nil
	l.mu.Unlock()
	r.kill()
	close(r.over)
}

// initialize runs the commands that come before main. It returns the error of
// the first that fails, or why main is not to be started. l.starting is held.
func (l *loop) initialize(ctx context.Context, main control.Process) error {
	if len(main.Init) == 0 {
		return nil
	}
	r := l.begin(ctx, &l.noInit)
	if r == nil {
		return control.ErrNotRunning
	}
	defer l.done(r)
	for _, c := range main.Init {
		last := &tail{to: l.output}
		exit, err := l.command(r, main, c, last, l.launchCommand)
		switch {
		case err != nil && ctx.Err() != nil: // nobody is there to be told
			return err
		case err != nil:
			return fmt.Errorf("%w: %s: %w", control.ErrInitFailed, c, err)
		case exit.Code != 0:
			return fmt.Errorf("%w: %s: %s%s", control.ErrInitFailed, c, ended(exit), last)
		}
	}
	return nil
}

// finish runs the commands that come after main. What goes wrong is noted in the
// log: how the container ended is for main to say.
func (l *loop) finish(main control.Process) {
	ctx := context.Background()
	if main.DeinitTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, main.DeinitTimeout)
		defer cancel()
	}
	r := l.begin(ctx, &l.noDeinit)
	if r == nil {
		return
	}
	defer l.done(r)
	for _, c := range main.Deinit {
		late := r.ctx.Err() != nil
		exit, err := l.command(r, main, c, &tail{to: l.output}, l.startExec)
		switch {
		case late:
			err = errors.New("not run")
		case err != nil && ctx.Err() != nil:
			err = fmt.Errorf("killed: not done after %v", main.DeinitTimeout)
		case err == nil && exit.Code != 0:
			err = errors.New(ended(exit))
		}
		if err != nil {
			l.output(logfile.Note, fmt.Appendf(nil, "run loop: deinit command %s: %v\n", c, err))
		}
	}
}

// killTime bounds how long the killed processes of a tree may take to be gone.
const killTime = 10 * time.Second

// killTree kills a tree, and waits until it is gone.
func killTree(t Tree) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	return errors.Join(t.Kill(), t.Empty(ctx))
}

// launching starts a process and sends its exit; see startExec.
type launching = func(control.Process, control.Stdio, emit) (*proc, <-chan control.Exit, error)

// launchCommand starts an init command: startExec before there is a main.
func (l *loop) launchCommand(p control.Process, stdio control.Stdio, to emit) (*proc, <-chan control.Exit, error) {
	pr, err := launch(l.tenant.get(), p, stdio, to)
	if err != nil {
		return nil, nil, err
	}
	return pr, l.follow(pr, ""), nil
}

// command runs a command as main would run, but for its streams, to its end.
// What it leaves behind goes on, unless it is killed.
func (l *loop) command(r *commands, main control.Process, c control.Command, last *tail, start launching) (control.Exit, error) {
	if !l.next(r) {
		return control.Exit{}, errStopped
	}
	p := control.Process{Args: c.Args, Env: main.Env, Dir: main.Dir, User: cmp.Or(c.User, main.User), Ulimits: main.Ulimits}
	pr, done, err := start(p, control.Stdio{}, last.take)
	l.begun(r, pr)
	if err != nil {
		return control.Exit{}, err
	}
	var exit control.Exit
	select {
	case exit = <-done:
	case <-r.ctx.Done():
		err = errors.Join(errStopped, pr.tree.Kill())
		<-done
	}
	l.begun(r, nil)
	if err == nil && l.stopped(r) {
		err = errStopped
	}
	if err == nil && exit.Code == 0 {
		pr.settle()
	} else {
		pr.drain() // what it has said is told; what it has left has nothing to tell any more
	}
	return exit, err
}

// next tells whether another command may be started.
func (l *loop) next(r *commands) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.starting = !r.stopped && r.ctx.Err() == nil
	return r.starting
}

// begun notes which command runs, or that none does. It gets what was sent while it
// was being started.
func (l *loop) begun(r *commands, now *proc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.starting, r.now = false, now
	for _, sig := range r.pending {
		_, _ = r.send(sig) // who has sent it is not there any more
	}
	r.pending = nil
}

// stopped tells whether what follows is not to be started.
func (l *loop) stopped(r *commands) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.stopped || r.ctx.Err() != nil
}

// stopInit ends the init commands: the one that runs gets the signal, and is
// killed after timeout. It returns false if there is none.
func (l *loop) stopInit(ctx context.Context, sig syscall.Signal, timeout time.Duration) (bool, error) {
	l.mu.Lock()
	r := l.commands
	if r != nil {
		r.stopped = true
		if timeout > 0 {
			_, _ = r.send(sig) // what does not heed it is killed after the timeout
		}
	}
	l.mu.Unlock()
	if r == nil {
		return false, nil
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	for {
		select {
		case <-r.over:
			return true, nil
		case <-ctx.Done():
			return true, ctx.Err()
		case <-late.C:
			r.kill()
		}
	}
}

// signalCommand signals the init or deinit command that runs. It returns false
// if there is none.
func (l *loop) signalCommand(sig syscall.Signal) (ran bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.commands == nil {
		return false, nil
	}
	return l.commands.send(sig)
}

// settleTime is how long the output of a command that has ended is waited for:
// something it has started may hold the pipes.
const settleTime = 100 * time.Millisecond

// settle returns when the output of a process that has ended is logged.
func (pr *proc) settle() {
	done := make(chan struct{})
	go func() { pr.pumps.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(settleTime):
	}
}

// ended says how a command ended.
func ended(e control.Exit) string {
	switch {
	case e.Lost:
		return e.Error
	case e.Signal != 0:
		return "signal: " + syscall.Signal(e.Signal).String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// tail passes output on and keeps the last of it.
type tail struct {
	to   emit
	mu   sync.Mutex
	last []byte
}

// tailSize is how much of what a command that failed has said is told with the
// error, in bytes.
const tailSize = 1 << 10

func (t *tail) take(s logfile.Stream, p []byte) {
	t.to(s, p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	if n := len(t.last) - tailSize; n > 0 {
		t.last = append(t.last[:0], t.last[n:]...)
	}
}

// String is the last of it, in one line that follows another text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f { // what a terminal might obey
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(t.last), ""))
	if s := strings.Join(strings.Fields(said), " "); s != "" {
		return ": " + s
	}
	return ""
}
