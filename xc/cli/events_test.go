package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func someEvents() []api.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.Local)
	return []api.Event{
		{ID: 7, Time: at, Type: "image", Action: "pull", Object: "sha256:ab", Name: "docker.io/library/alpine:3"},
		{ID: 8, Time: at, Type: "container", Action: "exit", Object: "c1", Name: "web", Image: "docker.io/library/alpine:3", Exit: &api.Exit{Code: 137, Signal: "KILL"}, Labels: map[string]string{"tier": "db"}},
		{ID: 9, Time: at, Type: "container", Action: "exec", Object: "c1", Name: "web", Attributes: map[string]string{"command": "ls -l"}},
		{ID: 12, Time: at, Type: "engine", Action: "skipped", Skipped: 3},
	}
}

// A daemon that dies after each event loses none, and repeats none.
func TestEvents(t *testing.T) {
	f := newFake(t)
	f.events = someEvents()
	r := f.xc(t, "events", "-f", "--filter", "container=web", "--filter", "action=exit")
	zone := time.Date(2026, 1, 2, 3, 4, 5, 6, time.Local).Format("Z07:00")
	want := strings.ReplaceAll(`2026-01-02T03:04:05.000000006@ image pull sha256:ab (name=alpine:3)
2026-01-02T03:04:05.000000006@ container exit c1 (name=web, image=alpine:3, code=137, signal=KILL, tier=db)
2026-01-02T03:04:05.000000006@ container exec c1 (name=web, command="ls -l")
2026-01-02T03:04:05.000000006@ engine skipped (events=3)
`, "@", zone)
	if r.code != 0 || r.out != want {
		t.Errorf("%d, %q\n%s\nwant\n%s", r.code, r.errout, r.out, want)
	}
	if len(f.eventCalls) != 4 {
		t.Fatalf("%d calls", len(f.eventCalls))
	}
	for i, c := range f.eventCalls {
		after := int64(0)
		if c.After != nil {
			after = *c.After
		}
		if want := []int64{0, 7, 8, 9}[i]; after != want || !c.Follow || len(c.Filters) != 2 {
			t.Errorf("call %d: after %d, want %d: %+v", i, after, want, c)
		}
	}
}

func TestEventFormats(t *testing.T) {
	f := newFake(t)
	for _, tc := range []struct {
		args, out, errout string
	}{
		{"--format {{.Action}}\\t{{with.Exit}}{{.Code}}{{end}}", "exit\t137\n", ""},
		{"--format {{.Nonsense}}", "", "--format"},
		{"--since never", "", "--since"},
		{"--until never", "", "--until"},
		{"extra", "", "unknown command"},
	} {
		f.events = someEvents()[1:2]
		r := f.xc(t, append([]string{"events"}, strings.Fields(tc.args)...)...)
		if r.out != tc.out || (tc.errout == "") != (r.errout == "") || !strings.Contains(r.errout, tc.errout) {
			t.Errorf("%s: %+v", tc.args, r)
		}
	}
	f.events = someEvents()[1:2]
	r := f.xc(t, "events", "--since", "10m", "--until", "2026-01-02", "--format", "json")
	var ev api.Event
	if err := json.Unmarshal([]byte(r.out), &ev); err != nil || ev.Exit == nil || ev.Exit.Code != 137 || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v: %v", r, err)
	}
	last := f.eventCalls[len(f.eventCalls)-1]
	if d := time.Since(last.Since); d < 10*time.Minute || d > 20*time.Minute || last.Until.Year() != 2026 || last.Follow {
		t.Errorf("%+v", last)
	}
}
