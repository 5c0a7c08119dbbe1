package cli_test

import (
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// Commands have the names that Docker's users know, in groups and alone.
func TestWordsInGroups(t *testing.T) {
	f := newFake(t)
	standard(f)
	f.networks = []api.Network{{Name: "lan"}}
	f.volumes = []api.Volume{{Name: "db"}}
	for _, tc := range []struct {
		args string
		code int
		out  string
		err  string // in it
	}{
		{"container create --name web alpine:3 exit 4", 0, "c00000000000\n", ""},
		{"container ls -aq", 0, "c00000000000\n", ""},
		{"container ps -aq", 0, "c00000000000\n", ""}, {"container list -aq", 0, "c00000000000\n", ""},
		{"image list --format {{.Tag}}", 0, "3\n", ""}, {"network list -q", 0, "lan\n", ""}, {"volume list -q", 0, "db\n", ""},
		{"list", 125, "", `unknown command "list" for "xc"`},
		{"container run --name b alpine:3 exit 3", 3, "", ""},
		{"container rm b", 0, "b\n", ""},
		{"container inspect -f {{.State}} web", 0, "created\n", ""},
		{"container inspect -f {{.State}} alpine:3", 125, "", `container "alpine:3"`},
		{"container rdr", 125, "", `unknown command "rdr" for "xc container"`},
		{"image inspect -f {{.Platform}} alpine:3", 0, "linux/amd64\n", ""},
		{"image inspect -f {{.Platform}} web", 125, "", "image web"},
		{"network inspect -f {{.Name}} lan", 0, "lan\n", ""},
		{"volume inspect -f {{.Name}} db", 0, "db\n", ""},
		{"inspect -f {{.Name}} web", 0, "web\n", ""},
		{"container remove web", 0, "web\n", ""}, {"network remove lan", 0, "lan\n", ""}, {"volume remove db", 0, "db\n", ""},
		{"image remove alpine:3", 0, "Untagged: alpine:3\nDeleted: sha256:" + strings.Repeat("ab", 32) + "\n", ""}, {"remove web", 125, "", "unknown command"},
		{"inspect -f json nothing", 125, "[]\n", "nothing"},
	} {
		r := f.xc(t, strings.Fields(tc.args)...)
		if r.code != tc.code || r.out != tc.out || (tc.err == "") != (r.errout == "") || !strings.Contains(r.errout, tc.err) {
			t.Errorf("xc %s: %+v", tc.args, r)
		}
	}
	for args, want := range map[string]string{"container inspect w": "web\n:4\n", "image inspect a": "alpine:3\n:4\n", "container exec -u x ": ":4\n"} {
		a, done := f.app(t, "")
		if r := done(a.Run(t.Context(), append([]string{"__complete"}, strings.Split(args, " ")...))); r.out != want {
			t.Errorf("completing %q: %q, want %q", args, r.out, want)
		}
	}
}
