package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// A detached command is there at once, outlives who has started it and the engine,
// and its end is told where the engine sees it.
func TestIntegrationExecDetached(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	start(t, e, api.ContainerSpec{Name: "c", Image: "root", Command: []string{"sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.02; done"}})
	after := lastEvent(t, e)
	detach := func(ctx context.Context, opt api.ExecOptions) error {
		opt.Detach = true
		exit, err := e.ExecContainer(ctx, "c", opt)
		if exit != (api.Exit{}) {
			t.Errorf("%q: %+v", opt.Args, exit)
		}
		return err
	}
	script := func(text string) []string { return []string{"sh", "-c", text} }

	begin := time.Now()
	ctx, leave := context.WithCancel(t.Context())
	if err := detach(ctx, api.ExecOptions{Args: script(`read x; echo lost; echo lost >&2; sleep 1; echo "$A $(pwd)" >/plain; exit 3`), Env: []string{"A=b"}, WorkDir: "/etc"}); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := detach(t.Context(), api.ExecOptions{Args: script(`tty -s && stty size >/size; echo lost; exit 4`), Terminal: true, Size: api.Size{Rows: 5, Cols: 60}}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 900*time.Millisecond {
		t.Errorf("it was waited for: %v", took)
	}
	until(t, "both ends", func() bool {
		got := happened(t, e, api.EventOptions{After: after, Filters: []string{"action=exec_exit"}})
		return got == "c.exec_exit(4) c.exec_exit(3)"
	})
	if out, code := execIn(t, e, "c", "cat /plain /size"); out != "b /etc\n5 60\n" || code != 0 {
		t.Errorf("%q, %d", out, code)
	}
	if got := logs(t, e, "c"); got != "" {
		t.Errorf("log: %q", got)
	}

	after = lastEvent(t, e)
	if err := detach(t.Context(), api.ExecOptions{Args: []string{"nosuch"}}); !errors.Is(err, api.ErrCommandNotFound) {
		t.Error(err)
	}
	if err := detach(t.Context(), api.ExecOptions{Args: []string{"/etc/passwd"}}); !errors.Is(err, api.ErrNotExecutable) {
		t.Error(err)
	}
	if err := detach(t.Context(), api.ExecOptions{}); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if err := detach(t.Context(), api.ExecOptions{Args: []string{"true"}, Stdio: api.Stdio{Stdout: os.Stderr}}); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if got, want := happened(t, e, api.EventOptions{After: after}), "c.exec c.exec_exit(127) c.exec c.exec_exit(126)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	for _, terminal := range []bool{false, true} { // the second goes to the end with its container
		if err := detach(t.Context(), api.ExecOptions{Args: script("while ! test -e /go; do sleep 0.02; done; echo x >>/gone; exec sleep 1000"), Terminal: terminal}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, dir, nil)
	defer func() { closeClean(t, e) }()
	if _, code := execIn(t, e, "c", "touch /go"); code != 0 {
		t.Error(code)
	}
	until(t, "both to go on", func() bool { _, code := execIn(t, e, "c", `test "$(grep -c x /gone)" = 2`); return code == 0 })
	after = lastEvent(t, e)
	if err := detach(t.Context(), api.ExecOptions{Args: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	if err := e.StopContainer(t.Context(), "c", api.StopOptions{}); err != nil {
		t.Error(err)
	}
	if exit, err := e.WaitContainer(t.Context(), "c", api.WaitOptions{Condition: api.WaitNotRunning}); err != nil || exit.Code != 6 {
		t.Errorf("%+v, %v", exit, err)
	}
	until(t, "the end with the container", func() bool {
		return happened(t, e, api.EventOptions{After: after, Filters: []string{"action=exec_exit"}}) == "c.exec_exit(137)"
	})
	if err := detach(t.Context(), api.ExecOptions{Args: []string{"true"}}); !errors.Is(err, api.ErrNotRunning) {
		t.Error(err)
	}
}
