package kqueue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/kqueue"
	"github.com/joyboyid/xc/kqueue/kqueuetest"
)

const envReaper = "KQUEUE_TEST_REAPER"

func TestMain(m *testing.M) {
	if os.Getenv(envReaper) != "" {
		nestedReaper()
	}
	kqueuetest.Main()
	os.Exit(m.Run())
}

// tracker is a Tracker that goes with the test, and a Start with it.
func tracker(t testing.TB) (*kqueue.Tracker, kqueuetest.Start) {
	t.Helper()
	tr, err := kqueue.NewTracker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr, func(cmd *exec.Cmd) (kqueuetest.Tree, error) {
		tree, err := tr.Start(cmd)
		if err != nil {
			return nil, err
		}
		return kqueuetest.Follow(cmd.Process.Pid, tree), nil
	}
}

// No privilege is needed to follow one's own descendants.
func TestSuite(t *testing.T) {
	_, start := tracker(t)
	kqueuetest.Suite(t, kqueuetest.Features{}, start)
}

// hold starts a main that ends with 3 once release is called.
func hold(t *testing.T, tr *kqueue.Tracker) (cmd *exec.Cmd, tree *kqueue.Tree, release func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd = kqueuetest.Program("hold")
	cmd.Stdin = r
	if tree, err = tr.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return cmd, tree, func() { w.Close() }
}

// rest reads the events until there are no more, and why.
func rest(ctx context.Context, tree *kqueue.Tree) (events []kqueue.Event, err error) {
	for {
		e, err := tree.Next(ctx)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

func TestEventsInOrder(t *testing.T) {
	tr, _ := tracker(t)
	cmd, tree, release := hold(t, tr)
	release()
	events, err := rest(t.Context(), tree)
	if err != io.EOF {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		if e.PID != cmd.Process.Pid {
			t.Errorf("event of another process: %v", e)
		}
		got = append(got, e.Kind.String())
	}
	if want := []string{"fork", "exec", "exit"}; !slices.Equal(got, want) || events[0].Parent != os.Getpid() {
		t.Errorf("events %v, want %v", events, want)
	}
	if st := cmd.ProcessState; st == nil || st.ExitCode() != 3 || st.Pid() != cmd.Process.Pid {
		t.Errorf("state %v", st)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to what has been waited for: %v", err)
	}
}

// A signal reaches all, and none that is gone.
func TestSignal(t *testing.T) {
	tr, _ := tracker(t)
	cmd := kqueuetest.Program("chain")
	tree, err := tr.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	for len(tree.PIDs()) == 0 {
	}
	if err := tree.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	events, err := rest(t.Context(), tree)
	if st := events[len(events)-1].Status; err != io.EOF || st.Signal() != syscall.SIGTERM {
		t.Errorf("%v, %v", events, err)
	}
	if err := tree.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("to nobody: %v", err)
	}
}

// Next ends with its context, and loses nothing by that.
func TestNextCancelled(t *testing.T) {
	tr, _ := tracker(t)
	_, tree, release := hold(t, tr)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before, err := rest(ctx, tree)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	release()
	after, err := rest(t.Context(), tree)
	if n := len(before) + len(after); err != io.EOF || n != 3 {
		t.Errorf("%v, %v, %v", before, after, err)
	}
}

// nestedReaper becomes a reaper, leaves an orphan to itself, and waits.
func nestedReaper() {
	if _, _, errno := unix.Syscall6(unix.SYS_PROCCTL, 0, uintptr(os.Getpid()), 2, 0, 0, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, errno)
		os.Exit(99)
	}
	os.Unsetenv(envReaper)
	if err := kqueuetest.Child(nil, "double").Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	if os.Args[1] == "leave" {
		os.Exit(0)
	}
	kqueuetest.Held()
}

// What hangs from a reaper in the tree is in the tree, also when that dies.
func TestNestedReaper(t *testing.T) {
	_, start := tracker(t)
	for _, how := range []string{"stay", "leave"} {
		r, err := kqueuetest.TryGo(t, start, func(c *exec.Cmd) { c.Env = append(c.Env, envReaper+"=1") }, how)
		if err != nil {
			t.Fatal(err)
		}
		if how == "stay" {
			r.Members(2)
			if err := r.Kill(); err != nil {
				t.Fatal(err)
			}
		} else {
			r.Exited()
			r.Members(1)
			r.Release()
		}
		r.End()
	}
}

// descendants is how many processes the kernel lists for us, zombies included.
func descendants(t *testing.T) uint32 {
	t.Helper()
	var status struct {
		flags, children, descendants uint32
		reaper, pid                  int32
		_                            [15]uint32
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PROCCTL, 0, 0, 4, uintptr(unsafe.Pointer(&status)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	return status.descendants
}

func TestNothingIsLeft(t *testing.T) {
	_, start := tracker(t)
	for _, how := range [][]string{{"exit", "0"}, {"daemon"}, {"careless"}, {"chain"}, {"threads", "4", "50", "exit"}} {
		r := kqueuetest.Go(t, start, how...)
		r.Release()
		r.End()
		if n := descendants(t); n != 0 {
			t.Errorf("%v: %d processes are left", how, n)
		}
	}
}

// Threads that fork at the same time hide children from one kqueue, not from all.
func TestEveryForkIsTold(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 forks")
	}
	_, start := tracker(t)
	t.Setenv("XC_TEST_FORKS", "20000") // for the oracle's patience
	const want = 4*5000 + 1
	r := kqueuetest.Go(t, start, "threads", "4", "5000", "exit")
	r.End()
	for _, kind := range []kqueue.Kind{kqueue.Fork, kqueue.Exit} {
		if n := r.Count(kind); n != want {
			t.Errorf("%v was told %d times, want %d", kind, n, want)
		}
	}
}

// What somebody else in the process starts is theirs to wait for.
func TestOthersChildren(t *testing.T) {
	_, start := tracker(t)
	r := kqueuetest.Go(t, start, "hold")
	out, err := exec.Command("/bin/sh", "-c", "echo x; exit 4").Output()
	var exit *exec.ExitError
	if string(out) != "x\n" || !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("%q, %v", out, err)
	}
	r.Release()
	r.End()
}

func TestTrackerClose(t *testing.T) {
	tr, err := kqueue.NewTracker()
	if err != nil {
		t.Fatal(err)
	}
	cmd, tree, release := hold(t, tr)
	_, forgotten, releaseForgotten := hold(t, tr)
	defer releaseForgotten()
	if err := forgotten.Close(); err != nil {
		t.Error(err)
	}
	if _, err := forgotten.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed tree: %v", err)
	}
	for range 2 {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := rest(t.Context(), tree); !errors.Is(err, os.ErrClosed) {
		t.Errorf("next: %v", err)
	}
	if err := tree.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrClosed) {
		t.Errorf("signal: %v", err)
	}
	if _, err := tr.Start(&exec.Cmd{Path: "/bin/sh"}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("start: %v", err)
	}
	release()
	if _, err := cmd.Process.Wait(); err != nil {
		t.Error(err)
	}
}

// TestIntegrationJail follows what runs in a jail.
func TestIntegrationJail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a jail: run with go test -exec sudo")
	}
	name := fmt.Sprintf("xctest%dkq", os.Getpid())
	out, err := exec.Command("jail", "-i", "-c", "name="+name, "path=/", "persist").CombinedOutput()
	if err != nil {
		t.Fatalf("jail: %s", out)
	}
	defer func() {
		if out, err := exec.Command("jail", "-r", name).CombinedOutput(); err != nil {
			t.Errorf("jail -r: %s", out)
		}
	}()
	jid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	_, start := tracker(t)
	inside := func(cmd *exec.Cmd) (kqueuetest.Tree, error) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Jail: jid}
		return start(cmd)
	}
	kqueuetest.Suite(t, kqueuetest.Features{Reuse: fewNumbers}, inside)
}

// fewNumbers leaves the kernel with 1000 numbers for processes until a test ends.
func fewNumbers(t *testing.T) {
	old, err := unix.SysctlUint32("kern.pid_max")
	if err != nil {
		t.Fatal(err)
	}
	set := func(n uint32) {
		if out, err := exec.Command("sysctl", fmt.Sprintf("kern.pid_max=%d", n)).CombinedOutput(); err != nil {
			t.Fatalf("sysctl: %s", out)
		}
	}
	set(1000)
	t.Cleanup(func() { set(old) })
}

// BenchmarkRun is a process from its start to the confirmed end of its tree.
func BenchmarkRun(b *testing.B) {
	tr, _ := tracker(b)
	for b.Loop() {
		tree, err := tr.Start(&exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 0"}})
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = tree.Next(context.Background())
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}

// BenchmarkForks is a fork from one of four threads that fork without exec, and
// its end: -benchtime 100000x is a storm of that many.
func BenchmarkForks(b *testing.B) {
	tr, _ := tracker(b)
	cmd := kqueuetest.Program("threads", "4", strconv.Itoa((b.N+3)/4), "exit")
	tree, err := tr.Start(cmd)
	if err != nil {
		b.Fatal(err)
	}
	count := map[kqueue.Kind]int{}
	for {
		e, err := tree.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		count[e.Kind]++
	}
	if cmd.ProcessState == nil || !cmd.ProcessState.Success() {
		b.Fatalf("main: %v", cmd.ProcessState)
	}
	b.ReportMetric(float64((b.N+3)/4*4+1-count[kqueue.Fork]), "untold")
	b.ReportMetric(float64(count[kqueue.Lost]), "lost")
}

// BenchmarkNotice is from the end of a process to the notice, next to a bare
// kevent(2) and wait4(2).
func BenchmarkNotice(b *testing.B) {
	_, start := tracker(b)
	kqueuetest.Notice(b, start)
}
