package cli_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestTag(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "tag", "alpine:3", "mine"); r.code != 0 || !f.noted("tag alpine:3 mine") {
		t.Errorf("%+v %q", r, f.made())
	}
	if r := f.xc(t, "image", "tag", "nothing", "mine"); r.code != 125 {
		t.Errorf("%+v", r)
	}
}

func TestHistory(t *testing.T) {
	f := newFake(t)
	want := `LAYER          CREATED       CREATED BY                                      SIZE      COMMENT
<none>         N/A           /bin/sh -c #(nop) CMD ["/bin/sh"]               0B        
0123456789ab   2 hours ago   /bin/sh -c apk add a-package-with-quite-a-lo…   1.5kB     first
`
	if r := f.xc(t, "history", "alpine:3"); r.out != want {
		t.Errorf("%s%s\nwant\n%s", r.out, r.errout, want)
	}
	if r := f.xc(t, "history", "-q", "--no-trunc", "alpine:3"); r.out != "<none>\nsha256:0123456789abcdef\n" {
		t.Errorf("%q %s", r.out, r.errout)
	}
}

// Nothing is removed unless somebody says yes.
func TestImagePrune(t *testing.T) {
	for _, c := range []struct {
		args, stdin string
		done        bool
	}{
		{"image prune", "", false}, {"image prune", "n\n", false}, {"image prune", "y\n", true},
		{"image prune -f", "", true}, {"image prune --all", "yes\n", true},
	} {
		f := newFake(t)
		a, done := f.app(t, c.stdin)
		r := done(a.Run(t.Context(), strings.Fields(c.args)))
		called := f.noted("prune false") || f.noted("prune true")
		if (r.code == 0) != c.done || called != c.done || f.noted("prune true") != strings.Contains(c.args, "all") {
			t.Errorf("%s with %q: %+v, called %q", c.args, c.stdin, r, f.made())
		}
		if c.done && r.out != "Untagged: alpine:3\nDeleted: sha256:aa\nDeleted: sha256:bb\nTotal reclaimed space: 2.5MB\n" {
			t.Errorf("%s: %q", c.args, r.out)
		}
	}
}

func TestDiskUsage(t *testing.T) {
	want := `TYPE         TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images       3         1         4MB       1MB (25%)
Containers   0         0         0B        0B
`
	if r := newFake(t).xc(t, "system", "df"); r.out != want {
		t.Errorf("%s%s\nwant\n%s", r.out, r.errout, want)
	}
}

func TestDiff(t *testing.T) {
	f := newFake(t)
	f.xc(t, "create", "--name", "web", "alpine:3", "true")
	if r := f.xc(t, "diff", "web"); r.out != "C /etc\nA /etc/a b\nD /usr\nA /caf\xe9\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "diff", "--format", "json", "web"); !strings.HasPrefix(r.out, `{"Kind":"C","Path":"/etc"}`+"\n") || !strings.HasSuffix(r.out, `{"Kind":"A","Path":"/caf\ufffd","RawPath":"L2NhZuk="}`+"\n") {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "diff", "nothing"); r.code != 125 {
		t.Errorf("%+v", r)
	}
}

func TestCommit(t *testing.T) {
	f := newFake(t)
	f.xc(t, "create", "--name", "web", "alpine:3", "true")
	r := f.xc(t, "commit", "-a", "me <a@b>", "-m", "why", "-c", "USER www", "web", "mine:2")
	want := api.CommitSpec{Name: "mine:2", Author: "me <a@b>", Message: "why", ConfigChange: api.ConfigChange{User: "www"}}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.out != "sha256:committed\n" || !reflect.DeepEqual(f.committed, want) {
		t.Errorf("%+v\n%+v", r, f.committed)
	}
}
