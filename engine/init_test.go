package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
)

// listed is a directory of the host in which the commands of a container note what
// they do.
type listed struct {
	t   *testing.T
	dir string
}

func newList(t *testing.T) listed {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return listed{t, dir}
}

// open lets all users write to the list.
func (l listed) open() {
	l.t.Helper()
	name := filepath.Join(l.dir, "l")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chmod(name, 0o666)); err != nil {
		l.t.Fatal(err)
	}
}

func (l listed) spec(init, main, deinit string) api.ContainerSpec {
	commands := func(script string) *[]api.Command {
		if script == "" {
			return nil
		}
		return &[]api.Command{{Args: []string{"sh", "-c", script}}}
	}
	return api.ContainerSpec{
		Image: "root", Command: []string{"sh", "-c", main}, InitCommands: commands(init), DeinitCommands: commands(deinit),
		Mounts: []api.Mount{{Source: l.dir, Destination: "/l"}},
	}
}

func (l listed) String() string {
	b, err := os.ReadFile(filepath.Join(l.dir, "l"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// long is an init command that has begun when "up" is on the list.
const long = "echo up >>/l/l; while :; do sleep 0.02; done"

// startAside starts a container whose init command is a long one.
func (l listed) startAside(e *engine.Engine, spec api.ContainerSpec) (id string, failed <-chan error) {
	l.t.Helper()
	c, err := e.CreateContainer(l.t.Context(), spec)
	if err != nil {
		l.t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- e.StartContainer(l.t.Context(), c.ID, api.StartOptions{}) }()
	until(l.t, "the init command", func() bool { return strings.Contains(l.String(), "up") })
	return c.ID, answer
}

func TestIntegrationInitAndDeinit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := newList(t)
	spec := l.spec("echo $A >>/l/l; echo said", "echo main >>/l/l; exit 3", "echo bye >>/l/l; exit 9")
	spec.Env, spec.Name = []string{"A=init"}, "around"
	*spec.InitCommands = append(*spec.InitCommands, api.Command{Args: []string{"/bin/sh", "-c", "id -u >>/l/l"}, User: "33"})
	l.open()
	exit, err := e.RunContainer(t.Context(), spec, api.StartOptions{}, nil)
	if err != nil || exit.Code != 3 || exit.Error != "" {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if l.String() != "init 33 main bye" {
		t.Errorf("order: %s", l)
	}
	var log strings.Builder
	err = e.ContainerLogs(t.Context(), "around", api.LogOptions{}, func(r api.LogEntry) error { log.Write(r.Data); return nil })
	if err != nil || !strings.HasPrefix(log.String(), "said\n") {
		t.Errorf("log %q, %v", log.String(), err)
	}
	c, err := e.InspectContainer(t.Context(), "around")
	if err != nil || len(c.InitCommands) != 2 || c.InitCommands[1].User != "33" || len(c.DeinitCommands) != 1 || c.DeinitTimeout != 10 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestIntegrationInitFails(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := newList(t)
	spec := l.spec("test -e /l/good || { echo no good here; exit 4; }", "echo main >>/l/l", "echo deinit >>/l/l")
	spec.Name = "f"
	_, err := e.RunContainer(t.Context(), spec, api.StartOptions{}, nil)
	if !errors.Is(err, api.ErrInitFailed) || !strings.HasSuffix(err.Error(), "exit status 4: no good here") {
		t.Errorf("run: %v", err)
	}
	c, ierr := e.InspectContainer(t.Context(), "f")
	if ierr != nil || c.State != api.StateExited || c.Exit == nil || c.Exit.Code != 125 || !strings.Contains(c.Exit.Error, "no good here") || !c.Started.IsZero() {
		t.Errorf("%+v, %+v, %v", c, c.Exit, ierr)
	}
	if l.String() != "" {
		t.Errorf("it has run %s", l)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "good"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), "f", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if exit, err := e.WaitContainer(t.Context(), "f", api.WaitOptions{}); err != nil || exit.Code != 0 || l.String() != "main deinit" {
		t.Errorf("%+v, %v, %s", exit, err, l)
	}
	gone := l.spec("", "true", "")
	gone.InitCommands, gone.AutoRemove, gone.Name = &[]api.Command{{Args: []string{"/nosuch"}}}, true, "g"
	if _, err := e.RunContainer(t.Context(), gone, api.StartOptions{}, nil); !errors.Is(err, api.ErrInitFailed) || errors.Is(err, api.ErrCommandNotFound) {
		t.Errorf("run: %v", err)
	}
	if _, err := e.InspectContainer(t.Context(), "g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has not removed itself: %v", err)
	}
}

// Who wants the container not to run does not wait for its init commands.
func TestIntegrationEndOfInit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	now := 0
	for name, tt := range map[string]struct {
		end  func(id string) error
		list string
	}{
		"stop": {func(id string) error { return e.StopContainer(t.Context(), id, api.StopOptions{}) }, "up heed"},
		"stop at once": {func(id string) error {
			return e.StopContainer(t.Context(), id, api.StopOptions{Timeout: &now})
		}, "up"},
		"kill":   {func(id string) error { return e.KillContainer(t.Context(), id, "KILL") }, "up"},
		"signal": {func(id string) error { return e.KillContainer(t.Context(), id, "TERM") }, "up heed"},
		"remove": {func(id string) error {
			if err := e.RemoveContainer(t.Context(), id, api.RemoveOptions{}); err == nil || !strings.Contains(err.Error(), "force") {
				return errors.Join(errors.New("removed without force"), err)
			}
			return e.RemoveContainer(t.Context(), id, api.RemoveOptions{Force: true})
		}, "up"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t)
			id, failed := l.startAside(e, l.spec("trap 'echo heed >>/l/l; exit 1' TERM; "+long, "echo main >>/l/l", "echo deinit >>/l/l"))
			if c, err := e.InspectContainer(t.Context(), id); err != nil || c.State != api.StateCreated {
				t.Errorf("while it runs: %+v, %v", c, err)
			}
			if err := tt.end(id); err != nil {
				t.Error(err)
			}
			if err := <-failed; !errors.Is(err, api.ErrInitFailed) {
				t.Errorf("start: %v", err)
			}
			if l.String() != tt.list {
				t.Errorf("it has run %s, want %s", l, tt.list)
			}
			c, err := e.InspectContainer(t.Context(), id)
			if name == "remove" {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it is still there: %v", err)
				}
			} else if err != nil || c.State != api.StateExited || c.Exit.Code != 125 {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}

// To restart what is being started is to start it anew.
func TestIntegrationRestartDuringInit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := newList(t)
	id, failed := l.startAside(e, l.spec("test -e /l/l && exit 0; "+long, "echo main >>/l/l", ""))
	now := 0
	if err := e.RestartContainer(t.Context(), id, api.StopOptions{Timeout: &now}); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, api.ErrInitFailed) {
		t.Errorf("first start: %v", err)
	}
	if exit, err := e.WaitContainer(t.Context(), id, api.WaitOptions{}); err != nil || exit.Code != 0 || l.String() != "up main" {
		t.Errorf("%+v, %v, %s", exit, err, l)
	}
}

// An engine that is closed does not wait for init commands, and leaves nothing.
func TestIntegrationCloseDuringInit(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	l := newList(t)
	id, failed := l.startAside(e, l.spec(long, "echo main >>/l/l", "echo deinit >>/l/l"))
	began := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("start: %v", err)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("closing took %v", d)
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	c, err := e.InspectContainer(t.Context(), id)
	if err != nil || c.State != api.StateExited || c.Exit == nil || c.Exit.Code != 125 || c.Exit.Lost || l.String() != "up" {
		t.Errorf("%+v, %+v, %v; it has run %s", c, c.Exit, err, l)
	}
}

func TestIntegrationCommandsRefused(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	zero, ten := 0, 10
	for want, spec := range map[string]api.ContainerSpec{
		"init command":                 {InitCommands: &[]api.Command{{Args: []string{"true"}}, {}}},
		"deinit command":               {DeinitCommands: &[]api.Command{{Args: []string{""}}}},
		"deinit timeout":               {DeinitTimeout: &zero},
		"there are no deinit commands": {DeinitTimeout: &ten},
		"NUL":                          {InitCommands: &[]api.Command{{Args: []string{"true"}, User: "a\x00b"}}},
	} {
		spec.Image = "root"
		if _, err := e.CreateContainer(t.Context(), spec); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// An image brings its own commands; who makes the container has the last word, also
// about who runs them.
func TestIntegrationImageCommands(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	text := `{"version":1,"init":[{"args":["sh","-c","id -u >>/l/l"],"user":"0"}],"deinit":[{"args":["sh","-c","echo bye >>/l/l"]}],"deinit_timeout":7}`
	labels := map[string]string{image.ExtensionLabel: text}
	if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "own", ConfigChange: api.ConfigChange{Labels: labels, User: "33"}}); err != nil {
		t.Fatal(err)
	}
	none := &[]api.Command{}
	for name, tt := range map[string]struct {
		change func(*api.ContainerSpec)
		want   string
	}{
		"as the image says": {func(*api.ContainerSpec) {}, "0 33 bye"},
		"another user":      {func(s *api.ContainerSpec) { s.User = "34" }, "34 34 bye"},
		"none":              {func(s *api.ContainerSpec) { s.InitCommands, s.DeinitCommands = none, none }, "33"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t)
			l.open()
			spec := l.spec("", "id -u >>/l/l", "")
			spec.Image = "own"
			tt.change(&spec)
			made, err := e.CreateContainer(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if made.DeinitTimeout != 7 && len(made.DeinitCommands) > 0 {
				t.Errorf("%+v", made)
			}
			if err := e.StartContainer(t.Context(), made.ID, api.StartOptions{}); err != nil {
				t.Fatal(err)
			}
			if exit, err := e.WaitContainer(t.Context(), made.ID, api.WaitOptions{}); err != nil || exit.Code != 0 || l.String() != tt.want {
				t.Errorf("%+v, %v; it has run %q, want %q", exit, err, l.String(), tt.want)
			}
		})
	}
}
