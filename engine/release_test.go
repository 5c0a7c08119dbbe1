package engine_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/site/control"
)

// reports collects what an engine reports.
type reports struct {
	mu   sync.Mutex
	list []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, err)
}

func (r *reports) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprint(errors.Join(r.list...))
	r.list = nil
	return text
}

// A record that a later release has written keeps its name: nobody else gets it, and
// nobody waits for it.
func TestIntegrationNameOfUnreadableRecord(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(filepath.Join(dir, "state", "xc.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	unreadable := store.Container{ID: "c23456789abc", Name: "x", Spec: []byte(`{"spec":1}`), State: []byte(`{}`)}
	if err := errors.Join(db.CreateContainer(t.Context(), unreadable), db.Close()); err != nil {
		t.Fatal(err)
	}
	var told reports
	c := config(dir)
	c.Report = told.add
	e, err = engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := e.RemoveImage(t.Context(), "root", api.RemoveImageOptions{}); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	if text := told.take(); !strings.Contains(text, unreadable.ID) {
		t.Errorf("reported: %s", text)
	}
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "x", Image: "root"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create: %v", err)
	}
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "y", Image: "root"}); err != nil {
		t.Error(err)
	}
	if err := e.RenameContainer(t.Context(), "y", "x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rename: %v", err)
	}
	if err := e.RemoveContainer(t.Context(), "y", api.RemoveOptions{}); err != nil {
		t.Error(err)
	}
}

// The engine is upgraded, or downgraded, under containers that run. They go on with the
// run loops they have, which do what they can; a restart gives them new ones.
func TestIntegrationRunLoopsOfOtherReleases(t *testing.T) {
	for name, rel := range releases {
		if rel.wire != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			dir := shortTempDir(t)
			c := config(dir)
			c.RunLoop, c.Spare, c.Report = loopOf(name), false, func(err error) { t.Errorf("reported: %v", err) }
			e, err := engine.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			importRoot(t, e, "root")
			in, typed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer typed.Close()
			startWith(t, e, api.ContainerSpec{Name: "reads", Image: "root", Command: []string{"sh", "-c", "echo up; while read x; do echo got $x; done; exit 7"}}, api.StartOptions{Stdio: api.Stdio{Stdin: in}})
			in.Close()
			start(t, e, api.ContainerSpec{Name: "sleeps", Image: "root", Terminal: true, Command: []string{"sh", "-c", "echo up; sleep 1000"}})
			waitLog(t, e, "reads", "up\n")
			waitLog(t, e, "sleeps", "up\r\n")
			before, err := e.ListContainers(t.Context(), api.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = openEngine(t, dir, nil)
			defer func() { closeClean(t, e) }()
			u := upgraded{t, e, rel}
			u.listed(before)
			u.asked()
			u.lacking()
			u.ended(typed)
		})
	}
}

// upgraded is an engine that has found containers with run loops of another release.
type upgraded struct {
	*testing.T
	*engine.Engine
	rel release
}

func (u upgraded) listed(before []api.Container) {
	u.Helper()
	now, err := u.ListContainers(u.Context(), api.ListOptions{})
	if err != nil || len(now) != len(before) {
		u.Fatalf("%+v, %v", now, err)
	}
	for _, was := range before {
		i := slices.IndexFunc(now, func(c api.Container) bool { return c.ID == was.ID })
		if i < 0 || now[i].State != api.StateRunning || now[i].Pid != was.Pid || !now[i].Started.Equal(was.Started) {
			u.Errorf("was %+v, is %+v", was, now)
		}
	}
}

// asked does what every release can.
func (u upgraded) asked() {
	u.Helper()
	ctx := u.Context()
	for _, name := range []string{"reads", "sleeps"} {
		exit, err := u.ExecContainer(ctx, name, api.ExecOptions{Args: []string{"sh", "-c", "exit 6"}})
		if err != nil || exit.Code != 6 {
			u.Errorf("exec in %s: %+v, %v", name, exit, err)
		}
		if list, err := u.ContainerProcesses(ctx, name); err != nil || len(list) == 0 {
			u.Errorf("processes of %s: %+v, %v", name, list, err)
		}
		if got, err := copied(u.T, u, name, api.CopyFrom{Path: "/etc/os-release"}); err != nil || len(got) != 1 {
			u.Errorf("copied from %s: %q, %v", name, got, err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		u.Fatal(err)
	}
	defer r.Close()
	attached := make(chan error, 1)
	go func() {
		attached <- u.AttachContainer(ctx, "sleeps", api.AttachOptions{Stdio: api.Stdio{Stdout: w}, Replay: true})
		w.Close()
	}()
	b := make([]byte, len("up\r\n"))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "up\r\n" {
		u.Errorf("attached: %q, %v", b, err)
	}
	u.Cleanup(func() { // it ends with the container
		if err := <-attached; err != nil {
			u.Errorf("attach: %v", err)
		}
	})
}

// lacking asks for what a release may lack: it says so, and how to get it.
func (u upgraded) lacking() {
	u.Helper()
	for what, ask := range map[string]func() error{
		"exec as a user": func() error {
			exit, err := u.ExecContainer(u.Context(), "sleeps", api.ExecOptions{Args: []string{"sh", "-c", "test $(id -u) = 1000"}, User: "alice"})
			if err == nil && exit.Code != 0 {
				err = fmt.Errorf("%+v", exit)
			}
			return err
		},
		"exec detached": func() error {
			_, err := u.ExecContainer(u.Context(), "sleeps", api.ExecOptions{Args: []string{"true"}, Detach: true})
			return err
		},
		"resize": func() error { return u.ResizeContainer(u.Context(), "sleeps", "", api.Size{Rows: 5, Cols: 6}) },
	} {
		err := ask()
		if len(u.rel.lacks) == 0 {
			if err != nil {
				u.Errorf("%s: %v", what, err)
			}
			continue
		}
		says := fmt.Sprintf("restart the container (its run loop has version %d of the control protocol, this engine %d)", u.rel.version, control.Version)
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), says) {
			u.Errorf("%s: %v", what, err)
		}
	}
}

// ended ends them in several ways.
func (u upgraded) ended(typed *os.File) {
	u.Helper()
	ctx := u.Context()
	waited := make(chan string, 1)
	go func() {
		exit, err := u.WaitContainer(ctx, "reads", api.WaitOptions{})
		waited <- fmt.Sprint(exit.Code, err)
	}()
	if _, err := typed.WriteString("this\n"); err != nil {
		u.Fatal(err)
	}
	waitLog(u.T, u, "reads", "up\ngot this\n")
	if err := typed.Close(); err != nil {
		u.Fatal(err)
	}
	if got := <-waited; got != "7 <nil>" {
		u.Errorf("waited for: %s", got)
	}
	now := 0
	if err := u.RestartContainer(ctx, "sleeps", api.StopOptions{Timeout: &now}); err != nil {
		u.Fatal(err)
	}
	u.rel = release{}
	u.lacking() // nothing
	if err := u.StopContainer(ctx, "sleeps", api.StopOptions{Timeout: &now}); err != nil {
		u.Error(err)
	}
	if exit, err := u.WaitContainer(ctx, "sleeps", api.WaitOptions{}); err != nil || exit.Code != 137 || exit.Lost {
		u.Errorf("stopped: %+v, %v", exit, err)
	}
	for name, want := range map[string]string{
		"reads":  "reads.start reads.exit(7)",
		"sleeps": "sleeps.start sleeps.exit(137) sleeps.start sleeps.exit(137)",
	} {
		opt := api.EventOptions{Filters: []string{"container=" + name, "action=start", "action=exit", "action=lost"}}
		if got := happened(u.T, u, opt); got != want {
			u.Errorf("events: %s, want %s", got, want)
		}
	}
}

// A run loop with which the engine cannot speak at all is one that is there: nothing
// of its container is taken away, and whoever wants something of it is told what to do.
func TestIntegrationRunLoopOfAnotherWire(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	c := config(dir)
	c.RunLoop, c.Spare, c.Report = loopOf("foreign"), false, func(err error) { t.Errorf("reported: %v", err) }
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	importRoot(t, e, "root")
	start(t, e, api.ContainerSpec{Name: "far", Image: "root", Command: []string{"sleep", "1000"}})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var said reports
	c = config(dir)
	c.Report = said.add
	if e, err = engine.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	defer func() { closeClean(t, e) }()
	const reason = "speaks wire version 2"
	if got := said.take(); !strings.Contains(got, "recover container far") || !strings.Contains(got, reason) {
		t.Errorf("reported: %s", got)
	}
	far, err := e.InspectContainer(t.Context(), "far")
	if err != nil || far.State != api.StateRunning {
		t.Fatalf("%+v, %v", far, err)
	}
	says := fmt.Sprintf("end the container with the release of xc that started it, or kill process %d", far.Pid)
	for what, err := range map[string]error{
		"stop":   e.StopContainer(t.Context(), "far", api.StopOptions{}),
		"kill":   e.KillContainer(t.Context(), "far", "KILL"),
		"remove": e.RemoveContainer(t.Context(), "far", api.RemoveOptions{Force: true}),
	} {
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := syscall.Kill(far.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, err := e.WaitContainer(t.Context(), "far", api.WaitOptions{}); err != nil || exit.Code != 137 || exit.Lost {
		t.Errorf("%+v, %v", exit, err)
	}
	if got := said.take(); got != "<nil>" {
		t.Errorf("reported: %s", got)
	}
}

// A run loop that is stopped does not answer a new engine, and is not taken for one
// that is gone: its container is its own until it answers.
func TestIntegrationRunLoopThatIsStopped(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	c := start(t, e, api.ContainerSpec{Name: "s", Image: "root", Command: []string{"sleep", "1000"}})
	c, err := e.InspectContainer(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	loop := runLoop(t, c)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(loop, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var said reports
	cfg := config(dir)
	cfg.Report = said.add
	if e, err = engine.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer func() { closeClean(t, e) }()
	if got := said.take(); !strings.Contains(got, "recover container s: its run loop does not answer") {
		t.Errorf("reported: %s", got)
	}
	if now, err := e.InspectContainer(t.Context(), "s"); err != nil || now.State != api.StateRunning || now.Pid != c.Pid {
		t.Errorf("%+v, %v", now, err)
	}
	if err := e.KillContainer(t.Context(), "s", "TERM"); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("kill: %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- e.StopContainer(t.Context(), "s", api.StopOptions{}) }()
	select {
	case err := <-stopped:
		t.Errorf("it was stopped: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := syscall.Kill(loop, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if exit, err := e.WaitContainer(t.Context(), "s", api.WaitOptions{}); err != nil || exit.Lost {
		t.Errorf("%+v, %v", exit, err)
	}
}
