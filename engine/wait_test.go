package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func TestIntegrationWaitConditions(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	type answer struct {
		exit api.Exit
		err  error
	}
	wait := func(condition string) <-chan answer {
		a := make(chan answer, 1)
		go func() {
			exit, err := e.WaitContainer(ctx, "w", api.WaitOptions{Condition: condition})
			a <- answer{exit, err}
		}()
		return a
	}
	expect := func(what string, a <-chan answer, code int) {
		t.Helper()
		select {
		case got := <-a:
			if got.err != nil || got.exit.Code != code {
				t.Errorf("%s: %+v, want code %d", what, got, code)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: no answer", what)
		}
	}
	pending := func(what string, a <-chan answer) {
		t.Helper()
		select {
		case got := <-a:
			t.Errorf("%s: answered at once: %+v", what, got)
		case <-time.After(50 * time.Millisecond):
		}
	}
	script := "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "w", Image: "root", Command: []string{"sh", "-c", script}}); err != nil {
		t.Fatal(err)
	}
	// It never ran.
	expect("not running, created", wait(api.WaitNotRunning), 0)
	ended, next, removed := wait(""), wait(api.WaitNextExit), wait(api.WaitRemoved)
	for what, a := range map[string]<-chan answer{"end": ended, "next": next, "removed": removed} {
		pending(what, a)
	}
	for i := range 2 {
		if err := e.StartContainer(ctx, "w", api.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		not := wait(api.WaitNotRunning)
		pending("not running, running", not)
		waitLog(t, e, "w", strings.Repeat("up\n", i+1)) // the trap is set
		if err := e.StopContainer(ctx, "w", api.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("not running", not, 5)
		expect("next exit", next, 5)
		expect("not running, exited", wait(api.WaitNotRunning), 5)
		next = wait(api.WaitNextExit)
		pending("next exit, exited", next)
	}
	expect("end", ended, 5)
	// Who asks again does not miss what came between the questions.
	exit, err := e.WaitContainer(ctx, "w", api.WaitOptions{Condition: api.WaitNextExit, Since: time.Now().Add(-time.Minute)})
	if err != nil || exit.Code != 5 {
		t.Errorf("next exit since a minute: %+v, %v", exit, err)
	}
	pending("removed", removed)
	if err := e.RemoveContainer(ctx, "w", api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("removed", removed, 5)
	if got := <-next; !errors.Is(got.err, fs.ErrNotExist) {
		t.Errorf("next exit of what is removed: %+v", got)
	}
	if _, err := e.WaitContainer(ctx, "w", api.WaitOptions{Condition: "healthy"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a condition there is not: %v", err)
	}
	// One that removes itself is remembered by its id.
	c := start(t, e, api.ContainerSpec{Image: "root", AutoRemove: true, Command: []string{"sh", "-c", "exit 9"}})
	for range 2 {
		if exit, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{Condition: api.WaitRemoved}); err != nil || exit.Code != 9 {
			t.Errorf("removed by itself: %+v, %v", exit, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "w", Image: "root"}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.WaitContainer(ctx, "w", api.WaitOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
}
