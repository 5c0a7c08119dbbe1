package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/proc"
)

// runLoop climbs from main to the run loop, whose arguments name the container.
func runLoop(t *testing.T, c api.Container) int {
	t.Helper()
	for pid := c.Pid; pid > 1; {
		p, err := proc.Read(pid)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(p.Args, c.ID) {
			return pid
		}
		pid = p.Parent
	}
	t.Fatalf("main %d has no run loop above it", c.Pid)
	return 0
}

// A run loop that is killed takes its container with it, which says so, and can
// be started again.
func TestIntegrationRunLoopKilled(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "l", Image: "root", Command: []string{"sh", "-c", "sleep 1000 & echo up; wait"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.StartContainer(ctx, "l", api.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		c, err := e.InspectContainer(ctx, "l")
		if err != nil {
			t.Fatal(err)
		}
		before, err := e.ContainerProcesses(ctx, "l")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(runLoop(t, c), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		exit, err := e.WaitContainer(ctx, "l", api.WaitOptions{})
		if err != nil || exit.Code != 137 || !exit.Lost {
			t.Errorf("the end: %+v, %v", exit, err)
		}
		for _, p := range before {
			until(t, fmt.Sprintf("process %d to be gone", p.PID), func() bool {
				now, err := proc.Read(p.PID)
				return errors.Is(err, fs.ErrNotExist) || err == nil && (!now.Started.Equal(p.Started) || now.State == 'Z')
			})
		}
	}
	const want = "l.start l.lost(137) l.start l.lost(137)"
	if got := happened(t, e, api.EventOptions{Filters: []string{"container=l", "action=start", "action=exit", "action=lost"}}); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// A container that removes itself and never ran is remembered by its id, too.
func TestIntegrationNeverRanIsRemembered(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"nosuch"}, AutoRemove: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); !errors.Is(err, api.ErrCommandNotFound) {
		t.Fatal(err)
	}
	if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 127 || exit.Error == "" {
		t.Errorf("%+v, %v", exit, err)
	}
}

// until waits for what is done in the background.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}
