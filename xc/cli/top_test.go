package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestTop(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "create", "--name", "web", "alpine:3", "x"); r.code != 0 {
		t.Fatal(r)
	}
	r := f.xc(t, "top", "web")
	if r.code != 0 || strings.Contains(r.out, "\x1b") || !strings.Contains(r.out, "[true]") || !strings.Contains(r.out, "1.50") {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "top", "--format", "{{.PID}} {{.PPID}} {{.State}}", "web"); r.out != "7 1 S\n9 7 Z\n" {
		t.Errorf("template: %+v", r)
	}
	var p api.Process
	line, _, _ := strings.Cut(f.xc(t, "top", "--format", "json", "web").out, "\n")
	if err := json.Unmarshal([]byte(line), &p); err != nil || p.PID != 7 || p.CPU != 1.5 || len(p.Args) != 3 {
		t.Errorf("%s: %+v, %v", line, p, err)
	}
	if r := f.xc(t, "top", "nosuch"); r.code != 125 || !strings.Contains(r.errout, "nosuch") {
		t.Errorf("%+v", r)
	}
}

func TestStats(t *testing.T) {
	f := newFake(t)
	f.programs["x"] = func(p *process) api.Exit { <-p.signals; return api.Exit{} }
	for _, name := range []string{"web", "db", "dark"} {
		if r := f.xc(t, "run", "-d", "--name", name, "alpine:3", "x"); r.code != 0 {
			t.Fatal(r)
		}
	}
	r := f.xc(t, "stats", "--no-stream", "--interval", "100ms")
	if r.code != 0 || strings.Count(r.out, "\n") != 4 || !strings.Contains(r.out, "0.0%") || !strings.Contains(r.out, "2MB") || !strings.Contains(r.out, " -\n") ||
		r.errout != "xc: i/o of containers is not known here: nobody counts\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "stats", "--no-stream", "--interval", "100ms", "--format", "{{.Name}} {{.Processes}} {{.Threads}}", "web"); r.out != "web 2 3\n" {
		t.Errorf("template: %+v", r)
	}
	// What was read since the last look, a tenth of a second ago; what a kernel says itself.
	var read float64
	out := f.xc(t, "stats", "--no-stream", "--interval", "100ms", "--format", "{{.Read}} {{.Written}}", "web").out
	if n, err := fmt.Sscanf(out, "%gMB/s 0B/s\n", &read); n != 1 || err != nil || read < 1 || read > 10 {
		t.Errorf("read: %q, %v", out, err)
	}
	if r := f.xc(t, "stats", "--no-stream", "--interval", "100ms", "--format", "{{.CPU}} {{.Read}} {{.Written}}", "db"); r.out != "12.5% 5kB/s 6kB/s\n" {
		t.Errorf("rates: %+v", r)
	}
	if r := f.xc(t, "stats", "--no-stream", "--interval", "100ms", "--format", "json", "dark"); r.errout != "" || !strings.Contains(r.out, `"missing":{"io":"nobody counts"}`) {
		t.Errorf("missing: %+v", r)
	}
	var u struct {
		Name          string
		CPUTime       float64
		Memory        int64
		Read, Written int64
	}
	out = f.xc(t, "stats", "--no-stream", "--interval", "100ms", "--format", "json", "db").out
	if err := json.Unmarshal([]byte(out), &u); err != nil || u.Name != "db" || u.CPUTime != 1.5 || u.Memory != 2_000_000 || u.Read != 5000 || u.Written != 6000 {
		t.Errorf("%s: %+v, %v", out, u, err)
	}
	for _, bad := range []string{"stats --no-stream nosuch", "stats --interval 1ms"} {
		if r := f.xc(t, strings.Fields(bad)...); r.code != 125 || strings.Count(r.errout, "\n") != 1 {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	if r := f.xc(t, "kill", "web", "db", "dark"); r.code != 0 {
		t.Error(r)
	}
}
