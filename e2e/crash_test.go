package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/internal/testprograms"
)

// TestIntegrationKilledAtRandom kills xcd with SIGKILL again and again while
// it creates, runs, stops and removes containers. The containers that run go
// on, the next xcd finds them and the ends it has missed, and nothing leaks.
// XC_TEST_KILLS sets how often; 25 by default.
func TestIntegrationKilledAtRandom(t *testing.T) {
	d := newDaemon(t)
	kills := 25
	if n, err := strconv.Atoi(os.Getenv("XC_TEST_KILLS")); err == nil {
		kills = n
	}
	d.must("run", "-d", "--name", "keeper", "bb", "sh", "-c", "echo up; sleep 100000")
	pid := d.must("inspect", "--format", "{{.Pid}}", "keeper")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range kills {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("coder%d", i)
		code := 1 + rnd.IntN(100)
		run := d.command("run", "-i", "--name", name, "bb", "sh", "-c", fmt.Sprintf("read x; exit %d", code))
		run.Stdin = r
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		waitRunning(t, d, name)

		var wg sync.WaitGroup
		for _, args := range [][]string{
			{"run", "--rm", "bb", "true"},
			{"run", "-d", "--name", fmt.Sprintf("x%d", i), "bb", "sleep", "1000"},
			{"stop", "-t", "0", fmt.Sprintf("x%d", i-1)},
			{"rm", "-f", fmt.Sprintf("x%d", i-2)},
		} {
			wg.Go(func() { d.xc(args...) }) // may fail: its daemon dies
		}
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond) // anywhere in the midst of it
		d.kill(syscall.SIGKILL)
		io.WriteString(w, "\n") //nolint:errcheck // main ends while no daemon runs
		w.Close()
		d.start()
		testprograms.Within(t, "commands of a daemon that was killed", wg.Wait)
		testprograms.Within(t, "the end of a container", func() { run.Wait() }) //nolint:errcheck // the code is looked at
		if got := run.ProcessState.ExitCode(); got != code {
			t.Errorf("kill %d: xc run of %s ended with %d, want %d", i, name, got, code)
		}
		if got := strings.TrimSpace(d.must("wait", name)); got != strconv.Itoa(code) {
			t.Errorf("kill %d: %s exited with %s, want %d", i, name, got, code)
		}
		d.must("rm", name)
		if got := d.must("inspect", "--format", "{{.Pid}}", "keeper"); got != pid {
			t.Fatalf("kill %d: keeper has pid %q, had %q", i, got, pid)
		}
	}
	// Nothing is left of what was to remove itself and has run; one that was
	// created only waits for its start, or its removal.
	for line := range strings.Lines(d.must("ps", "-a", "--format", "{{.Names}} {{.State}}")) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "xc-") && state != "created" {
			t.Errorf("%s is left, %s", name, state)
		}
	}
	if out := d.must("exec", "keeper", "echo", "there"); out != "there\n" {
		t.Errorf("exec: %q", out)
	}
	if out := d.must("logs", "keeper"); out != "up\n" {
		t.Errorf("logs: %q", out)
	}
}

func waitRunning(t *testing.T, d *daemon, name string) {
	t.Helper()
	testprograms.Within(t, "the start of "+name, func() {
		for {
			out, _, _ := d.xc("inspect", "--format", "{{.State}} {{if .Exit}}{{.Exit.Error}}{{end}}", name)
			if out == "running \n" {
				return
			}
			if strings.HasPrefix(out, "exited") {
				t.Errorf("%s: %s", name, out)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// TestIntegrationTwoDaemons: two engines with two state directories never
// touch each other's containers, also while one recovers.
func TestIntegrationTwoDaemons(t *testing.T) {
	a, b := newDaemon(t), newDaemon(t)
	a.must("run", "-d", "--name", "same", "bb", "sleep", "1000")
	b.must("run", "-d", "--name", "same", "bb", "sleep", "1000")
	pid := b.must("inspect", "--format", "{{.Pid}}", "same")
	for range 3 {
		a.kill(syscall.SIGKILL)
		a.start()
		if got := b.must("inspect", "--format", "{{.Pid}} {{.State}}", "same"); got != strings.TrimSpace(pid)+" running\n" {
			t.Errorf("the other's container is %q", got)
		}
	}
	a.must("rm", "-f", "same")
	if out := b.must("exec", "same", "echo", "here"); out != "here\n" {
		t.Errorf("exec in the other's container: %q", out)
	}
	// A second daemon on the same state says who has it.
	cmd := a.second()
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), strconv.Itoa(a.cmd.Process.Pid)) || !strings.Contains(string(out), a.socket()) {
		t.Errorf("a second xcd on the same state: %v: %s", err, out)
	}
}
