package engine_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// What a process finds in its environment where nobody has said anything, and
// what the image, the container and exec say over that.
func TestIntegrationEnvironment(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	const show = `echo "$PATH|$HOSTNAME|$HOME|$TERM|$FROM|$A"`
	for name, tt := range map[string]struct {
		spec api.ContainerSpec
		want string
	}{
		"defaults": {api.ContainerSpec{Hostname: "box"}, path + "|box|/root||image|"},
		"a user":   {api.ContainerSpec{Hostname: "box", User: "alice"}, path + "|box|/||image|"},
		"terminal": {api.ContainerSpec{Hostname: "box", Terminal: true}, path + "|box|/root|xterm|image|"},
		"given": {api.ContainerSpec{Hostname: "box", Terminal: true, Env: []string{"PATH=/bin", "HOSTNAME=x", "HOME=/h", "TERM=vt100", "FROM=user", "A=b", "A=c"}},
			"/bin|x|/h|vt100|user|c"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, exit := sh(t, e, tt.spec, show); strings.TrimSpace(out) != tt.want || exit.Code != 0 {
				t.Errorf("%q, %+v; want %q", out, exit, tt.want)
			}
		})
	}
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}, Hostname: "box", Env: []string{"A=b"}, User: "alice"})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: []string{"sh", "-c", show}, Env: []string{"FROM=exec"}, Stdio: api.Stdio{Stdout: w, Stderr: w}})
	w.Close()
	out, rerr := io.ReadAll(r)
	if want := path + "|box|/||exec|b\n"; err != nil || rerr != nil || exit.Code != 0 || string(out) != want {
		t.Errorf("exec: %q, %+v, %v, %v; want %q", out, exit, err, rerr, want)
	}
}
