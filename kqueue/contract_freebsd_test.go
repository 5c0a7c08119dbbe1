package kqueue_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel promises of EVFILT_PROC and NOTE_TRACK, asked of the kernel
// itself: no Tracker is here. The behaviours are those that FreeBSD's own suite
// expects, tests/sys/kqueue/libkqueue/proc.c, and some more of the same kind that
// a Tracker relies on. Three things are less than what proc.c could be read to
// promise, and are expected as the kernel does them:
//
//   - A note that has not been read gathers what comes: a fork, a program and the
//     end of one process may come as one event, forks are not to be counted by
//     NOTE_FORK. Only NOTE_CHILD always comes alone.
//   - NOTE_CHILD comes once for a child of a process that is watched by its
//     number, which is the case in proc.c. When the parent was itself announced by
//     NOTE_CHILD, and that had not been read yet, it comes twice.
//   - proc.c has one thread that forks. What the kernel loses when several threads of
//     a process fork at once is a matter of TestEveryForkIsTold.
const contractNotes = unix.NOTE_TRACK | unix.NOTE_EXEC | unix.NOTE_EXIT | unix.NOTE_FORK

const (
	contractSilence  = 200 * time.Millisecond // in which nothing comes that ought not to
	contractPatience = 20 * time.Second
)

// contract is one kqueue, and a shell that waits for a line to begin.
type contract struct {
	*testing.T
	kq     int
	cmd    *exec.Cmd
	hold   *os.File // a line lets the script begin, to close it lets its readers go on
	alive  *os.File // end-of-file once no process is left
	events []unix.Kevent_t
}

func newContract(t *testing.T) *contract {
	t.Helper()
	kq, err := unix.Kqueue()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Close(kq); err != nil {
			t.Error(err)
		}
	})
	return &contract{T: t, kq: kq}
}

// start starts a script. Background commands of sh(1) have no stdin: 3 is it.
func (c *contract) start(script string) {
	c.Helper()
	in, hold, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	alive, out, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	c.hold, c.alive = hold, alive
	c.cmd = exec.Command("/bin/sh", "-c", "exec 3<&0; echo; read begin; "+script)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = in, out, os.Stderr
	if err := c.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		_, _, _ = hold.Close(), alive.Close(), c.cmd.Process.Kill()
		_ = c.cmd.Wait() // how it ended was told
	})
	in.Close()
	out.Close()
	// The program is there before execve(2) has told of it.
	if _, err := io.ReadFull(alive, make([]byte, 1)); err != nil {
		c.Fatal(err)
	}
}

func (c *contract) pid() int { return c.cmd.Process.Pid }

func (c *contract) change(pid int, flags uint16, notes uint32) error {
	return change(c.kq, unix.Kevent_t{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: flags, Fflags: notes})
}

func change(kq int, ev unix.Kevent_t) error {
	_, err := unix.Kevent(kq, []unix.Kevent_t{ev}, nil, nil)
	return err
}

func (c *contract) watch(pid int) {
	c.Helper()
	if err := c.change(pid, unix.EV_ADD|unix.EV_ENABLE, contractNotes); err != nil {
		c.Fatal(err)
	}
}

func (c *contract) begin() {
	c.Helper()
	if _, err := c.hold.WriteString("\n"); err != nil {
		c.Fatal(err)
	}
}

func (c *contract) release() { c.hold.Close() }

// ended waits until all processes have ended: those that hold the pipe, and a
// moment more, in which their ends are told.
func (c *contract) ended() {
	c.Helper()
	if err := c.alive.SetReadDeadline(time.Now().Add(contractPatience)); err != nil {
		c.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c.alive); err != nil {
		c.Fatal(err)
	}
	time.Sleep(contractSilence)
}

// take reads one event at a time, so that they are in order, until there has been
// silence.
func (c *contract) take(silence time.Duration) (n int) {
	c.Helper()
	timeout := unix.NsecToTimespec(int64(silence))
	for {
		var ev [1]unix.Kevent_t
		k, err := unix.Kevent(c.kq, nil, ev[:], &timeout)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			c.Fatal(err)
		case k == 0:
			return n
		}
		n++
		c.events = append(c.events, ev[0])
	}
}

// told is what all events say of one process.
type told struct {
	births   int
	parent   int
	children []int // in the order of their births
	flags    uint32
	exits    int
	status   unix.WaitStatus
}

// stories checks what is true of the events of any processes, and gathers them.
// The processes in numbers are watched by their number.
func (c *contract) stories(numbers ...int) map[int]*told {
	c.Helper()
	all := map[int]*told{}
	of := func(pid int) *told {
		if all[pid] == nil {
			all[pid] = &told{}
		}
		return all[pid]
	}
	for _, pid := range numbers {
		of(pid).births = -1 // announced by nobody
	}
	for _, ev := range c.events {
		pid, s := int(ev.Ident), of(int(ev.Ident))
		switch {
		case ev.Filter != unix.EVFILT_PROC || ev.Fflags == 0 || ev.Fflags&unix.NOTE_TRACKERR != 0:
			c.Errorf("event %+v", ev)
		case s.exits > 0:
			c.Errorf("%d: %#x after its end", pid, ev.Fflags)
		case ev.Fflags&unix.NOTE_CHILD != 0:
			c.birth(of(int(ev.Data)), s, ev)
			continue
		case s.births == 0:
			c.Errorf("%d: %#x of a process of which no birth was told", pid, ev.Fflags)
		}
		s.flags |= ev.Fflags
		if ev.Fflags&unix.NOTE_EXIT != 0 {
			s.exits++
			s.status = unix.WaitStatus(ev.Data)
		}
	}
	return all
}

func (c *contract) birth(parent, s *told, ev unix.Kevent_t) {
	c.Helper()
	pid := int(ev.Ident)
	switch {
	case ev.Fflags != unix.NOTE_CHILD: // and so never with NOTE_EXIT
		c.Errorf("%d: NOTE_CHILD comes with others: %#x", pid, ev.Fflags)
	case s.births > 0 && (s.parent != int(ev.Data) || parent.births < 0):
		c.Errorf("%d: born again, of %d", pid, ev.Data)
	case s.births < 0:
		c.Errorf("%d: NOTE_CHILD of what is watched by number", pid)
	case s.births == 0:
		parent.children = append(parent.children, pid)
	}
	s.births++
	s.parent = int(ev.Data)
}

// tree writes what was told of a process, and of those it forked in brackets.
func tree(all map[int]*told, pid int) string {
	s := all[pid]
	var words []string
	for _, f := range []struct {
		flag uint32
		word string
	}{{unix.NOTE_FORK, "fork"}, {unix.NOTE_EXEC, "exec"}} {
		if s.flags&f.flag != 0 {
			words = append(words, f.word)
		}
	}
	switch {
	case s.exits == 0:
	case s.status.Signaled():
		words = append(words, fmt.Sprintf("signal=%d", s.status.Signal()))
	default:
		words = append(words, fmt.Sprintf("exit=%d", s.status.ExitStatus()))
	}
	for _, child := range s.children {
		words = append(words, "("+tree(all, child)+")")
	}
	return strings.Join(words, " ")
}

func TestContractTrack(t *testing.T) {
	for _, b := range []struct{ name, script, want string }{
		{"child ends", `exit 3`, "exit=3"},
		{"child is killed", `kill -9 $$`, "signal=9"},
		{"child becomes another program", `exec sh -c "exit 4"`, "exec exit=4"},
		{"grandchild ends at once, as child does", `(exit 1) & exit 0`, "fork exit=0 (exit=1)"},
		{"grandchild ends late, as child does", `(read x <&3; exit 1) & read x; exit 0`, "fork exit=0 (exit=1)"},
		{"child ends before grandchild", `(read x <&3; exit 1) & exit 0`, "fork exit=0 (exit=1)"},
		{"grandchild becomes another program", `(exec sh -c "exit 2") & wait; exit 0`, "fork exit=0 (exec exit=2)"},
		{"grandchild of vfork", `sh -c "exit 5"; exit 6`, "fork exit=6 (exec exit=5)"},
		{"grandchildren in turn", `(exit 1); (exit 2); exit 0`, "fork exit=0 (exit=1) (exit=2)"},
		{"great-grandchild", `( (exit 2) & wait; exit 1 ) & wait; exit 0`, "fork exit=0 (fork exit=1 (exit=2))"},
		{"orphan", `( (read x <&3; exit 2) & exit 1 ) & wait; exit 0`, "fork exit=0 (fork exit=1 (exit=2))"},
	} {
		for _, watch := range []string{"by number", "from birth"} {
			for _, reading := range []string{"at once", "late"} {
				t.Run(b.name+"/"+watch+"/read "+reading, func(t *testing.T) {
					for range 2 {
						track(t, b.script, b.want, watch == "from birth", reading == "late")
					}
				})
			}
		}
	}
}

// track expects the kernel to tell want of a script. From birth the test's own
// process is watched, as by a Tracker, and else the child. Late is to read
// nothing before all have ended.
func track(t *testing.T, script, want string, fromBirth, late bool) {
	t.Helper()
	c := newContract(t)
	watched := os.Getpid()
	if fromBirth {
		c.watch(watched)
		c.start(script)
	} else {
		c.start(script)
		watched = c.pid()
		c.watch(watched)
	}
	if !late {
		c.take(0)
	}
	c.begin()
	if !late {
		c.take(contractSilence)
	}
	c.release()
	c.ended()
	c.take(contractSilence)
	all := c.stories(watched)
	if fromBirth {
		self := all[watched]
		if self.flags != unix.NOTE_FORK || len(self.children) != 1 || self.children[0] != c.pid() {
			t.Fatalf("of the test itself: %+v", self)
		}
		want = asShell(want)
	}
	if got := tree(all, c.pid()); got != want {
		t.Errorf("told: %s, want %s; events %+v", got, want, c.events)
	}
}

// asShell adds the program that a child becomes by its start.
func asShell(want string) string {
	fork, rest := "", want
	if after, ok := strings.CutPrefix(want, "fork "); ok {
		fork, rest = "fork ", after
	}
	return fork + "exec " + strings.TrimPrefix(rest, "exec ")
}

// What was asked for no more is not told.
func TestContractDelete(t *testing.T) {
	for _, notes := range []uint32{0, contractNotes} {
		c := newContract(t)
		c.start(`exit 0`)
		if err := c.change(c.pid(), unix.EV_ADD, notes); err != nil {
			t.Fatal(err)
		}
		if n := c.take(contractSilence); n != 0 {
			t.Errorf("before anything has happened: %+v", c.events)
		}
		if err := c.change(c.pid(), unix.EV_DELETE, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.ended()
		if n := c.take(contractSilence); n != 0 {
			t.Errorf("after EV_DELETE: %+v", c.events)
		}
	}
}

// EV_DELETE is of one process: what it has forked is followed still.
func TestContractDeleteKeepsDescendants(t *testing.T) {
	c := newContract(t)
	c.start(`(read x <&3; exit 1) & read x; exit 0`)
	c.watch(c.pid())
	c.begin()
	deadline := time.Now().Add(contractPatience)
	for births := 0; births == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("no birth is told: %+v", c.events)
		}
		c.take(contractSilence)
		births = len(c.stories(c.pid())[c.pid()].children)
	}
	if err := c.change(c.pid(), unix.EV_DELETE, 0); err != nil {
		t.Fatal(err)
	}
	c.release()
	c.ended()
	c.take(contractSilence)
	if got, want := tree(c.stories(c.pid()), c.pid()), "fork (exit=1)"; got != want {
		t.Errorf("told: %s, want %s", got, want)
	}
}

// A zombie that is watched tells its end at once, and one that was waited for is
// not there.
func TestContractLate(t *testing.T) {
	c := newContract(t)
	c.start(`exit 3`)
	c.begin()
	c.ended()
	c.watch(c.pid())
	c.take(contractSilence)
	if got := tree(c.stories(c.pid()), c.pid()); got != "exit=3" {
		t.Errorf("told of a zombie: %q", got)
	}
	_ = c.cmd.Wait() // status 3
	if err := c.change(c.pid(), unix.EV_ADD, contractNotes); err != unix.ESRCH {
		t.Errorf("what was waited for can be watched: %v", err)
	}
}

// A kqueue is not inherited by fork(2).
func TestContractNotInherited(t *testing.T) {
	c := newContract(t)
	if flags, err := unix.FcntlInt(uintptr(c.kq), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Fatalf("the kqueue is closed by exec: %v, %v", flags, err)
	}
	out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf(": <&%d", c.kq)).CombinedOutput()
	if err == nil {
		t.Errorf("a child has the kqueue: %s", out)
	}
}
