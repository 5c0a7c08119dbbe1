package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/proc"
)

// TestIntegrationIdle: a container in which nothing happens costs no processor
// time, and its run loop has less than 4 MB of memory to itself.
func TestIntegrationIdle(t *testing.T) {
	d := newDaemon(t)
	var loops, all []int
	for i := range 5 {
		name := fmt.Sprintf("idle%d", i)
		d.must("run", "-d", "--name", name, "bb", "sleep", "100000")
		pid, err := strconv.Atoi(strings.TrimSpace(d.must("inspect", "--format", "{{.Pid}}", name)))
		if err != nil {
			t.Fatal(err)
		}
		stub := parent(t, pid)
		loop := parent(t, stub)
		if p, err := proc.Read(loop); err != nil || p.Args[0] != "xc-runloop" {
			t.Fatalf("%d is no run loop: %+v, %v", loop, p, err)
		}
		loops, all = append(loops, loop), append(all, pid, stub, loop)
	}
	time.Sleep(2 * time.Second) // the last has come to rest, and the spare is made
	const span = 3 * time.Second
	before := make([]time.Duration, len(all))
	for i, pid := range all {
		before[i] = ran(t, pid)
	}
	daemon := ran(t, d.cmd.Process.Pid)
	time.Sleep(span)
	for i, pid := range all {
		if took := ran(t, pid) - before[i]; took > 0 {
			t.Errorf("process %d ran for %v in %v", pid, took, span)
		}
	}
	t.Logf("xcd ran for %v in %v", ran(t, d.cmd.Process.Pid)-daemon, span)
	for _, pid := range loops {
		if n := private(t, pid); n > 4<<20 {
			t.Errorf("a run loop has %d KiB to itself", n>>10)
		} else {
			t.Logf("a run loop has %d KiB to itself, its pid 1 %d KiB", n>>10, private(t, child(t, pid, all))>>10)
		}
	}
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	p, err := proc.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p.Parent
}

// child is which of some processes has this parent.
func child(t *testing.T, pid int, of []int) int {
	t.Helper()
	for _, p := range of {
		if parent(t, p) == pid {
			return p
		}
	}
	t.Fatalf("%d has no child", pid)
	return 0
}

// ran is how long all threads of a process have run; Documentation/scheduler/sched-stats.rst.
func ran(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		t.Skipf("no schedstat of process %d (CONFIG_SCHED_INFO): %v", pid, err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}

// private is the memory that a process shares with none, in bytes: proc_pid_smaps_rollup(5).
func private(t *testing.T, pid int) (sum int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] != "Private_Clean:" && f[0] != "Private_Dirty:" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n << 10
	}
	return sum
}
