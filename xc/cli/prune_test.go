package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// Nothing is removed unless somebody says yes; then one kind after the other.
func TestSystemPrune(t *testing.T) {
	const containers, rest = "Deleted container: old\nDeleted container: older\nDeleted network: lan\n", "Untagged: alpine:3\nDeleted: sha256:aa\nDeleted: sha256:bb\n"
	for _, tc := range []struct {
		args, stdin string
		calls       []string
		out         string
	}{
		{"container prune", "", nil, ""}, {"container prune", "no\n", nil, ""},
		{"container prune", "y\n", []string{"container prune"}, "Deleted: old\nDeleted: older\nTotal reclaimed space: 3kB\n"},
		{"container prune -f", "", []string{"container prune"}, "Deleted: old\nDeleted: older\nTotal reclaimed space: 3kB\n"},
		{"container prune -f --format {{.Bytes}}", "", []string{"container prune"}, "3000\n"},
		{"network prune -f --format json", "", nil, "{\n    \"names\": [\n        \"lan\"\n    ]\n}\n"},
		{"system prune", "", nil, ""}, {"system prune --volumes -a", "n\n", nil, ""},
		{"system prune", "y\n", []string{"container prune", "prune false"}, containers + rest + "Total reclaimed space: 2.5MB\n"},
		{"system prune -af", "", []string{"container prune", "prune true"}, containers + rest + "Total reclaimed space: 2.5MB\n"},
		{"system prune --force --volumes", "", []string{"container prune", "volume prune {All:false}", "prune false"}, containers + "Deleted volume: old\n" + rest + "Total reclaimed space: 4.5MB\n"},
		{"system prune -f --format {{.Volumes.Bytes}}:{{.Bytes}}", "", []string{"container prune", "prune false"}, "0:2503000\n"},
	} {
		f := newFake(t)
		f.networks = []api.Network{{Name: "lan"}}
		a, done := f.app(t, tc.stdin)
		r := done(a.Run(t.Context(), strings.Fields(tc.args)))
		if (r.code == 0) != (tc.calls != nil || tc.out != "") || r.out != tc.out || !slices.Equal(f.made(), tc.calls) {
			t.Errorf("%s with %q: %+v, called %q", tc.args, tc.stdin, r, f.made())
		}
		forced := slices.ContainsFunc(strings.Fields(tc.args), func(w string) bool { return w == "-f" || w == "-af" || w == "--force" })
		if asked := strings.Contains(r.errout, "Go on? [y/N]"); asked == forced {
			t.Errorf("%s asked: %q", tc.args, r.errout)
		}
	}
	f := newFake(t)
	a, done := f.app(t, "")
	const question = "This removes all containers that do not run; all networks that no container is connected to, but for default; " +
		"the volumes without a name of their own that no container has, with their data; and all images of which there is no container. Go on? [y/N] \nxc: nothing was removed: not confirmed (use --force)\n"
	if r := done(a.Run(t.Context(), []string{"system", "prune", "-a", "--volumes"})); r.code != 125 || r.errout != question {
		t.Errorf("%+v", r)
	}
	var got map[string]any
	if r := f.xc(t, "system", "prune", "-f", "--format", "json"); json.Unmarshal([]byte(r.out), &got) != nil || len(got) != 5 || strings.Contains(r.out, "null") {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "system", "prune", "everything"); r.code != 125 {
		t.Errorf("%+v", r)
	}
}

// What cannot be pruned keeps nothing else, and is told of after what is gone.
func TestPruneGoesOn(t *testing.T) {
	const containers, networks = "remove container stuck: it does not go; remove container other: nor does it", "remove network wan: it does not go"
	for _, tc := range []struct{ args, out, errout string }{
		{"container prune -f", "Deleted: old\nTotal reclaimed space: 1kB\n", containers},
		{"container prune -f --format {{.Names}}{{.Failed|len}}", "[old]2\n", containers},
		{"network prune -f", "lan\n", networks},
		{"network prune -f --format {{.|json}}", `{"names":["lan"],"failed":["remove network wan: it does not go"]}` + "\n", networks},
		{
			"system prune -f", "Deleted container: old\nDeleted network: lan\nUntagged: alpine:3\nDeleted: sha256:aa\nDeleted: sha256:bb\nTotal reclaimed space: 2.5MB\n",
			containers + "; " + networks,
		},
	} {
		f := newFake(t)
		f.networks, f.stuck = []api.Network{{Name: "lan"}}, true
		r := f.xc(t, strings.Fields(tc.args)...)
		if r.code != 125 || r.out != tc.out || r.errout != "xc: "+tc.errout+"\n" {
			t.Errorf("%s: %+v", tc.args, r)
		}
	}
}

// A template that cannot be printed keeps everything.
func TestPruneFormatFirst(t *testing.T) {
	for _, kind := range []string{"container", "network", "volume", "image", "system"} {
		for _, format := range []string{"{{.Nope}}", "{{", "{{range .Names}}{{.Nope}}{{end}}"} {
			f := newFake(t)
			f.networks = []api.Network{{Name: "lan"}}
			r := f.xc(t, kind, "prune", "-f", "--format", format)
			if r.code != 125 || r.out != "" || !strings.Contains(r.errout, "--format: ") || len(f.made()) > 0 || len(f.networks) == 0 {
				t.Errorf("%s %s: %+v, called %q", kind, format, r, f.made())
			}
		}
	}
	if r := newFake(t).xc(t, "system", "prune", "-f", "--format", "{{index .Containers.Names 0}}"); r.code != 0 || r.out != "old\n" {
		t.Errorf("%+v", r)
	}
}
