package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestSystemCheck(t *testing.T) {
	f := newFake(t)
	f.checks = []api.Check{
		{Area: "kernel", Name: "vimage", State: api.CheckOK, Required: true, Purpose: "networks"},
		{Area: "sysctl", Name: "kern.racct.enable", State: api.CheckMissing, Purpose: "limits", Detail: "0", Fix: "echo kern.racct.enable=1 >> /boot/loader.conf"},
	}
	want := `STATE     NEED       AREA      NAME                FOR
ok        required   kernel    vimage              networks
missing   optional   sysctl    kern.racct.enable   limits (0)
ok        required   images    store               images (2 names, 5 blobs verified)

sysctl kern.racct.enable (limits):
    echo kern.racct.enable=1 >> /boot/loader.conf
`
	if r := f.xc(t, "system", "check"); r.code != 0 || r.out != want {
		t.Errorf("%d %s\n%s\nwant\n%s", r.code, r.errout, r.out, want)
	}
	if r := f.xc(t, "system", "check", "--format", "{{.Name}} {{.State}}"); r.out != "vimage ok\nkern.racct.enable missing\nstore ok\n" {
		t.Errorf("template: %q %s", r.out, r.errout)
	}
	f.mu.Lock()
	f.checks[0].State = api.CheckMissing
	f.mu.Unlock()
	r := f.xc(t, "system", "check", "--format", "json")
	if r.code != 125 || !strings.Contains(r.errout, "missing here: vimage") {
		t.Errorf("something required is missing: %d %q", r.code, r.errout)
	}
	var got api.Check
	line, _, _ := strings.Cut(r.out, "\n")
	if err := json.Unmarshal([]byte(line), &got); err != nil || got != f.checks[0] {
		t.Errorf("json %s: %+v, %v", line, got, err)
	}
}

func TestGroups(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "system"); r.code != 0 || !strings.Contains(r.out, "check") {
		t.Errorf("a group alone shows its commands: %d %q %q", r.code, r.out, r.errout)
	}
	if r := f.xc(t, "system", "chekc"); r.code != 125 || r.errout != "xc: unknown command \"chekc\" for \"xc system\"; see xc system --help\n" {
		t.Errorf("unknown: %d %q", r.code, r.errout)
	}
	if r := f.xc(t, "system", "info"); r.code != 0 || !strings.Contains(r.out, "zfs") {
		t.Errorf("info: %d %q", r.code, r.out)
	}
}

func TestSystemCheckOfImages(t *testing.T) {
	f := newFake(t)
	f.imageCheck.Problems = []api.ImageProblem{{Object: "image a:1", Problem: "blob is gone"}}
	r := f.xc(t, "system", "check", "--format", "{{.Name}} {{.State}} {{.Detail}}")
	if r.code != 125 || r.out != "image a:1 missing blob is gone\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "system", "check", "--repair"); r.code != 125 || !f.noted("check images true") || !strings.Contains(r.out, "--repair") {
		t.Errorf("%+v", r)
	}
}
