// Package kqueuetest is what a follower of process trees must be able to do,
// written as tests: [Suite] runs them over anything that starts a command and
// returns its [Tree]. On FreeBSD that is a [kqueue.Tracker], by way of [Follow],
// and the jails of package host/tenant; on Linux it is the namespaces there, with
// a control group for each tree and without. The programs that the tests start
// are the test binary itself, so that its TestMain begins with
//
//	func TestMain(m *testing.M) {
//		kqueuetest.Main()
//		os.Exit(m.Run())
//	}
//
// An oracle watches each tree: all its processes have the same pipe as standard
// output, whose other end says end-of-file when the last of them is gone, and not
// before.
package kqueuetest

import (
	"context"
	"errors"
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

// patience is how long a test waits for what must come. It is no measure: an
// emulated machine forks fifty times in a second.
func patience(t testing.TB) time.Duration {
	return 5*time.Minute + time.Duration(forks(t)+live(t))*20*time.Millisecond
}

// Tree is a main process with its descendants. A tree that tells what happens
// in it also has the method Events, which returns all that was told until now.
type Tree interface {
	// Pid is main's number, as this process sees it.
	Pid() int
	// Main returns main's status once it has ended.
	Main(ctx context.Context) (syscall.WaitStatus, error)
	// Empty returns nil once no process of the tree exists.
	Empty(ctx context.Context) error
	// PIDs lists the members that live.
	PIDs() ([]int, error)
	// Kill sends SIGKILL to all members. None may be left.
	Kill() error
	// Close forgets the tree; its processes go on.
	Close() error
}

// Start starts a command as the main process of a tree. Of cmd the fields Path,
// Args, Env, Stdin, Stdout and Stderr matter.
type Start func(cmd *exec.Cmd) (Tree, error)

// Features are what not every follower can do, or not everywhere.
type Features struct {
	// Alone: what is not of the tree under test does not exist or is of no
	// interest: two trees at once are one.
	Alone bool
	// Reuse sees to it that numbers of processes that are gone are soon given to
	// new ones, until the test ends. It is called again before each start that is to
	// get such numbers. nil: the test is left out.
	Reuse func(t *testing.T)
}

// Suite runs the tests. How many processes the storms start, and how many live
// at once, XC_TEST_FORKS and XC_TEST_LIVE say: docs/testing.md.
func Suite(t *testing.T, f Features, start Start) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Start)
		skip bool
	}{
		{"Status", testStatus, false},
		{"Descendants", testDescendants, false},
		{"KilledParent", testKilledParent, false},
		{"Stopped", testStopped, false},
		{"Zombies", testZombies, false},
		{"ManyTrees", testManyTrees, f.Alone},
		{"Threads", testThreads, false},
		{"Storm", testStorm, false},
		{"OrphanStorm", testOrphanStorm, false},
		{"Live", testLive, false},
		{"Reuse", func(t *testing.T, start Start) { testReuse(t, f.Reuse, start) }, f.Reuse == nil},
		{"Kill", testKill, false},
		{"KillWhileForking", testKillWhileForking, false},
		{"Cancel", testCancel, false},
		{"Close", testClose, false},
		{"NoProgram", testNoProgram, false},
	} {
		if !c.skip {
			t.Run(c.name, func(t *testing.T) { c.test(t, start) })
		}
	}
}

// Run is a tree under the oracle's eye.
type Run struct {
	Tree
	t     *testing.T
	hold  *os.File // closed: processes that wait for it end
	alive *os.File // end-of-file: no process is left
	empty chan emptiness
}

// emptiness is what the oracle saw when a tree was called empty.
type emptiness struct {
	err   error
	early bool // a process lived
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
	cmd.Stdin, cmd.Stdout = holdR, aliveW
	change(cmd)
	tree, err := start(cmd)
	holdR.Close()
	aliveW.Close()
	if err != nil {
		return nil, err
	}
	r := &Run{Tree: tree, t: t, hold: holdW, alive: aliveR, empty: make(chan emptiness, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	t.Cleanup(func() { cancel(); <-watched })
	go func() {
		defer close(watched)
		err := tree.Empty(ctx)
		lives, oerr := r.lives()
		r.empty <- emptiness{errors.Join(err, oerr), lives && err == nil}
	}()
	return r, nil
}

// Program is a command that runs one of the programs of this package, without
// the oracle.
func Program(program ...string) *exec.Cmd {
	self, err := os.Executable()
	return &exec.Cmd{
		Path: self, Err: err, Args: append([]string{self}, program...), Env: append(os.Environ(), envProgram+"=1"),
		Stderr: os.Stderr,
	}
}

func pipe(t testing.TB) (r, w *os.File) {
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

// Ready waits until n processes of a program that tells so are ready.
func (r *Run) Ready(n int) {
	r.t.Helper()
	if err := r.alive.SetReadDeadline(time.Now().Add(patience(r.t))); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(r.alive, make([]byte, n)); err != nil {
		r.t.Fatalf("waiting until %d processes are ready: %v", n, err)
	}
	if err := r.alive.SetReadDeadline(time.Time{}); err != nil {
		r.t.Fatal(err)
	}
}

// Exited waits for main's end and returns its status.
func (r *Run) Exited() syscall.WaitStatus {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience(r.t))
	defer cancel()
	ws, err := r.Main(ctx)
	if err != nil {
		r.t.Fatalf("main's status: %v; events: %v", err, r.tail())
	}
	return ws
}

// Members waits until the tree has n members, which stay, and returns them: os/exec
// has a child for a moment when it finds out what the kernel can do.
func (r *Run) Members(n int) []int {
	r.t.Helper()
	var last []int
	for deadline := time.Now().Add(patience(r.t)); ; {
		begin := time.Now()
		pids, err := r.PIDs()
		if err != nil {
			r.t.Fatal(err)
		}
		slices.Sort(pids)
		if len(pids) == n && slices.Equal(pids, last) {
			return pids
		}
		last = pids
		if time.Now().After(deadline) {
			r.t.Fatalf("members %v, want %d", pids, n)
		}
		time.Sleep(max(time.Millisecond, 10*time.Since(begin))) // there is no event for it, and to list many takes its time
	}
}

// End waits until the tree is empty, checks that this was neither missed nor
// early and is so for good, and returns main's status.
func (r *Run) End() syscall.WaitStatus {
	r.t.Helper()
	status := r.Exited()
	select {
	case e := <-r.empty:
		if e.err != nil || e.early {
			r.t.Fatalf("called empty early: %v, %v; events: %v", e.early, e.err, r.tail())
		}
	case <-time.After(patience(r.t)):
		r.t.Fatalf("the end was missed: a process lives: %v; events: %v", r.Living(), r.tail())
	}
	if pids, err := r.PIDs(); len(pids) > 0 || err != nil {
		r.t.Errorf("members after the end: %v, %v", pids, err)
	}
	if err := r.Empty(context.Background()); err != nil {
		r.t.Errorf("empty, asked again: %v", err)
	}
	if again := r.Exited(); again != status {
		r.t.Errorf("main's status changed from %s to %s", describe(status), describe(again))
	}
	r.checkTold(status)
	return status
}

// Living reports whether a process of the tree exists, as the oracle sees it.
func (r *Run) Living() bool {
	r.t.Helper()
	lives, err := r.lives()
	if err != nil {
		r.t.Fatal(err)
	}
	return lives
}

func (r *Run) lives() (bool, error) {
	conn, err := r.alive.SyscallConn()
	if err != nil {
		return false, err
	}
	var rerr error
	n := 0
	err = conn.Read(func(fd uintptr) bool { // the descriptor is in non-blocking mode
		for n = 1; n > 0; { // past what Ready was told
			n, rerr = syscall.Read(int(fd), make([]byte, 16))
		}
		return true
	})
	if err != nil || rerr != nil && rerr != syscall.EAGAIN {
		return false, errors.Join(err, rerr)
	}
	return rerr == syscall.EAGAIN, nil
}

// Events returns what was told of the tree until now.
func (r *Run) Events() []kqueue.Event {
	if e, ok := r.Tree.(interface{ Events() []kqueue.Event }); ok {
		return e.Events()
	}
	return nil
}

// Count returns how many events of a kind there were.
func (r *Run) Count(kind kqueue.Kind) int {
	n := 0
	for _, e := range r.Events() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// told sums the events up.
func (r *Run) told() string {
	if len(r.Events()) == 0 {
		return "nothing is told"
	}
	return fmt.Sprintf("told: %d forks, %d exits, %d lost", r.Count(kqueue.Fork), r.Count(kqueue.Exit), r.Count(kqueue.Lost))
}

// checkTold checks what was told, if anything was: main's end once, and last the
// end of the last.
func (r *Run) checkTold(status syscall.WaitStatus) {
	r.t.Helper()
	events := r.Events()
	if len(events) == 0 {
		return
	}
	ends := 0
	for _, e := range events {
		if e.Kind == kqueue.Exit && e.PID == r.Pid() && e.Status == status {
			ends++
		}
	}
	if ends != 1 {
		r.t.Errorf("main's end was told %d times; events: %v", ends, r.tail())
	}
	if last := events[len(events)-1]; last.Kind != kqueue.Exit && last.Kind != kqueue.Lost {
		r.t.Errorf("the last event is %v", last)
	}
}

// tail returns the newest events, enough to read.
func (r *Run) tail() []kqueue.Event {
	events := r.Events()
	return events[max(0, len(events)-30):]
}

// oneMember waits until the tree has one member, and not that.
func (r *Run) oneMember(not int) int {
	r.t.Helper()
	pid := r.Members(1)[0]
	if pid == not {
		r.t.Fatalf("%d is still a member", not)
	}
	return pid
}

func (r *Run) wantExit(code int) {
	r.t.Helper()
	if st := r.End(); !st.Exited() || st.ExitStatus() != code {
		r.t.Errorf("main: %s, want exit %d", describe(st), code)
	}
}

func (r *Run) wantSignal(sig syscall.Signal) {
	r.t.Helper()
	if st := r.End(); !st.Signaled() || st.Signal() != sig {
		r.t.Errorf("main: %s, want signal %d", describe(st), sig)
	}
}

func describe(st syscall.WaitStatus) string {
	if st.Signaled() {
		return fmt.Sprintf("signal %d", st.Signal())
	}
	return fmt.Sprintf("exit %d", st.ExitStatus())
}
