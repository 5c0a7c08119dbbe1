package sitetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
)

// fakeConn is a connection to a fake's run loop.
type fakeConn struct{ loop *fakeLoop }

func (c *fakeConn) Control() control.Control { return c.loop }

// Close ends a run loop that has not started main, as the real one does.
func (c *fakeConn) Close() {
	if c.loop != nil {
		c.loop.hangup()
	}
}

// fakeLoop is the run loop of a fake: its processes are goroutines.
type fakeLoop struct {
	fake  *Fake
	c     Container
	ended chan struct{} // closed when all is over

	mu    sync.Mutex
	main  *fakeProc
	procs map[*fakeProc]bool // that live
	last  int                // pid
	exit  *control.Exit      // of main's first process
}

// fakeProc is a process of the fake.
type fakeProc struct {
	pid    int
	tree   *fakeProc // main, for its descendants; nil for a command beside it
	term   chan os.Signal
	caught bool
	dead   chan struct{} // closed when it is to die by sig
	sig    syscall.Signal
	done   chan struct{}
	status control.Exit
}

var _ control.Control = (*fakeLoop)(nil)

func newFakeLoop(f *Fake, c Container) *fakeLoop {
	return &fakeLoop{fake: f, c: c, ended: make(chan struct{}), procs: map[*fakeProc]bool{}, last: 100}
}

func (l *fakeLoop) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

func (l *fakeLoop) hangup() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.main == nil && !l.over() {
		close(l.ended)
	}
}

// Start implements control.Control.
func (l *fakeLoop) Start(ctx context.Context, p control.Process, stdio control.Stdio) (int, error) {
	if err := l.initialize(ctx, p); err != nil {
		return 0, fmt.Errorf("start main: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over():
		return 0, fmt.Errorf("start main: %w", control.ErrNotRunning)
	case l.main != nil:
		return 0, fmt.Errorf("start main: it was started before: %w", fs.ErrExist)
	}
	main, err := l.spawnLocked(p, stdio, nil)
	if err != nil {
		return 0, fmt.Errorf("start main: %w", err)
	}
	l.main = main
	go l.watch(p)
	return main.pid, nil
}

// watch waits for the end of the container.
func (l *fakeLoop) watch(main control.Process) {
	<-l.main.done
	l.mu.Lock()
	exit := l.main.status
	l.exit = &exit
	l.mu.Unlock()
	if main.WaitMain {
		l.kill()
	}
	for {
		l.mu.Lock()
		var next *fakeProc
		for p := range l.procs {
			if p.tree == l.main {
				next = p
			}
		}
		l.mu.Unlock()
		if next == nil {
			break
		}
		<-next.done
	}
	l.finish(main)
	l.kill()
	l.record(exit)
}

func (l *fakeLoop) record(exit control.Exit) {
	exit.At = time.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over() {
		return
	}
	l.fake.mu.Lock()
	l.fake.exits[l.c.ID] = exit
	l.fake.mu.Unlock()
	l.exit = &exit
	close(l.ended)
}

// kill kills everything and waits until it is gone.
func (l *fakeLoop) kill() {
	l.mu.Lock()
	procs := make([]*fakeProc, 0, len(l.procs))
	for p := range l.procs {
		p.die(syscall.SIGKILL)
		procs = append(procs, p)
	}
	l.mu.Unlock()
	for _, p := range procs {
		<-p.done
	}
}

// die is called with the loop's mutex held.
func (p *fakeProc) die(sig syscall.Signal) {
	if p.sig == 0 {
		p.sig = sig
		close(p.dead)
	}
}

// spawnLocked starts a probe.
func (l *fakeLoop) spawnLocked(p control.Process, stdio control.Stdio, tree *fakeProc) (*fakeProc, error) {
	args, err := l.lookup(p)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, 3)
	for i, f := range []*os.File{stdio.Stdin, stdio.Stdout, stdio.Stderr} {
		if files[i], err = duplicate(f); err != nil {
			return nil, err
		}
	}
	l.last++
	fp := &fakeProc{pid: l.last, tree: tree, term: make(chan os.Signal, 1), dead: make(chan struct{}), done: make(chan struct{})}
	l.procs[fp] = true
	l.fake.mu.Lock()
	l.fake.script = append(l.fake.script, strings.Join(append([]string{"jexec", l.fake.jail(l.c.ID)}, p.Args...), " "))
	l.fake.mu.Unlock()
	s := &fakeSeat{loop: l, proc: fp, p: p, stdout: files[1]}
	pr := &probe{args: args, env: p.Env, stdin: files[0], stdout: files[1], stderr: files[2], seat: s}
	go func() {
		code, sig := pr.run()
		for _, f := range files {
			f.Close()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if fp.sig != 0 {
			sig = fp.sig
		}
		if fp.status = (control.Exit{Code: code}); sig != 0 {
			fp.status = control.Exit{Code: 128 + int(sig), Signal: int(sig)}
		}
		delete(l.procs, fp)
		close(fp.done)
	}()
	return fp, nil
}

// duplicate makes a file of the process's own; nil is the null device.
func duplicate(f *os.File) (*os.File, error) {
	if f == nil {
		return os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// lookup finds the program as a tenant does, as far as a fake can.
func (l *fakeLoop) lookup(p control.Process) ([]string, error) {
	if p.User != "" || p.Terminal {
		return nil, fmt.Errorf("users and terminals of a fake: %w", errors.ErrUnsupported)
	}
	s := &fakeSeat{loop: l}
	if p.Dir != "" {
		if info, err := os.Stat(s.path(p.Dir)); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("working directory %s: %w", p.Dir, fs.ErrNotExist)
		}
	}
	name := p.Args[0]
	if !strings.Contains(name, "/") {
		for _, kv := range p.Env {
			for dir := range strings.SplitSeq(strings.TrimPrefix(kv, "PATH="), ":") {
				if _, err := os.Stat(s.path(filepath.Join(dir, name))); err == nil && strings.HasPrefix(kv, "PATH=") {
					name = filepath.Join(dir, name)
				}
			}
		}
	}
	if _, err := os.Stat(s.path(name)); err != nil {
		return nil, fmt.Errorf("exec %s: %w", name, fs.ErrNotExist)
	}
	if name != probePath {
		return nil, fmt.Errorf("exec %s: %w", name, fs.ErrPermission)
	}
	if _, ok := verbs()[p.Args[1]]; !ok {
		return nil, fmt.Errorf("a fake has no system to ask about %s: %w", p.Args[1], errors.ErrUnsupported)
	}
	return p.Args[1:], nil
}

// Exec implements control.Control.
func (l *fakeLoop) Exec(ctx context.Context, p control.Process, stdio control.Stdio) (control.Exit, error) {
	return l.beside(ctx, p, stdio, func(int) error { return nil })
}

// Detach implements control.Control.
func (l *fakeLoop) Detach(ctx context.Context, p control.Process, started func(pid int) error) (control.Exit, error) {
	return l.beside(ctx, p, control.Stdio{}, started)
}

// beside runs a process that the container does not wait for.
func (l *fakeLoop) beside(ctx context.Context, p control.Process, stdio control.Stdio, started func(pid int) error) (control.Exit, error) {
	l.mu.Lock()
	if l.main == nil || l.over() {
		l.mu.Unlock()
		return control.Exit{}, fmt.Errorf("exec: %w", control.ErrNotRunning)
	}
	fp, err := l.spawnLocked(p, stdio, nil)
	l.mu.Unlock()
	if err == nil {
		err = started(fp.pid)
	}
	if err != nil {
		return control.Exit{}, fmt.Errorf("exec: %w", err)
	}
	select {
	case <-fp.done:
		return fp.status, nil
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
}

// Signal implements control.Control.
func (l *fakeLoop) Signal(_ context.Context, n int, all bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.main == nil || l.over() {
		return fmt.Errorf("signal %d: %w", n, control.ErrNotRunning)
	}
	for p := range l.procs {
		if all || p == l.main || l.exit != nil && p.tree == l.main {
			p.signal(syscall.Signal(n))
		}
	}
	return nil
}

// signal is called with the loop's mutex held.
func (p *fakeProc) signal(sig syscall.Signal) {
	if sig != syscall.SIGTERM || !p.caught {
		p.die(sig)
		return
	}
	select {
	case p.term <- sig:
	default:
	}
}

// Stop implements control.Control.
func (l *fakeLoop) Stop(ctx context.Context, sig int, timeout time.Duration) error {
	if l.over() {
		return nil
	}
	if err := l.Signal(ctx, sig, false); err != nil {
		return err
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(timeout):
	}
	l.kill()
	<-l.ended
	return nil
}

// Attach implements control.Control.
func (l *fakeLoop) Attach(context.Context, control.Stdio, bool, control.Size) error {
	return fmt.Errorf("attach: %w", errors.ErrUnsupported)
}

// Resize implements control.Control.
func (l *fakeLoop) Resize(context.Context, string, control.Size) error {
	return fmt.Errorf("resize: %w", errors.ErrUnsupported)
}

// State implements control.Control. There is no process that is the loop.
func (l *fakeLoop) State(context.Context) (control.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := control.State{Exit: l.exit}
	if l.main == nil {
		return s, nil
	}
	if s.Exit == nil {
		s.Main = l.main.pid
	}
	for p := range l.procs {
		if p == l.main || p.tree == l.main {
			s.PIDs = append(s.PIDs, p.pid)
		}
	}
	slices.Sort(s.PIDs)
	return s, nil
}

// Wait implements control.Control.
func (l *fakeLoop) Wait(ctx context.Context) (control.Exit, error) {
	select {
	case <-l.ended:
	case <-ctx.Done():
		return control.Exit{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.exit == nil {
		return control.Exit{}, control.ErrNotRunning
	}
	return *l.exit, nil
}

// Abandon implements control.Control.
func (l *fakeLoop) Abandon(context.Context) error {
	l.hangup()
	l.kill()
	<-l.ended
	return nil
}

// fakeSeat is the seat of a probe in the fake.
type fakeSeat struct {
	loop   *fakeLoop
	proc   *fakeProc
	p      control.Process
	stdout *os.File
}

// find tells where a name in the container is on this machine, and whether it
// is read-only there.
func (s *fakeSeat) find(name string) (path string, readOnly bool) {
	for _, m := range slices.Backward(s.loop.c.Mounts) {
		if rest, ok := strings.CutPrefix(name, m.Destination); ok && (rest == "" || rest[0] == '/') {
			return m.Source + rest, m.ReadOnly
		}
	}
	return filepath.Join(s.loop.fake.root(s.loop.c.ID), name), s.loop.c.ReadOnly
}

func (s *fakeSeat) path(name string) string { path, _ := s.find(name); return path }

func (s *fakeSeat) readFile(name string) ([]byte, error) { return os.ReadFile(s.path(name)) }

func (s *fakeSeat) writeFile(name string, b []byte) error {
	path, readOnly := s.find(name)
	if readOnly {
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	return os.WriteFile(path, b, 0o666)
}

func (s *fakeSeat) workDir() (string, error)  { return s.p.Dir, nil }
func (s *fakeSeat) hostname() (string, error) { return s.loop.c.Hostname, nil }

func (s *fakeSeat) leave(args []string) error {
	l := s.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	tree := s.proc.tree
	if s.proc == l.main {
		tree = l.main
	}
	_, err := l.spawnLocked(control.Process{Args: append([]string{probePath}, args...), Env: s.p.Env}, control.Stdio{Stdout: s.stdout}, tree)
	return err
}

func (s *fakeSeat) catch() <-chan os.Signal {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.proc.caught = true
	return s.proc.term
}

func (s *fakeSeat) pause(d time.Duration) bool {
	select {
	case <-s.proc.dead:
		return false
	case <-time.After(d):
		return true
	}
}
