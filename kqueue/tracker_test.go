package kqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bench is a Tracker over a sim, whose loop the test turns by hand.
type bench struct {
	t *testing.T
	*sim
	tracker *Tracker
	now     time.Time
	trees   []*Tree
	ended   map[*Tree]bool
	events  map[*Tree][]Event
}

func newBench(t *testing.T, s *sim) *bench {
	return &bench{
		t: t, sim: s, tracker: newTracker(s, simSelf), now: time.Unix(1e9, 0),
		ended: map[*Tree]bool{}, events: map[*Tree][]Event{},
	}
}

func (b *bench) launch() *Tree {
	b.t.Helper()
	tree, err := b.tracker.launch(func() (int, error) { return b.fork(simSelf), nil }, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.trees = append(b.trees, tree)
	return tree
}

// turn lets the loop run until it would sleep for long, and checks that no tree
// has been called empty that is not.
func (b *bench) turn() {
	b.t.Helper()
	notes := make([]note, 16)
	for range 200 {
		b.step(notes)
		wait := b.tracker.timeout(b.now)
		switch {
		case b.queued() > 0:
			wait = 0 // poll returns at once
		case wait < 0 || wait > retryMax:
			return
		}
		b.now = b.now.Add(wait + 1)
	}
	b.t.Fatal("the loop does not come to rest")
}

// step is one round of the loop.
func (b *bench) step(notes []note) {
	b.t.Helper()
	n, drained, err := b.poll(notes, 0)
	if !b.tracker.step(notes[:n], drained, err, b.now) {
		b.t.Fatal("the loop has ended:", b.tracker.err)
	}
	b.collect()
}

func (b *bench) collect() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tree := range b.trees {
		for !b.ended[tree] {
			e, err := tree.Next(ctx)
			if err == io.EOF {
				b.ended[tree] = true
				if n := b.exists(tree.root); n > 0 {
					b.t.Fatalf("tree %d is called empty and has %d processes", tree.root, n)
				}
			}
			if err != nil {
				break
			}
			b.events[tree] = append(b.events[tree], e)
		}
	}
}

func (b *bench) log(tree *Tree) string {
	var lines []string
	for _, e := range b.events[tree] {
		lines = append(lines, e.String())
	}
	return strings.Join(lines, "\n")
}

// story starts main, lets tell go on, and compares the events of main's tree.
func story(t *testing.T, tell func(b *bench, main int), want ...string) {
	t.Helper()
	b := newBench(t, newSim(1))
	tree := b.launch()
	tell(b, tree.root)
	b.turn()
	if !b.ended[tree] {
		t.Errorf("tree is not called empty; alive: %v", b.alive(tree.root))
	}
	if got := b.log(tree); got != strings.Join(want, "\n") {
		t.Errorf("events:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	if len(b.procs) != 1 {
		t.Errorf("%d zombies are left", len(b.procs)-1)
	}
}

func TestStories(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		story(t, func(b *bench, main int) {
			b.exec(main)
			b.exit(main, 7<<8)
		}, "fork 3 of 1", "exec 3", "exit 3 status 7")
	})
	t.Run("signal", func(t *testing.T) {
		story(t, func(b *bench, main int) { b.exit(main, 9) }, "fork 3 of 1", "exit 3 signal 9")
	})
	t.Run("double fork outlives main", func(t *testing.T) {
		story(t, func(b *bench, main int) {
			mid := b.fork(main)
			b.turn()
			late := b.fork(mid)
			b.exit(mid, 0)
			b.exit(main, 0)
			b.turn()
			if got := b.trees[0].PIDs(); !slices.Equal(got, []int{late}) {
				t.Errorf("members %v, want %v", got, late)
			}
			b.exit(late, 3<<8)
		}, "fork 3 of 1", "fork 4 of 3", "fork 5 of 4", "exit 4 status 0", "exit 3 status 0", "exit 5 status 3")
	})
	t.Run("zombie inherited from main", func(t *testing.T) {
		story(t, func(b *bench, main int) {
			kid := b.fork(main)
			b.exit(kid, 0) // main never waits
			b.turn()
			b.exit(main, 0)
		}, "fork 3 of 1", "fork 4 of 3", "exit 4 status 0", "exit 3 status 0")
	})
	t.Run("lost child of a dead main", func(t *testing.T) {
		story(t, func(b *bench, main int) {
			b.lose, b.silent = 1, 1
			lost := b.fork(main)
			b.lose = 0
			b.exit(main, 0)
			b.turn()
			if b.ended[b.trees[0]] {
				t.Error("empty while the lost child lives")
			}
			b.exit(lost, 0)
		}, "fork 3 of 1", "exit 3 status 0", "lost 4", "exit 4 status 0")
	})
	t.Run("reported loss while main lives", func(t *testing.T) {
		story(t, func(b *bench, main int) {
			b.lose = 1
			for range lanes { // in all lanes, with neither note
				b.post(0, note{pid: main, flags: noteTrackErr})
			}
			b.silent = 1
			b.fork(main)
			b.lose = 0
			b.turn()
			for _, pid := range b.alive(main) {
				b.exit(pid, 0)
			}
		}, "fork 3 of 1", "lost 4", "exit 3 status 0", "exit 4 status 0")
	})
}

// Whatever is lost, repeated, swapped or numbered again: a tree is never called
// empty early, always in the end, and the table is right after an audit.
func TestRandomHistories(t *testing.T) {
	for _, c := range []struct {
		name                             string
		lose, silent, repeat, swap, skew float64
		spare                            bool
		limit                            int
		again                            float64
	}{
		{"faithful", 0, 0, 0, 0, 0, false, 4000, 0},
		{"repeated", 0, 0, 0.5, 0, 0, false, 4000, 0},
		{"swapped", 0, 0, 0, 0.3, 0, false, 4000, 0},
		{"skewed", 0, 0, 0.2, 0, 0.5, false, 4000, 0},
		{"skewed, few numbers", 0, 0, 0, 0, 0.5, false, 150, 0.5},
		{"lost by some lanes", 0.4, 1, 0.2, 0, 0.5, true, 4000, 0},
		{"lost by some lanes, few numbers", 0.2, 1, 0, 0, 0.5, true, 150, 0},
		{"lossy", 0.2, 0, 0.2, 0.1, 0.2, false, 4000, 0},
		{"silent", 0.2, 1, 0.2, 0.1, 0.2, false, 4000, 0},
		{"few numbers", 0.1, 0.5, 0, 0, 0.2, false, 150, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(60) {
				s := newSim(seed)
				s.lose, s.silent, s.repeat, s.swap, s.skew = c.lose, c.silent, c.repeat, c.swap, c.skew
				s.spare, s.limit, s.again = c.spare, c.limit, c.again
				history(newBench(t, s), c.lose == 0 || c.spare)
			}
		})
	}
}

func history(b *bench, exact bool) {
	b.t.Helper()
	for range 300 {
		b.randomAct()
		switch {
		case b.chance(0.2):
			b.turn()
		case b.chance(0.5):
			b.step(make([]note, 16))
		}
	}
	b.turn()
	b.now = b.now.Add(2 * auditTime)
	b.turn()
	for _, tree := range b.trees {
		if got, want := tree.PIDs(), b.alive(tree.root); !b.ended[tree] && !slices.Equal(got, want) {
			b.t.Fatalf("members of %d: %v, alive %v", tree.root, got, want)
		}
	}
	for pid, p := range b.procs {
		if pid != simSelf && !p.zombie {
			b.exit(pid, 0)
		}
	}
	b.turn()
	b.now = b.now.Add(2 * auditTime)
	b.turn()
	for _, tree := range b.trees {
		if !b.ended[tree] {
			b.t.Fatalf("tree %d is not called empty", tree.root)
		}
		b.account(tree, exact)
	}
	if told := b.count(Fork); exact && told != b.forks {
		b.t.Fatalf("%d births, %d told", b.forks, told)
	}
	if told := b.count(Exec); told > b.execs || exact && b.skew == 0 && told == 0 {
		b.t.Fatalf("%d programs, %d told", b.execs, told)
	}
	for range 2 {
		b.tracker.fold.turn(true) // forgets the dead
	}
	if len(b.procs) != 1 || len(b.tracker.fold.procs) != 0 || len(b.tracker.fold.trees) != 0 {
		b.t.Fatalf("left: %d zombies, %d in the table, %d trees", len(b.procs)-1, len(b.tracker.fold.procs), len(b.tracker.fold.trees))
	}
}

// randomAct lets one thing happen.
func (b *bench) randomAct() {
	if len(b.procs) < 4 || len(b.procs) < 80 && b.chance(0.1) {
		b.launch()
		return
	}
	var pids []int
	for pid := range b.procs {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	p := b.procs[pids[1+b.rng.IntN(len(pids)-1)]]
	switch {
	case p.zombie && p.parent != simSelf:
		delete(b.procs, p.pid) // its parent waits
	case p.zombie:
	case b.chance(0.5) && len(b.procs) < 80:
		b.fork(p.pid)
	case b.chance(0.2):
		b.exec(p.pid)
	default:
		b.exit(p.pid, 0)
	}
}

// count is how many events of a kind were told.
func (b *bench) count(kind Kind) (n int) {
	for _, events := range b.events {
		for _, e := range events {
			if e.Kind == kind {
				n++
			}
		}
	}
	return n
}

// account checks that every process of the tree came and went once.
func (b *bench) account(tree *Tree, exact bool) {
	b.t.Helper()
	alive := map[int]int{} // more than one when a lane is ahead and has lost the older
	for _, e := range b.events[tree] {
		if exact && e.Kind == Lost {
			b.t.Fatalf("nothing was lost, yet: %v", e)
		}
		switch came := e.Kind == Fork || e.Kind == Lost && alive[e.PID] == 0; {
		case e.Kind == Exec:
		case came && alive[e.PID] > 0 && exact:
			b.t.Fatalf("%d came twice:\n%s", e.PID, b.log(tree))
		case came:
			alive[e.PID]++
		case alive[e.PID] == 0:
			b.t.Fatalf("%d went without having come:\n%s", e.PID, b.log(tree))
		default:
			alive[e.PID]--
		}
	}
	if main := b.events[tree][0]; main.PID != tree.root || main.Kind != Fork {
		b.t.Fatalf("the first event is %v", main)
	}
	for pid, n := range alive {
		if n > 0 {
			b.t.Fatalf("%d never went:\n%s", pid, b.log(tree))
		}
	}
}

func TestChildrenOfOthersAreLeftAlone(t *testing.T) {
	b := newBench(t, newSim(1))
	other := b.fork(simSelf) // not by Start
	orphan := b.fork(other)
	tree := b.launch()
	b.turn()
	b.exit(other, 0)
	b.exit(orphan, 0)
	b.turn()
	if b.procs[other] == nil {
		t.Error("somebody else's child was waited for")
	}
	if b.procs[orphan] != nil {
		t.Error("the orphan was left a zombie")
	}
	if got := tree.PIDs(); !slices.Equal(got, []int{tree.root}) {
		t.Errorf("members %v", got)
	}
}

func TestStartThatFails(t *testing.T) {
	b := newBench(t, newSim(1))
	want := errors.New("no such program")
	var pid int
	_, err := b.tracker.launch(func() (int, error) {
		pid = b.fork(simSelf) // syscall.forkExec waits for it itself
		b.turn()
		b.exit(pid, 0)
		return 0, want
	}, nil)
	if !errors.Is(err, want) {
		t.Fatal(err)
	}
	b.turn()
	if b.procs[pid] == nil {
		t.Error("the failed child was waited for")
	}
	if n := len(b.tracker.fold.trees); n != 0 {
		t.Errorf("%d trees are remembered", n)
	}
}

func TestMainEndsBeforeStartReturns(t *testing.T) {
	b := newBench(t, newSim(1))
	tree, err := b.tracker.launch(func() (int, error) {
		pid := b.fork(simSelf)
		b.exit(pid, 5<<8)
		b.turn()
		return pid, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.trees = append(b.trees, tree)
	b.turn()
	if got, want := b.log(tree), "fork 3 of 1\nexit 3 status 5"; got != want || !b.ended[tree] {
		t.Errorf("events %q, ended %v", got, b.ended[tree])
	}
}

func TestSignalAndClose(t *testing.T) {
	b := newBench(t, newSim(1))
	tree := b.launch()
	b.fork(tree.root)
	if err := tree.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.turn()
	if !b.ended[tree] {
		t.Error("killed tree is not called empty")
	}
	if err := tree.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to an ended tree: %v", err)
	}
	other := b.launch()
	for range 2 {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := other.Next(context.Background()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	b.exit(other.root, 0)
	b.trees = b.trees[:1]
	b.turn()
	if b.procs[other.root] != nil {
		t.Error("main of a closed tree was left a zombie")
	}
}

func TestSlowReader(t *testing.T) {
	tree := newTree(nil, 3)
	tree.fate = ours
	for i := range maxQueue + 10 {
		tree.put(Event{Kind: Exec, PID: i})
	}
	tree.put(Event{Kind: Exit, PID: 3, Status: 9})
	tree.end(io.EOF)
	var last [2]Event
	n := 0
	for {
		e, err := tree.Next(context.Background())
		if err == io.EOF {
			break
		}
		last[0], last[1] = last[1], e
		n++
	}
	if want := [2]Event{{Kind: Lost}, {Kind: Exit, PID: 3, Status: 9}}; last != want || n > maxQueue+2 {
		t.Errorf("%d events, the last are %v", n, last)
	}
}

func TestNextWaits(t *testing.T) {
	tree := newTree(nil, 3)
	tree.fate = ours
	got := make(chan string)
	for range 2 {
		go func() {
			e, err := tree.Next(context.Background())
			got <- fmt.Sprint(e.PID, err)
		}()
	}
	tree.put(Event{Kind: Exec, PID: 5})
	tree.end(io.EOF)
	answers := []string{<-got, <-got}
	slices.Sort(answers)
	if want := []string{"0 EOF", "5 <nil>"}; !slices.Equal(answers, want) {
		t.Errorf("got %q", answers)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newTree(nil, 4).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRefusedCommands(t *testing.T) {
	tr := newTracker(newSim(1), simSelf)
	withContext := exec.CommandContext(context.Background(), "/bin/true")
	for _, cmd := range []*exec.Cmd{withContext, {Path: "/bin/true", Stdout: &strings.Builder{}}} {
		if tree, err := tr.Start(cmd); err == nil || tree != nil {
			t.Errorf("%v was started", cmd)
		}
	}
}
