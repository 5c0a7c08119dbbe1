package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// The crash test runs a container's life in a process of its own, which kills
// itself at the n-th point where it matters; then another engine opens the
// same state, and nothing may be left but what the records tell.

// crashJob is what the helper process is to do.
type crashJob struct {
	Dir  string
	Kill int // at the n-th point, from 1; 0: print the points instead
}

const crashEnv = "XC_TEST_CRASH"

// crashHelper is the helper process.
func crashHelper() bool {
	text, ok := os.LookupEnv(crashEnv)
	if !ok {
		return false
	}
	var job crashJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		panic(err)
	}
	var n atomic.Int64
	c := config(job.Dir)
	c.Trace = func(point string) {
		switch i := n.Add(1); {
		case job.Kill == 0:
			fmt.Println(point)
		case int(i) == job.Kill:
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it cannot fail
			select {}
		}
	}
	e, err := engine.Open(context.Background(), c)
	if err == nil {
		err = crashLife(e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// crashLife is create, start, stop and remove.
func crashLife(e *engine.Engine) error {
	ctx := context.Background()
	c, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "c", Image: "root", Command: []string{"sleep", "1000"}})
	if err != nil {
		return err
	}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{}); err != nil {
		return err
	}
	now := 0
	if err := e.StopContainer(ctx, c.ID, api.StopOptions{Timeout: &now}); err != nil {
		return err
	}
	return e.RemoveContainer(ctx, c.ID, api.RemoveOptions{})
}

func runCrashJob(t *testing.T, job crashJob) (out string, killed bool) {
	t.Helper()
	b, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(b))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return string(stdout), true
	}
	if err != nil {
		t.Fatalf("crash helper: %v: %s", err, stderr.String())
	}
	return string(stdout), false
}

func TestIntegrationCrashAtEveryPoint(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	out, _ := runCrashJob(t, crashJob{Dir: dir})
	var points []string
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		points = append(points, s.Text())
	}
	if len(points) < 20 {
		t.Fatalf("only %d points: %q", len(points), points)
	}
	for i, point := range points {
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			if _, killed := runCrashJob(t, crashJob{Dir: dir, Kill: i + 1}); !killed {
				t.Fatal("the process was not killed: the points are not the same each time")
			}
			e := openEngine(t, dir, nil)
			closeClean(t, e)
		})
	}
}
