package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// happened are the events chosen, as words.
func happened(t *testing.T, e api.Engine, opt api.EventOptions) string {
	t.Helper()
	var words []string
	for ev, err := range e.Events(t.Context(), opt) {
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, word(ev))
	}
	return strings.Join(words, " ")
}

// word is an event as NAME.ACTION, with the exit code.
func word(ev api.Event) string {
	name := ev.Name[strings.LastIndexByte(ev.Name, '/')+1:]
	w := strings.TrimSuffix(name, ":latest") + "." + ev.Action
	if ev.Exit != nil {
		w += fmt.Sprintf("(%d)", ev.Exit.Code)
	}
	return w
}

// lastEvent is the id of the newest event.
func lastEvent(t *testing.T, e api.Engine) *int64 {
	t.Helper()
	var id int64
	for ev, err := range e.Events(t.Context(), api.EventOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		id = ev.ID
	}
	return &id
}

// follow collects events until the context ends.
func follow(ctx context.Context, e api.Engine, opt api.EventOptions) <-chan []api.Event {
	opt.Follow = true
	done := make(chan []api.Event, 1)
	go func() {
		var list []api.Event
		for ev, err := range e.Events(ctx, opt) {
			if err != nil {
				break
			}
			list = append(list, ev)
		}
		done <- list
	}()
	return done
}

func TestIntegrationEvents(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	begin := time.Now()
	run := func(name string, labels map[string]string, args ...string) {
		t.Helper()
		if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: name, Image: "root", Command: args, Labels: labels}); err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(ctx, name, api.StartOptions{}); err != nil && !errors.Is(err, api.ErrCommandNotFound) {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	following, enough := context.WithCancel(ctx)
	defer enough()
	live := follow(following, e, api.EventOptions{After: lastEvent(t, e)})

	run("a", map[string]string{"tier": "db"}, "sleep", "1000")
	_, err := e.ExecContainer(ctx, "a", api.ExecOptions{Args: []string{"sh", "-c", "exit 3"}})
	must(err)
	_, err = e.ExecContainer(ctx, "a", api.ExecOptions{Args: []string{"nosuch"}})
	if !errors.Is(err, api.ErrCommandNotFound) {
		t.Error(err)
	}
	must(e.RenameContainer(ctx, "a", "b"))
	must(e.KillContainer(ctx, "b", "9"))
	_, err = e.WaitContainer(ctx, "b", api.WaitOptions{})
	must(err)
	must(e.RestartContainer(ctx, "b", api.StopOptions{}))
	now := 0
	must(e.StopContainer(ctx, "b", api.StopOptions{Timeout: &now}))
	must(e.StopContainer(ctx, "b", api.StopOptions{Timeout: &now})) // nothing happens
	must(e.RemoveContainer(ctx, "b", api.RemoveOptions{}))
	run("n", nil, "nosuch")
	_, err = e.CreateContainer(ctx, api.ContainerSpec{Name: "n", Image: "root"})
	if !errors.Is(err, fs.ErrExist) { // nothing happens
		t.Error(err)
	}
	must(e.TagImage(ctx, "root", "other"))
	_, err = e.RemoveImage(ctx, "other", api.RemoveImageOptions{})
	must(err)

	const lifeB = "a.create a.start a.exec a.exec_exit(3) a.exec a.exec_exit(127) b.rename b.kill b.exit(137) b.start b.restart b.exit(137) b.stop b.remove"
	const want = lifeB + " n.create n.exit(127) other.tag other.untag"
	if got := happened(t, e, api.EventOptions{Since: begin}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, tc := range []struct {
		filters, want string
	}{
		{"container=b", "b.rename b.kill b.exit(137) b.start b.restart b.exit(137) b.stop b.remove"}, // it is gone: by what it was called
		{"container=n", "n.create n.exit(127)"},
		{"container=n container=other", "n.create n.exit(127)"},
		{"type=container action=rename event=start", "a.start b.rename b.start"},
		{"label=tier", lifeB}, {"label=tier=db", lifeB}, {"label=tier=web", ""},
		{"image=root type=container action=create", "a.create n.create"},
		{"image=other", "other.tag other.untag"}, {"image=docker.io/library/other:latest", "other.tag other.untag"},
	} {
		if got := happened(t, e, api.EventOptions{Since: begin, Filters: strings.Fields(tc.filters)}); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.filters, got, tc.want)
		}
	}
	for _, f := range []string{"container", "color=red", "=x", "container="} {
		for _, err := range e.Events(ctx, api.EventOptions{Filters: []string{f}}) {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("filter %q: %v", f, err)
			}
		}
	}
	// Until ends a reader that follows, and Since in the future chooses nothing.
	soon := time.Now().Add(50 * time.Millisecond)
	if got := happened(t, e, api.EventOptions{Follow: true, Since: begin, Until: soon}); got != want {
		t.Errorf("until soon: %s", got)
	}
	if got := happened(t, e, api.EventOptions{Since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("in an hour: %s", got)
	}
	if got := happened(t, e, api.EventOptions{Until: begin}); strings.Contains(got, "a.") || !strings.Contains(got, "root.import") {
		t.Errorf("before: %s", got)
	}
	time.Sleep(50 * time.Millisecond)
	enough()
	var words []string
	for _, ev := range <-live {
		words = append(words, word(ev))
	}
	if got := strings.Join(words, " "); got != want {
		t.Errorf("followed %s", got)
	}
}

// Who follows and does not read is told what it missed, and nobody waits for it.
func TestIntegrationSlowReaderOfEvents(t *testing.T) {
	needRoot(t)
	c := config(shortTempDir(t))
	c.EventsMax = 10
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer closeClean(t, e)
	importRoot(t, e, "root")
	ctx := t.Context()
	tag := func() {
		t.Helper()
		if err := e.TagImage(ctx, "root", "other"); err != nil {
			t.Fatal(err)
		}
	}
	tag()
	last, skipped, read := int64(1), int64(0), int64(0)
	for ev, err := range e.Events(ctx, api.EventOptions{Follow: true, After: &last}) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Action == api.EventSkipped {
			skipped = ev.Skipped
			if ev.Type != api.EventEngine || ev.ID != last+skipped {
				t.Errorf("%+v after %d", ev, last)
			}
			last = ev.ID
			continue
		}
		if ev.ID != last+1 {
			t.Fatalf("%d after %d", ev.ID, last)
		}
		last = ev.ID
		if read++; read == 1 { // asleep
			for range 600 {
				tag()
			}
		}
		if last == 602 {
			break
		}
	}
	if skipped == 0 || read+skipped != 601 {
		t.Errorf("%d read, %d skipped", read, skipped)
	}
}

// What ended while there was no engine is told once, by the next one, in order.
func TestIntegrationEventsOfWhatWasMissed(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	ctx := t.Context()
	c := start(t, e, api.ContainerSpec{Name: "ends", Image: "root", Command: []string{"sh", "-c", "while ! test -e /go; do sleep 0.05; done; exit 6"}})
	lost := start(t, e, api.ContainerSpec{Name: "lost", Image: "root", Command: []string{"sleep", "1000"}})
	rm := start(t, e, api.ContainerSpec{Name: "rm", Image: "root", AutoRemove: true, Command: []string{"sh", "-c", "while ! test -e /go; do sleep 0.05; done; exit 5"}})
	lost, err := e.InspectContainer(ctx, lost.ID)
	if err != nil {
		t.Fatal(err)
	}
	loop := runLoop(t, lost)
	for _, c := range []api.Container{c, rm} {
		if _, err := e.ExecContainer(ctx, c.ID, api.ExecOptions{Args: []string{"sh", "-c", "(sleep 0.5; touch /go) >/dev/null 2>&1 &"}}); err != nil {
			t.Fatal(err)
		}
	}
	after := lastEvent(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(loop, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	var got []string
	for range 2 { // the second time nothing is new
		e = openEngine(t, dir, nil)
		until(t, "the end of all", func() bool { return strings.Count(happened(t, e, api.EventOptions{After: after}), ".") == 4 })
		got = strings.Fields(happened(t, e, api.EventOptions{After: after}))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	slices.Sort(got)
	if want := "ends.exit(6) lost.lost(137) rm.exit(5) rm.remove"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
