package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func TestIntegrationRestartContainer(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	script := "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done"
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "r", Image: "root", Command: []string{"sh", "-c", script}}); err != nil {
		t.Fatal(err)
	}
	if err := e.RestartContainer(ctx, "r", api.StopOptions{}); err != nil { // of what never ran: a start
		t.Fatal(err)
	}
	waitLog(t, e, "r", "up\n")
	before, err := e.InspectContainer(ctx, "r")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RestartContainer(ctx, "r", api.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitLog(t, e, "r", "up\nbye\nup\n")
	after, err := e.InspectContainer(ctx, "r")
	if err != nil || after.State != api.StateRunning || !after.Started.After(before.Started) {
		t.Errorf("restarted: %+v, %v", after, err)
	}
	if err := e.RestartContainer(ctx, "nosuch", api.StopOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restart of nothing: %v", err)
	}
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "gone", Image: "root", AutoRemove: true}); err != nil {
		t.Fatal(err)
	}
	if err := e.RestartContainer(ctx, "gone", api.StopOptions{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("restart of what removes itself: %v", err)
	}
}

// Nobody slips in between the stop and the start of a restart, and a caller who
// goes away does not leave the container stopped.
func TestIntegrationRestartIsOne(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	c := start(t, e, api.ContainerSpec{Name: "r", Image: "root", Command: []string{"sh", "-c", "trap 'sleep 0.2; exit' TERM; echo up; while :; do sleep 0.05; done"}})
	waitLog(t, e, "r", "up\n")
	ended := make(chan error, 1)
	go func() {
		_, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{Condition: api.WaitNextExit})
		ended <- err
	}()
	before, err := e.InspectContainer(ctx, "r")
	if err != nil {
		t.Fatal(err)
	}
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	restarted := make(chan error, 1)
	go func() { restarted <- e.RestartContainer(leaving, "r", api.StopOptions{}) }()
	time.Sleep(50 * time.Millisecond)
	leave()
	others := make(chan error, 8)
	for i := range cap(others) {
		go func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond)
			if i%2 == 0 {
				others <- e.StartContainer(ctx, "r", api.StartOptions{})
			} else {
				others <- e.RemoveContainer(ctx, "r", api.RemoveOptions{})
			}
		}()
	}
	for range cap(others) {
		if err := <-others; err == nil || !strings.Contains(err.Error(), "is running") {
			t.Errorf("another client: %v", err)
		}
	}
	if err := <-restarted; err != nil {
		t.Errorf("restart: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	after, err := e.InspectContainer(ctx, "r")
	if err != nil || after.State != api.StateRunning || !after.Started.After(before.Started) {
		t.Errorf("restarted: %+v, %v", after, err)
	}
}

func TestIntegrationRename(t *testing.T) {
	dir := shortTempDir(t)
	needRoot(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: name, Image: "root", Command: []string{"sleep", "1000"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.StartContainer(ctx, "a", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		from, to string
		want     error
	}{
		{"a", "b", fs.ErrExist}, {"nosuch", "c", fs.ErrNotExist}, {"a", "no/name", fs.ErrInvalid}, {"a", "a", nil}, {"a", "web", nil},
	} {
		if err := e.RenameContainer(ctx, tc.from, tc.to); !errors.Is(err, tc.want) {
			t.Errorf("%s to %s: %v, want %v", tc.from, tc.to, err, tc.want)
		}
	}
	// The name is free for another, and lasts.
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "a", Image: "root"}); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	c, err := e.InspectContainer(ctx, "web")
	if err != nil || c.Name != "web" || c.State != api.StateRunning {
		t.Errorf("after another Open: %+v, %v", c, err)
	}
}

func TestIntegrationProcesses(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "p", Image: "root", User: "12:34", Command: []string{"sh", "-c", "sleep 1000 & echo up; wait"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ContainerProcesses(ctx, "p"); err == nil {
		t.Error("processes of what does not run")
	}
	if err := e.StartContainer(ctx, "p", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	waitLog(t, e, "p", "up\n")
	var list []api.Process
	until(t, "sleep to run", func() bool { // it may still be the shell's child that is to become it
		var err error
		list, err = e.ContainerProcesses(ctx, "p")
		if err != nil || len(list) > 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		return slices.ContainsFunc(list, func(p api.Process) bool { return len(p.Args) > 0 && p.Args[0] == "sleep" })
	})
	c, err := e.InspectContainer(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	main, child := list[0], list[1]
	if main.PID != c.Pid {
		main, child = child, main
	}
	if main.PID != c.Pid || child.Parent != main.PID || child.UID != 12 || len(child.Args) == 0 || child.Args[len(child.Args)-1] != "1000" {
		t.Errorf("main %d: %+v", c.Pid, list)
	}
}
