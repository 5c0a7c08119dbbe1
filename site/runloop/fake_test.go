package runloop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/runloop"
)

// fakeTenant runs plain processes of this machine. A tree is a process group;
// it is empty when nobody holds the write end of a pipe that all inherit.
type fakeTenant struct {
	fakeConfig
	mu     sync.Mutex
	trees  []*fakeTree
	closed bool
}

// fakeConfig is the tenant's part of a run loop's configuration.
type fakeConfig struct {
	Fail  string // why it cannot be opened
	Blind bool   // trees are never seen empty
	Apart string // a file: a start takes long, and fails when that is made meanwhile
}

func openFake(config json.RawMessage) (runloop.Tenant, error) {
	var c fakeConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	if c.Fail != "" {
		return nil, errors.New(c.Fail)
	}
	return &fakeTenant{fakeConfig: c}, nil
}

func (t *fakeTenant) Start(p *runloop.Process) (runloop.Tree, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fs.ErrClosed
	}
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", p.Args[0], fs.ErrNotExist)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.Cmd{Path: path, Args: p.Args, Env: append(p.Env, "PATH="+os.Getenv("PATH")), Dir: p.Dir,
		Stdin: p.Files[0], Stdout: p.Files[1], Stderr: p.Files[2], ExtraFiles: []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: p.Terminal, Setctty: p.Terminal, Setpgid: !p.Terminal}}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	tree := &fakeTree{blind: t.Blind, pid: cmd.Process.Pid, exited: make(chan struct{}), empty: make(chan struct{})}
	t.trees = append(t.trees, tree)
	go func() {
		_ = cmd.Wait()
		tree.status = cmd.ProcessState.Sys().(syscall.WaitStatus)
		close(tree.exited)
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
		close(tree.empty)
	}()
	if t.Apart != "" {
		time.Sleep(300 * time.Millisecond)
		if _, err := os.Stat(t.Apart); err == nil {
			return nil, fmt.Errorf("%s was made while %s was started: %w", t.Apart, p.Args, fs.ErrExist)
		}
	}
	return tree, nil
}

func (t *fakeTenant) Kill() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tree := range t.trees {
		if err := tree.Kill(); err != nil {
			return err
		}
	}
	return nil
}

func (t *fakeTenant) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	if err := t.Kill(); err != nil {
		return err
	}
	for _, tree := range t.trees {
		<-tree.empty
	}
	return nil
}

type fakeTree struct {
	blind  bool
	pid    int
	exited chan struct{}
	empty  chan struct{}
	status syscall.WaitStatus
}

func (t *fakeTree) Pid() int { return t.pid }

func (t *fakeTree) Main(ctx context.Context) (syscall.WaitStatus, error) {
	select {
	case <-t.exited:
		return t.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (t *fakeTree) Empty(ctx context.Context) error {
	empty := t.empty
	if t.blind {
		empty = nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *fakeTree) PIDs() ([]int, error) {
	out, err := exec.Command("pgrep", "-g", strconv.Itoa(t.pid)).Output()
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == 1 { // none
		return nil, nil
	}
	var pids []int
	for _, line := range strings.Fields(string(out)) {
		pid, _ := strconv.Atoi(line)
		pids = append(pids, pid)
	}
	return pids, err
}

func (t *fakeTree) Signal(sig syscall.Signal) error {
	select {
	case <-t.exited:
		return os.ErrProcessDone
	default:
		return syscall.Kill(t.pid, sig)
	}
}

func (t *fakeTree) Kill() error {
	select {
	case <-t.empty:
		return nil
	default:
	}
	if err := syscall.Kill(-t.pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (t *fakeTree) Close() error { return nil }
