package engine_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// Several clients that come in the middle get all that follows, with replay all
// that was before, and the last line.
func TestIntegrationAttach(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	const script = "stty -onlcr 2>/dev/null; echo before; while ! test -e /go; do sleep 0.05; done; i=0; while test $i -lt 300; do i=$((i+1)); echo $i; done; printf last; exit 4"
	var after strings.Builder
	for i := range 300 {
		fmt.Fprintln(&after, i+1)
	}
	after.WriteString("last")
	for name, terminal := range map[string]bool{"terminal": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: name, Image: "root", Terminal: terminal, Command: []string{"sh", "-c", script}}); err != nil {
				t.Fatal(err)
			}
			if err := e.StartContainer(ctx, name, api.StartOptions{}); err != nil {
				t.Fatal(err)
			}
			waitLog(t, e, name, "before\n")
			if c, err := e.InspectContainer(ctx, name); err != nil || c.OpenStdin {
				t.Errorf("%+v, %v", c, err)
			}
			type client struct {
				replay bool
				out    *os.File
				ended  chan error
			}
			var clients []client
			for i := range 4 {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				c := client{i%2 == 0, r, make(chan error, 1)}
				clients = append(clients, c)
				go func() {
					c.ended <- e.AttachContainer(ctx, name, api.AttachOptions{Stdio: api.Stdio{Stdout: w}, Replay: c.replay})
					w.Close()
				}()
				if c.replay { // it is there when it has got something
					b := make([]byte, len("before\n"))
					if _, err := io.ReadFull(r, b); err != nil || string(b) != "before\n" {
						t.Fatalf("replayed %q, %v", b, err)
					}
				}
			}
			if _, err := e.ExecContainer(ctx, name, api.ExecOptions{Args: []string{"sh", "-c", "sleep 0.5; touch /go"}}); err != nil { // the others are there by then
				t.Fatal(err)
			}
			for i, c := range clients {
				got, err := io.ReadAll(c.out)
				if err != nil || string(got) != after.String() {
					t.Errorf("client %d (replay %v): %v, %d bytes, the last %q", i, c.replay, err, len(got), got[max(0, len(got)-10):])
				}
				if err := <-c.ended; err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
			if exit, err := e.WaitContainer(ctx, name, api.WaitOptions{}); err != nil || exit.Code != 4 {
				t.Errorf("%+v, %v", exit, err)
			}
			if got := logs(t, e, name); got != "before\n"+after.String() {
				t.Errorf("log of %d bytes", len(got))
			}
		})
	}
}

// A command beside main that goes with its container was killed: nothing else is told
// of it, whoever notices first.
func TestIntegrationExecGoesWithItsContainer(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for range 4 {
		c := running(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: []string{"sh", "-c", "echo; exec sleep 1000"}, Stdio: api.Stdio{Stdout: w}})
				if err != nil || exit.Code != 137 || exit.Signal != "KILL" || exit.Error != "" {
					t.Errorf("exec: %+v, %v", exit, err)
				}
			})
		}
		if _, err := io.ReadFull(r, make([]byte, 6)); err != nil { // they run
			t.Error(err)
		}
		if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
		all.Wait()
		r.Close()
		w.Close()
	}
}

// Whether main reads what is attached to it is told before.
func TestIntegrationAttachStdin(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, open := range []bool{false, true} {
		c := start(t, e, api.ContainerSpec{Image: "root", OpenStdin: open, Command: []string{"sh", "-c", "read line; echo got $line; sleep 1000"}})
		if now, err := e.InspectContainer(t.Context(), c.ID); err != nil || now.OpenStdin != open {
			t.Errorf("open %v: %+v, %v", open, now, err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		ended := make(chan error, 1)
		go func() { ended <- e.AttachContainer(t.Context(), c.ID, api.AttachOptions{Stdio: api.Stdio{Stdin: r}}) }()
		if !open {
			if err := <-ended; !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("attached a stdin that nobody reads: %v", err)
			}
			continue
		}
		if _, err := fmt.Fprintln(w, "a line"); err != nil {
			t.Fatal(err)
		}
		waitLog(t, e, c.ID, "got a line\n")
		if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
