package cli_test

import (
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// Filters go to the engine as they are, and the argument of images is one.
func TestFilters(t *testing.T) {
	f := newFake(t)
	for args, call := range map[string]string{
		"ps":                                    `ps false []`,
		"ps --filter name=web -f status=exited": `ps false ["name=web" "status=exited"]`,
		"ps -aqf label=a=b,c":                   `ps true ["label=a=b,c"]`,
		"container ls -f id=c0":                 `ps false ["id=c0"]`,
		"images":                                `images []`,
		"images alpine":                         `images ["reference=alpine"]`,
		"images -f label=x --filter dangling=false alp*:3 -q": `images ["label=x" "dangling=false" "reference=alp*:3"]`,
		"image ls -f since=alpine:3":                          `images ["since=alpine:3"]`,
	} {
		f.calls = nil
		if r := f.xc(t, strings.Fields(args)...); r.code != 0 || !f.noted(call) {
			t.Errorf("xc %s: %+v, calls %q, want %q", args, r, f.made(), call)
		}
	}
	for args, says := range map[string]string{
		"images a b": "accepts at most 1 arg(s)", "ps web": "unknown command", "ps -f": "flag needs an argument",
	} {
		if r := f.xc(t, strings.Fields(args)...); r.code != 125 || !strings.Contains(r.errout, says) {
			t.Errorf("xc %s: %+v", args, r)
		}
	}
}

func TestFilterCompletion(t *testing.T) {
	f := newFake(t)
	standard(f)
	f.networks = []api.Network{{Name: "lan"}}
	f.volumes = []api.Volume{{Name: "db"}}
	f.xc(t, "create", "--name", "web", "alpine:3", "exit", "0")
	for args, want := range map[string]string{
		"ps --filter st":           "status=created\nstatus=running\nstatus=exited\n:4\n",
		"ps -f n":                  "name=web\nnetwork=lan\nnetwork=none\nnetwork=host\n:4\n",
		"ps --filter=volume=":      "volume=db\n:4\n",
		"ps -f anc":                "ancestor=alpine:3\n:4\n",
		"ps -f lab":                "label=\n:6\n", // without a space behind it
		"images -f d":              "dangling=true\ndangling=false\n:4\n",
		"images al":                "alpine:3\n:4\n",
		"image ls --filter before": "before=alpine:3\n:4\n",
	} {
		a, done := f.app(t, "")
		if r := done(a.Run(t.Context(), append([]string{"__complete"}, strings.Split(args, " ")...))); r.out != want {
			t.Errorf("completing %q: %q, want %q", args, r.out, want)
		}
	}
}
