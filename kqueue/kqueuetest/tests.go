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

	"github.com/joyboyid/xc/kqueue"
)

// Main's status is true to the process.
func testStatus(t *testing.T, _ Features, start Start) {
	for _, code := range []int{0, 1, 7, 255} {
		r := Go(t, start, "exit", strconv.Itoa(code))
		r.wantExit(code)
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		r := Go(t, start, "raise", strconv.Itoa(int(sig)))
		if st := r.End(); !st.Signaled() || st.Signal() != sig {
			t.Errorf("main: %s, want signal %d", describe(st), sig)
		}
	}
}

// A process belongs to the tree however it tries to leave it.
func testDescendants(t *testing.T, f Features, start Start) {
	for _, how := range []string{"double", "setsid", "daemon", "vfork"} {
		t.Run(how, func(t *testing.T) {
			r := Go(t, start, how)
			r.Until("main's exit", exitOf(r.Main()))
			pid := r.oneMember(r.Main())
			if !r.Living() {
				t.Fatal("the program did not leave anything behind")
			}
			r.Release()
			r.wantExit(0)
			if e := r.Events[len(r.Events)-1]; e.PID != pid || e.Kind != kqueue.Exit || e.Status.ExitStatus() != 3 {
				t.Errorf("last event: %v, want the exit of %d", e, pid)
			}
			if n := r.Count(kqueue.Fork) + r.Count(kqueue.Lost); f.Forks && n < 2 {
				t.Errorf("births: %v", r.Events)
			}
		})
	}
}

// A parent that is killed leaves its children in the tree.
func testKilledParent(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "chain") // main, middle, last: all wait
	pids := r.Members(3)
	middle := pids[slices.IndexFunc(pids, func(pid int) bool { return pid != r.Main() })]
	if err := syscall.Kill(r.Main(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.Until("main's exit", exitOf(r.Main()))
	r.Members(2)
	if err := syscall.Kill(middle, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.Until("the exit of the middle", exitOf(middle))
	r.oneMember(middle)
	r.Release()
	if st := r.End(); !st.Signaled() || st.Signal() != syscall.SIGKILL {
		t.Errorf("main: %s", describe(st))
	}
}

// A stopped process is a member, and can be killed.
func testStopped(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "chain")
	r.Members(3)
	if err := r.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.Release()
	if got := r.Members(3); !r.Living() {
		t.Errorf("members %v", got)
	}
	if err := r.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := r.End(); st.Signal() != syscall.SIGKILL {
		t.Errorf("main: %s", describe(st))
	}
	r = Go(t, start, "chain")
	r.Members(3)
	if err := errors.Join(r.Signal(syscall.SIGSTOP), r.Signal(syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	r.Release()
	r.wantExit(3)
}

// Zombies whose parent does not care are waited for in the end.
func testZombies(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "careless")
	r.Members(1)
	r.Release()
	r.wantExit(3)
	for _, e := range r.Events {
		if e.PID != r.Main() && e.PID != 0 && syscall.Kill(e.PID, 0) == nil {
			t.Errorf("%d is still there", e.PID)
		}
	}
}

// Trees do not mix.
func testManyTrees(t *testing.T, _ Features, start Start) {
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
func testThreads(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "threads", "8", "25", "hold")
	r.Until("main's exit", exitOf(r.Main()))
	r.Members(200)
	r.Release()
	r.wantExit(0)
	t.Logf("%d forks told, %d lost", r.Count(kqueue.Fork)-1, r.Count(kqueue.Lost))
}

// Many short lives: the end is told once, and each life by its birth and its end.
func testStorm(t *testing.T, f Features, start Start) {
	const threads, each = 4, 500
	r := Go(t, start, "threads", strconv.Itoa(threads), strconv.Itoa(each), "exit")
	r.wantExit(0)
	forks, lost, exits := r.Count(kqueue.Fork), r.Count(kqueue.Lost), r.Count(kqueue.Exit)
	t.Logf("%d forks of %d, %d exits, %d lost", forks-1, threads*each, exits, lost)
	if f.Forks && (forks > threads*each+1 || exits > forks+lost || exits < forks-lost) {
		t.Errorf("births and ends do not match")
	}
}

// A signal reaches all, and none that is gone.
func testSignal(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "chain")
	r.Members(3)
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if st := r.End(); st.Signal() != syscall.SIGTERM {
		t.Errorf("main: %s", describe(st))
	}
	if err := r.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("to nobody: %v", err)
	}
}

// Next ends with its context, and loses nothing by that.
func testCancel(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "hold")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := r.Tree.Next(ctx)
		if err == nil {
			r.Events = append(r.Events, e)
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		break
	}
	r.Release()
	r.wantExit(3)
}

// A closed tree lives on untold.
func testClose(t *testing.T, _ Features, start Start) {
	r := Go(t, start, "hold")
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if !r.Living() {
		t.Error("main was ended")
	}
	r.Release()
}

// A program that is missing makes no tree.
func testNoProgram(t *testing.T, _ Features, start Start) {
	tree, err := start(&exec.Cmd{Path: "/nonexistent/program"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tree %v, %v", tree, err)
	}
}
