package kqueuetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/kqueue"
)

// Main's status is true to the process.
func testStatus(t *testing.T, start Start) {
	for _, code := range []int{0, 1, 7, 255} {
		Go(t, start, "exit", strconv.Itoa(code)).wantExit(code)
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		Go(t, start, "raise", strconv.Itoa(int(sig))).wantSignal(sig)
	}
}

// A process belongs to the tree however it tries to leave it.
func testDescendants(t *testing.T, start Start) {
	for _, how := range []string{"double", "setsid", "daemon", "vfork"} {
		t.Run(how, func(t *testing.T) {
			r := Go(t, start, how)
			r.Exited()
			pid := r.oneMember(r.Pid())
			if !r.Living() {
				t.Fatal("the program did not leave anything behind")
			}
			r.Release()
			r.wantExit(0)
			events := r.Events()
			if len(events) == 0 {
				return
			}
			if e := events[len(events)-1]; e.PID != pid || e.Kind != kqueue.Exit || e.Status.ExitStatus() != 3 {
				t.Errorf("last event: %v, want the exit of %d", e, pid)
			}
			if n := r.Count(kqueue.Fork) + r.Count(kqueue.Lost); n < 2 {
				t.Errorf("births: %v", events)
			}
		})
	}
}

// A parent that is killed leaves its children in the tree.
func testKilledParent(t *testing.T, start Start) {
	r := Go(t, start, "chain") // main, middle, last: all wait
	pids := r.Members(3)
	if !slices.Contains(pids, r.Pid()) {
		t.Fatalf("members %v without main, %d", pids, r.Pid())
	}
	middle := pids[slices.IndexFunc(pids, func(pid int) bool { return pid != r.Pid() })]
	if err := syscall.Kill(r.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.Exited()
	r.Members(2)
	if err := syscall.Kill(middle, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.oneMember(middle)
	r.Release()
	r.wantSignal(syscall.SIGKILL)
}

// A stopped process is a member, and can be killed.
func testStopped(t *testing.T, start Start) {
	r := Go(t, start, "chain")
	signalAll(t, r.Members(3), syscall.SIGSTOP)
	r.Release()
	if got := r.Members(3); !r.Living() {
		t.Errorf("members %v", got)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wantSignal(syscall.SIGKILL)

	r = Go(t, start, "chain")
	pids := r.Members(3)
	signalAll(t, pids, syscall.SIGSTOP)
	signalAll(t, pids, syscall.SIGCONT)
	r.Release()
	r.wantExit(3)
}

// signalAll signals processes that cannot be gone.
func signalAll(t *testing.T, pids []int, sig syscall.Signal) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatalf("signal %d to %d: %v", sig, pid, err)
		}
	}
}

// Zombies whose parent does not care are no members that live, and are waited
// for in the end.
func testZombies(t *testing.T, start Start) {
	r := Go(t, start, "careless")
	r.Ready(1)
	r.Members(1)
	r.Release()
	r.wantExit(3)
	for _, e := range r.Events() {
		if e.PID != r.Pid() && e.PID != 0 && syscall.Kill(e.PID, 0) == nil {
			t.Errorf("%d is still there", e.PID)
		}
	}
}

// Trees do not mix.
func testManyTrees(t *testing.T, start Start) {
	var runs []*Run
	for i := range 20 {
		how := []string{"double", "chain", "hold", "daemon"}[i%4]
		runs = append(runs, Go(t, start, how))
	}
	owner := map[int]int{}
	for i, r := range runs {
		pids := r.Members([]int{1, 3, 1, 1}[i%4])
		for _, pid := range pids {
			if other, taken := owner[pid]; taken {
				t.Errorf("%d is in two trees: %d and %d", pid, other, i)
			}
			owner[pid] = i
		}
	}
	for i, r := range slices.Backward(runs) {
		r.Release()
		r.wantExit([]int{0, 3, 3, 0}[i%4])
	}
}

// Threads that fork at the same time can hide a child from the kernel's notes,
// not from the end of the tree.
func testThreads(t *testing.T, start Start) {
	r := Go(t, start, "threads", "8", "25", "hold")
	r.Exited()
	r.Members(200)
	r.Release()
	r.wantExit(0)
	t.Logf("200 forks; %s", r.told())
}

// A tree of which numbers of the dead are given to others is the same tree.
func testReuse(t *testing.T, reuse func(*testing.T), start Start) {
	reuse(t)
	held := Go(t, start, "double")
	held.Exited()
	held.Members(1)
	for i := range 3 {
		reuse(t)
		Go(t, start, "exit", strconv.Itoa(i)).wantExit(i)
		r := Go(t, start, "threads", "2", "600", "exit")
		r.wantExit(0)
		t.Logf("1200 forks; %s", r.told())
		if st := held.Exited(); st != 0 {
			t.Errorf("status of a main that is gone: %s", describe(st))
		}
	}
	held.Members(1)
	held.Release()
	held.wantExit(0)
}

// To kill reaches all, whatever they ignore, and does nothing to none.
func testKill(t *testing.T, start Start) {
	r := Go(t, start, "stubborn")
	r.Ready(2)
	signalAll(t, r.Members(2), syscall.SIGTERM)
	r.Members(2)
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wantSignal(syscall.SIGKILL)
	if err := r.Kill(); err != nil {
		t.Errorf("none to kill: %v", err)
	}
}

// None gets away by being born meanwhile.
func testKillWhileForking(t *testing.T, start Start) {
	r := Go(t, start, "threads", "4", "1000000", "orphan")
	for pids := []int{}; len(pids) < 2; {
		var err error
		if pids, err = r.PIDs(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wantSignal(syscall.SIGKILL)
}

// To wait ends with the context, and nothing is lost by that.
func testCancel(t *testing.T, start Start) {
	r := Go(t, start, "hold")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Main(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("main: %v", err)
	}
	if err := r.Empty(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("empty: %v", err)
	}
	r.Release()
	r.wantExit(3)
}

// A forgotten tree lives on.
func testClose(t *testing.T, start Start) {
	r := Go(t, start, "hold")
	r.Members(1)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if !r.Living() {
		t.Error("main was ended")
	}
	r.Release()
	for r.Living() {
		time.Sleep(time.Millisecond)
	}
}

// A program that is missing makes no tree.
func testNoProgram(t *testing.T, start Start) {
	cmd := &exec.Cmd{Path: "/nonexistent/program", Args: []string{"/nonexistent/program"}}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	tree, err := start(cmd)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tree %v, %v", tree, err)
	}
}
