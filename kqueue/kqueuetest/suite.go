// Package kqueuetest is what a follower of process trees must be able to do,
// written as tests: [Suite] runs them over anything that starts a command and
// returns its [Tree]. The programs that the tests start are the test binary
// itself, so that its TestMain begins with
//
//	func TestMain(m *testing.M) {
//		kqueuetest.Main()
//		os.Exit(m.Run())
//	}
//
// An oracle watches each tree: all its processes inherit one end of a pipe, whose
// other end says end-of-file when the last of them is gone, and not before.
package kqueuetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/kqueue"
)

// patience is how long a test waits for what must come. It is no measure.
const patience = 2 * time.Minute

// Tree is a main process with its descendants, as [kqueue.Tree] is.
type Tree interface {
	Next(ctx context.Context) (kqueue.Event, error)
	PIDs() []int
	Signal(sig syscall.Signal) error
	Close() error
}

// Start starts a command as the main process of a tree.
type Start func(cmd *exec.Cmd) (Tree, error)

// Features are what not every follower can do.
type Features struct {
	Forks bool // births are told, by Fork events
}

// Suite runs the tests.
func Suite(t *testing.T, f Features, start Start) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Features, Start)
	}{
		{"Status", testStatus},
		{"Descendants", testDescendants},
		{"KilledParent", testKilledParent},
		{"Stopped", testStopped},
		{"Zombies", testZombies},
		{"ManyTrees", testManyTrees},
		{"Threads", testThreads},
		{"Storm", testStorm},
		{"Signal", testSignal},
		{"Cancel", testCancel},
		{"Close", testClose},
		{"NoProgram", testNoProgram},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, f, start) })
	}
}

// Run is a tree under the oracle's eye.
type Run struct {
	Tree
	Cmd    *exec.Cmd
	Events []kqueue.Event
	t      *testing.T
	hold   *os.File // closed: processes that wait for it end
	alive  *os.File // end-of-file: no process is left
}

// Go starts one of the programs of this package as main.
func Go(t *testing.T, start Start, program ...string) *Run {
	t.Helper()
	r, err := TryGo(t, start, func(*exec.Cmd) {}, program...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TryGo is Go with a chance to change the command.
func TryGo(t *testing.T, start Start, change func(*exec.Cmd), program ...string) (*Run, error) {
	t.Helper()
	holdR, holdW := pipe(t)
	aliveR, aliveW := pipe(t)
	cmd := Program(program...)
	cmd.Stdin, cmd.ExtraFiles = holdR, []*os.File{aliveW}
	change(cmd)
	tree, err := start(cmd)
	holdR.Close()
	aliveW.Close()
	return &Run{Tree: tree, Cmd: cmd, t: t, hold: holdW, alive: aliveR}, err
}

// Program is a command that runs one of the programs of this package, without
// the oracle.
func Program(program ...string) *exec.Cmd {
	self, err := os.Executable()
	return &exec.Cmd{
		Path: self, Err: err, Args: append([]string{self}, program...), Env: append(os.Environ(), envProgram+"=1"),
		Stdout: os.Stderr, Stderr: os.Stderr,
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// Release lets the processes that wait go on to their end.
func (r *Run) Release() { r.hold.Close() }

// Main returns the number of main.
func (r *Run) Main() int { return r.Cmd.Process.Pid }

// Next returns the next event.
func (r *Run) Next() (kqueue.Event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := r.Tree.Next(ctx)
	if err == nil {
		r.Events = append(r.Events, e)
	}
	return e, err
}

// Until reads events until one satisfies ok.
func (r *Run) Until(what string, ok func(kqueue.Event) bool) kqueue.Event {
	r.t.Helper()
	for {
		e, err := r.Next()
		if err != nil {
			r.t.Fatalf("waiting for %s: %v; events: %v", what, err, r.tail())
		}
		if ok(e) {
			return e
		}
	}
}

// Members waits until the tree has n members and returns them.
func (r *Run) Members(n int) []int {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		pids := r.PIDs()
		if len(pids) == n {
			return pids
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("members %v, want %d", pids, n)
		}
		time.Sleep(time.Millisecond) // there is no event for it
	}
}

// End reads the rest of the events, checks that the end of the tree was neither
// missed nor early and that main's exit was told once, and returns its status.
func (r *Run) End() syscall.WaitStatus {
	r.t.Helper()
	for {
		_, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			r.t.Fatalf("the end was missed: %v; events: %v", err, r.tail())
		}
	}
	if r.Living() {
		r.t.Fatalf("called empty early; events: %v", r.tail())
	}
	if pids := r.PIDs(); len(pids) > 0 {
		r.t.Errorf("members after the end: %v", pids)
	}
	if _, err := r.Tree.Next(context.Background()); err != io.EOF {
		r.t.Errorf("after the end: %v", err)
	}
	var exits []kqueue.Event
	for _, e := range r.Events {
		if e.Kind == kqueue.Exit && e.PID == r.Main() {
			exits = append(exits, e)
		}
	}
	if len(exits) != 1 {
		r.t.Fatalf("main ended %d times; events: %v", len(exits), r.tail())
	}
	return exits[0].Status
}

// Living reports whether a process of the tree exists, as the oracle sees it.
func (r *Run) Living() bool {
	r.t.Helper()
	conn, err := r.alive.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	var rerr error
	n := 0
	err = conn.Read(func(fd uintptr) bool { // the descriptor is in non-blocking mode
		n, rerr = syscall.Read(int(fd), make([]byte, 1))
		return true
	})
	if err != nil || rerr != nil && rerr != syscall.EAGAIN {
		r.t.Fatal(err, rerr)
	}
	return n > 0 || rerr == syscall.EAGAIN
}

// Count returns how many events of a kind there were.
func (r *Run) Count(kind kqueue.Kind) int {
	n := 0
	for _, e := range r.Events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// tail returns the newest events, enough to read.
func (r *Run) tail() []kqueue.Event { return r.Events[max(0, len(r.Events)-30):] }

// exitOf returns whether an event is the exit of pid.
func exitOf(pid int) func(kqueue.Event) bool {
	return func(e kqueue.Event) bool { return e.Kind == kqueue.Exit && e.PID == pid }
}

// oneMember waits until pid is the only member.
func (r *Run) oneMember(not int) int {
	r.t.Helper()
	pids := r.Members(1)
	if slices.Contains(pids, not) {
		r.t.Fatalf("%d is still a member", not)
	}
	return pids[0]
}

func (r *Run) wantExit(code int) {
	r.t.Helper()
	if st := r.End(); !st.Exited() || st.ExitStatus() != code {
		r.t.Errorf("main: %s, want exit %d", describe(st), code)
	}
}

func describe(st syscall.WaitStatus) string {
	if st.Signaled() {
		return fmt.Sprintf("signal %d", st.Signal())
	}
	return fmt.Sprintf("exit %d", st.ExitStatus())
}
