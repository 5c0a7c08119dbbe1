package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// The log of a container is bounded by size and number of its files, whoever follows
// it misses nothing of what is rotated away meanwhile, and it goes with its container.
func TestIntegrationLogRotation(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	c := config(dir)
	c.LogMax, c.LogFiles, c.Report = 50_000, 3, func(err error) { t.Errorf("reported: %v", err) }
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer closeClean(t, e)
	importRoot(t, e, "root")
	const chunk, last = 500, 8000
	begin := time.Now()
	// It writes a piece whenever it is told to, so that who follows is never far behind.
	script := fmt.Sprintf("i=0; while read x; do while i=$((i+1)); echo line $i; test $((i%%%d)) -ne 0; do :; done; done; echo err >&2", chunk)
	in, more, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	startWith(t, e, api.ContainerSpec{Name: "l", Image: "root", Command: []string{"sh", "-c", script}}, api.StartOptions{Stdio: api.Stdio{Stdin: in}})
	in.Close()
	fmt.Fprintln(more)
	followed := lines(t, e, api.LogOptions{Follow: true}, func(line string) {
		switch n, _ := strconv.Atoi(strings.TrimPrefix(line, "line ")); {
		case n == last:
			more.Close()
		case n > 0 && n%chunk == 0:
			fmt.Fprintln(more)
		}
	})
	if got := followed[len(followed)-1]; got != "err" || len(followed) != last+1 {
		t.Errorf("followed %d lines, to %q", len(followed), got)
	}
	consecutive(t, followed[:len(followed)-1], last)
	files, err := filepath.Glob(filepath.Join(dir, "state/logs/*"))
	if err != nil || len(files) != 3 {
		t.Errorf("log files: %q, %v", files, err)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || fi.Size() > c.LogMax+1000 {
			t.Errorf("%s: %v, %v", f, fi, err)
		}
	}
	kept := lines(t, e, api.LogOptions{})
	consecutive(t, kept[:len(kept)-1], last)
	if len(kept) < 2*chunk || len(kept) >= last {
		t.Errorf("%d lines are kept", len(kept))
	}
	tail := 3
	if got := strings.Join(lines(t, e, api.LogOptions{Tail: &tail}), ","); got != fmt.Sprintf("line %d,line %d,err", last-1, last) {
		t.Errorf("tail: %s", got)
	}
	if got := lines(t, e, api.LogOptions{Until: begin}); len(got) > 0 {
		t.Errorf("until the begin: %q", got)
	}
	if got := lines(t, e, api.LogOptions{Since: time.Now()}); len(got) > 0 {
		t.Errorf("since now: %q", got)
	}
	if err := e.RemoveContainer(t.Context(), "l", api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "state/logs/*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// Who follows the log of a container that has not run yet sees all of it: what its
// init commands say, too.
func TestIntegrationFollowFromTheBeginning(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{
		Name: "l", Image: "root", Command: []string{"sh", "-c", "sleep 0.2; echo main"},
		InitCommands: &[]api.Command{{Args: []string{"sh", "-c", "echo init; sleep 0.5"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan []string, 1)
	go func() { followed <- lines(t, e, api.LogOptions{Follow: true}) }()
	time.Sleep(50 * time.Millisecond) // it does no harm if that is too short
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(<-followed, ","); got != "init,main" {
		t.Errorf("followed %q", got)
	}
}

// lines are those of the log of l, of which each is told as well.
func lines(t *testing.T, e api.Engine, opt api.LogOptions, tell ...func(line string)) (list []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	part := ""
	err := e.ContainerLogs(ctx, "l", opt, func(l api.LogEntry) error {
		part += string(l.Data)
		for {
			line, rest, ok := strings.Cut(part, "\n")
			if !ok {
				return nil
			}
			list, part = append(list, line), rest
			for _, f := range tell {
				f(line)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// consecutive looks that lines are "line N", one after the other, up to the last.
func consecutive(t *testing.T, list []string, last int) {
	t.Helper()
	for i, l := range list {
		n, err := strconv.Atoi(strings.TrimPrefix(l, "line "))
		if want := last - len(list) + 1 + i; err != nil || n != want {
			t.Fatalf("line %d of %d is %q, want line %d", i, len(list), l, want)
		}
	}
}

// Whether a process has dumped core is told as it was.
func TestIntegrationCoreFlag(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	// Whether this host keeps a core where the process was.
	oracle := exec.Command("sh", "-c", "ulimit -c unlimited; kill -SEGV $$")
	oracle.Dir = t.TempDir()
	if err := oracle.Run(); err == nil {
		t.Fatal("nothing has crashed")
	}
	dumps := oracle.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
	for _, tc := range []struct {
		limit int64
		sig   string
		core  bool
	}{{0, "SEGV", false}, {1 << 30, "SEGV", dumps}, {1 << 30, "KILL", false}, {1 << 30, "TERM", false}} {
		spec := api.ContainerSpec{WorkDir: "/tmp", Limits: api.Limits{Ulimits: []api.Ulimit{{Name: "core", Soft: tc.limit, Hard: tc.limit}}}}
		_, exit := sh(t, e, spec, "kill -"+tc.sig+" $$; exit 1")
		if exit.Signal != tc.sig || exit.Core != tc.core {
			t.Errorf("core limit %d, %s: %+v", tc.limit, tc.sig, exit)
		}
	}
}
