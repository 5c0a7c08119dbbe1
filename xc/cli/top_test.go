package cli_test

import (
	"encoding/json"
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
