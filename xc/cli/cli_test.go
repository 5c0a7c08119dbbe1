package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

var update = flag.Bool("update", false, "write the golden files")

// standard programs of the fake engine.
func standard(f *fake) {
	f.programs["exit"] = func(p *process) api.Exit {
		var code int
		fmt.Sscan(p.args[1], &code)
		return api.Exit{Code: code}
	}
	f.programs["killed"] = func(*process) api.Exit { return api.Exit{Code: 137, Signal: "KILL"} }
	f.programs["lost"] = func(*process) api.Exit { return api.Exit{Code: 137, Lost: true} }
	f.programs["cat"] = func(p *process) api.Exit {
		if p.stdin == nil {
			fmt.Fprint(p.stderr, "no stdin")
			return api.Exit{Code: 1}
		}
		io.Copy(p.stdout, p.stdin)
		return api.Exit{}
	}
	f.programs["both"] = func(p *process) api.Exit {
		fmt.Fprint(p.stdout, "to stdout")
		fmt.Fprint(p.stderr, "to stderr")
		return api.Exit{}
	}
	f.programs["background"] = func(p *process) api.Exit {
		if p.stdin != nil || p.stdout != nil || p.stderr != nil {
			return api.Exit{Code: 1}
		}
		return api.Exit{Code: 3}
	}
}

func TestExitCodes(t *testing.T) {
	f := newFake(t)
	standard(f)
	if r := f.xc(t, "create", "--name", "web", "alpine:3", "exit", "0"); r.code != 0 {
		t.Fatal(r)
	}
	for _, c := range []struct {
		args   string
		code   int
		errout string // a part of it; none when empty
	}{
		{"run alpine:3 exit 0", 0, ""},
		{"run --rm alpine:3 exit 7", 7, ""},
		{"run alpine:3 killed", 137, ""},
		{"run alpine:3 lost", 137, "not known"},
		{"run alpine:3 nope", 127, "xc: start container"},
		{"run alpine:3 /etc/passwd", 126, "not executable"},
		{"run alpine:3 broken", 125, "the disk; is full\n"},
		{"run -d alpine:3 nope", 127, "command not found"},
		{"run nosuch", 125, "pull nosuch"},
		{"run", 125, "an image is missing"},
		{"run --rootfs /r exit 4", 4, ""},
		{"run --nonsense alpine:3", 125, "unknown flag: --nonsense; see xc run --help"},
		{"run --pull sometimes alpine:3", 125, "expected missing or always or never"},
		{"run -v /nonexistent:/m alpine:3 exit 0", 125, "-v /nonexistent:/m: open /nonexistent: no such file"},
		{"run -it alpine:3 exit 0", 125, "standard input is no terminal"},
		{"run -t --detach-keys ctrl alpine:3 exit 0", 125, "no ctrl-X"},
		{"run --detach-keys foo alpine:3 exit 0", 125, `"foo" is no character and no ctrl-X; see xc run --help`},
		{"run -d --detach-keys foo alpine:3 exit 0", 125, `"foo" is no character and no ctrl-X`},
		{"attach --detach-keys foo web", 125, `"foo" is no character and no ctrl-X`},
		{"run --rootfs /r --pull always exit 4", 125, "--pull: with --rootfs there is no image"},
		{"create --rootfs /r -P exit 4", 125, "--publish-all: with --rootfs there is no image"},
		{"run --rootfs /r --platform linux/amd64 exit 4", 125, "--platform: with --rootfs there is no image"},
		{"exec web exit 9", 9, ""},
		{"exec web nope", 127, "command not found"},
		{"exec nobody exit 0", 125, `container "nobody"`},
		{"exec -d web exit 9", 0, ""},
		{"exec -d web nope", 127, "command not found"},
		{"exec -d web /etc/passwd", 126, "not executable"},
		{"exec -d nobody exit 0", 125, `container "nobody"`},
		{"exec -di web exit 0", 125, "--interactive: nobody types where a command is detached"},
		{"attach web", 125, "does not run: start it first"},
		{"start nobody web2", 125, `container "nobody": file does not exist; container "web2"`},
		{"ps --format {{.Nonsense}}", 125, "--format"},
		{"ps --format {{", 125, "--format"},
		{"frobnicate", 125, `unknown command "frobnicate" for "xc"`},
		{"completion bahs", 125, `unknown command "bahs" for "xc completion"`},
		{"help frobnicate", 125, `unknown command "frobnicate" for "xc"`},
		{"help volume frobnicate", 125, `unknown command "frobnicate" for "xc volume"`},
		{"rm", 125, "requires at least 1 arg"},
		{"rm nobody", 125, `container "nobody"`},
		{"rm -f nobody", 0, ""},
		{"inspect web nobody", 125, "there is no container"},
		{"logs --tail x web", 125, "no number"},
		{"logs --since x web", 125, "no time"},
	} {
		r := f.xc(t, strings.Fields(c.args)...)
		if r.code != c.code || (c.errout == "") != (r.errout == "") || !strings.Contains(r.errout, c.errout) {
			t.Errorf("xc %s: code %d, %q; want %d, %q", c.args, r.code, r.errout, c.code, c.errout)
		}
		if n := strings.Count(r.errout, "\n"); n > 1 {
			t.Errorf("xc %s: %d lines of errors: %q", c.args, n, r.errout)
		}
	}
}

func TestStreams(t *testing.T) {
	f := newFake(t)
	standard(f)
	if r := f.xc(t, "run", "alpine:3", "both"); r.out != "to stdout" || r.errout != "to stderr" {
		t.Errorf("streams are mixed up: %+v", r)
	}
	for _, args := range [][]string{{"run", "-i", "alpine:3", "cat"}, {"exec", "-i", "made-up-0", "cat"}} {
		a, done := f.app(t, "typed")
		if r := done(a.Run(t.Context(), args)); r.out != "typed" || r.code != 0 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := f.xc(t, "run", "alpine:3", "cat"); r.code != 1 || r.errout != "no stdin" {
		t.Errorf("without -i: %+v", r)
	}
	r := f.xc(t, "run", "-d", "--name", "bg", "alpine:3", "background")
	if c, err := f.find("bg"); err != nil || r.out != c.ID+"\n" || r.code != 0 {
		t.Errorf("-d: %+v, %v", r, err)
	}
	if r := f.xc(t, "wait", "bg"); r.out != "3\n" {
		t.Errorf("wait: %+v (a detached container got descriptors?)", r)
	}
}

func TestPullPolicy(t *testing.T) {
	img := api.Image{ID: "sha256:1", Digest: "sha256:2", Names: []string{"docker.io/library/new:1"}, Platform: "linux/amd64"}
	for _, c := range []struct {
		args  string
		pulls int
		code  int
	}{
		{"run new:1 exit 3", 1, 3},
		{"run --pull missing new:1 exit 3", 1, 3},
		{"run --pull never new:1 exit 3", 0, 125},
		{"run --pull always alpine:3 exit 3", 1, 3},
		{"run alpine:3 exit 3", 0, 3},
		{"create new:1", 1, 0},
		{"create nosuch:1", 1, 125},
	} {
		f := newFake(t)
		standard(f)
		f.remote["new:1"], f.remote["alpine:3"] = img, f.images[0]
		r := f.xc(t, strings.Fields(c.args)...)
		pulls := 0
		for _, call := range f.made() {
			if strings.HasPrefix(call, "pull ") {
				pulls++
			}
		}
		if r.code != c.code || pulls != c.pulls {
			t.Errorf("xc %s: %+v and %d pulls, want code %d and %d pulls", c.args, r, pulls, c.code, c.pulls)
		}
		if c.pulls > 0 && c.code != 125 && !strings.Contains(r.errout, "121212121212: downloading (2kB)\n121212121212: unpacking\n121212121212: done\nimage: done\n") {
			t.Errorf("xc %s shows %q", c.args, r.errout)
		}
	}
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/env", []byte("# comment\n\nFROM_FILE=1\nXC_TEST_HERE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XC_TEST_HERE", "yes")
	ten, zero := 10, 0
	for _, c := range []struct {
		args []string
		want api.ContainerSpec
	}{
		{[]string{"alpine:3"}, api.ContainerSpec{Image: "alpine:3"}},
		{[]string{"alpine:3", "ls", "-l", "--rm"}, api.ContainerSpec{Image: "alpine:3", Command: []string{"ls", "-l", "--rm"}}},
		{[]string{"--rootfs", "/r", "ls"}, api.ContainerSpec{Rootfs: "/r", Command: []string{"ls"}}},
		{[]string{"--entrypoint", "", "alpine:3"}, api.ContainerSpec{Image: "alpine:3", Entrypoint: &[]string{}}},
		{[]string{"--entrypoint", "/bin/sh", "alpine:3"}, api.ContainerSpec{Image: "alpine:3", Entrypoint: &[]string{"/bin/sh"}}},
		{[]string{"--entrypoint", `["a","b c"]`, "alpine:3"}, api.ContainerSpec{Image: "alpine:3", Entrypoint: &[]string{"a", "b c"}}},
		{
			[]string{"-e", "A=1", "-e", "XC_TEST_HERE", "-e", "XC_TEST_NOT_HERE", "--env-file", dir + "/env", "alpine:3"},
			api.ContainerSpec{Image: "alpine:3", Env: []string{"FROM_FILE=1", "XC_TEST_HERE=yes", "A=1", "XC_TEST_HERE=yes"}},
		},
		{
			[]string{
				"-i", "-t", "--rm", "--name", "n", "-w", "/w", "-u", "1:2", "--hostname", "h", "--read-only", "--network", "host",
				"--platform", "linux/amd64", "--wait", "main", "-l", "a=b", "-l", "c", "--stop-signal", "INT", "--stop-timeout", "0",
				"-v", dir + ":/data:ro", "-v", dir + "/env:/env", "alpine:3", "sh",
			},
			api.ContainerSpec{
				Image: "alpine:3", Command: []string{"sh"}, OpenStdin: true, Terminal: true, AutoRemove: true, Name: "n", WorkDir: "/w",
				User: "1:2", Hostname: "h", ReadOnly: true, Networks: []api.Attachment{{Network: "host"}}, Platform: "linux/amd64", WaitMain: true,
				Labels: map[string]string{"a": "b", "c": ""}, StopSignal: "INT", StopTimeout: &zero,
				Mounts: []api.Mount{
					{Type: "bind", Source: dir, Destination: "/data", ReadOnly: true}, {Type: "bind", Source: dir + "/env", Destination: "/env"},
				},
			},
		},
		{
			[]string{"--init-command", "a && b", "--init-command", `["c", "d e"]`, "--deinit-command", "f", "--deinit-timeout", "10", "alpine:3"},
			api.ContainerSpec{
				Image: "alpine:3", InitCommands: &[]api.Command{{Args: []string{"/bin/sh", "-c", "a && b"}}, {Args: []string{"c", "d e"}}},
				DeinitCommands: &[]api.Command{{Args: []string{"/bin/sh", "-c", "f"}}}, DeinitTimeout: &ten,
			},
		},
		{[]string{"--init-command", "", "alpine:3"}, api.ContainerSpec{Image: "alpine:3", InitCommands: &[]api.Command{}}},
		{[]string{"--stop-timeout", "10", "alpine:3"}, api.ContainerSpec{Image: "alpine:3", StopTimeout: &ten}},
	} {
		f := newFake(t)
		r := f.xc(t, append([]string{"create"}, c.args...)...)
		if r.code != 0 {
			t.Errorf("create %q: %+v", c.args, r)
			continue
		}
		if got := f.first(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("create %q:\n got %+v\nwant %+v", c.args, got, c.want)
		}
	}
}

func TestRelativeMount(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	f := newFake(t)
	if r := f.xc(t, "create", "-v", ".:/here", "alpine:3"); r.code != 0 || f.first().Mounts[0].Source != dir {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "create", "-v", "data/none:/here", "alpine:3"); r.code != 125 || !strings.Contains(r.errout, "data/none") {
		t.Errorf("%+v", r)
	}
}

func TestCommandsReachTheEngine(t *testing.T) {
	f := newFake(t)
	standard(f)
	for _, name := range []string{"a", "b"} {
		if r := f.xc(t, "create", "--name", name, "alpine:3", "exit", "2"); r.code != 0 {
			t.Fatal(r)
		}
	}
	for _, c := range []struct{ args, out, call string }{
		{"stop a", "a\n", `stop a "" -1`},
		{"stop -t 0 -s INT a b", "a\nb\n", `stop b "INT" 0`},
		{"restart -t 3 a", "a\n", "restarted"},
		{"start a", "a\n", "start"},
		{"kill -s USR1 a", "a\n", "kill a USR1"},
		{"rm -f a", "a\n", "rm a true"},
		{"rm b", "b\n", "rm b false"},
		{"wait a", "2\n", "wait"},
		{"rmi alpine:3", "Untagged: alpine:3\nDeleted: sha256:" + strings.Repeat("ab", 32) + "\n", ""},
		{"version", "xc 0.9\nengine 1.2.3 (API revision 1, go1.26, freebsd/amd64)\n", ""},
		{"version --format {{.Server.Version}}", "1.2.3\n", ""},
		{"info --format {{.Storage}}", "zfs\n", ""},
		{"inspect --format {{.Name}}:{{.State}} b", "b:created\n", ""},
		{"inspect --type image --format {{.Platform}} alpine:3", "linux/amd64\n", ""},
	} {
		r := f.xc(t, strings.Fields(c.args)...)
		if r.code != 0 || r.out != c.out || c.call != "" && !f.noted(c.call) {
			t.Errorf("xc %s: %+v, calls %q; want %q and %q", c.args, r, f.made(), c.out, c.call)
		}
	}
	f.xc(t, "create", "--name", "stuck", "alpine:3", "exit", "2")
	if r := f.xc(t, "rm", "-f", "stuck", "nobody"); r.code != 125 || r.out != "" || !strings.Contains(r.errout, "its journal") {
		t.Errorf("a removal that fails for want of something: %+v", r)
	}
	if r := f.xc(t, "info"); !strings.Contains(r.out, "Storage:         zfs\n") || !strings.Contains(r.out, "WARNING: no pf\n") {
		t.Errorf("info: %q", r.out)
	}
	var list []api.Container
	if r := f.xc(t, "inspect", "a", "b"); json.Unmarshal([]byte(r.out), &list) != nil || len(list) != 2 || list[1].Name != "b" {
		t.Errorf("inspect: %+v", r)
	}
}

func TestTables(t *testing.T) {
	f := newFake(t)
	standard(f)
	f.xc(t, "create", "--name", "made", "alpine:3", "sh", "-c", "a rather long command")
	f.xc(t, "run", "--name", "done", "-l", "k=v", "alpine:3", "exit", "3")
	f.mu.Lock()
	f.images = append(f.images, api.Image{ID: "sha256:" + strings.Repeat("ef", 32), Created: time.Now().Add(-49 * time.Hour), Size: 999})
	f.mu.Unlock()
	for args, want := range map[string]string{
		"ps": "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     ADDRESS   NAMES\n",
		"ps -a": "CONTAINER ID   IMAGE      COMMAND                  CREATED         STATUS                              PORTS     ADDRESS   NAMES\n" +
			"c00000000000   alpine:3   \"sh -c a rather long…\"   5 minutes ago   Created                                                 made\n" +
			"c00000000001   alpine:3   \"exit 3\"                 5 minutes ago   Exited (3) Less than a second ago                       done\n",
		"ps -aq": "c00000000000\nc00000000001\n",
		"ps -a --no-trunc --format {{.Command}}|{{.Labels}}": "\"sh -c a rather long command\"|\n\"exit 3\"|\n",
		"images":                             "REPOSITORY   TAG       IMAGE ID       CREATED      SIZE\nalpine       3         abababababab   N/A          7.65MB\n<none>       <none>    efefefefefef   2 days ago   999B\n",
		"images -q":                          "abababababab\nefefefefefef\n",
		"images --no-trunc --format {{.ID}}": "sha256:" + strings.Repeat("ab", 32) + "\nsha256:" + strings.Repeat("ef", 32) + "\n",
	} {
		if r := f.xc(t, strings.Fields(args)...); r.code != 0 || r.out != want {
			t.Errorf("xc %s: %d %s\n%s\nwant\n%s", args, r.code, r.errout, r.out, want)
		}
	}
	if r := f.xc(t, "ps", "-a", "--format", `table {{.Names}}\t{{.State}}`); r.out != "NAMES     STATE\nmade      created\ndone      exited\n" {
		t.Errorf("own table: %q", r.out)
	}
	r := f.xc(t, "ps", "-a", "--format", "json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	var row map[string]string
	if len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &row) != nil || row["Names"] != "done" || row["State"] != "exited" {
		t.Errorf("json: %q", r.out)
	}
}

func TestLogs(t *testing.T) {
	f := newFake(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	f.logs = []api.LogEntry{
		{Time: at, Stream: "stdout", Data: []byte("begin ")}, {Time: at, Stream: "stderr", Data: []byte("oops\n")},
		{Time: at, Stream: "stdout", Data: []byte("end\n")}, {Time: at, Stream: "stdout", Data: []byte("more\n")},
	}
	if r := f.xc(t, "logs", "x"); r.out != "begin end\nmore\n" || r.errout != "oops\n" {
		t.Errorf("%+v", r)
	}
	const stamp = "2026-01-02T03:04:05.000000006Z "
	if r := f.xc(t, "logs", "-t", "x"); r.out != stamp+"begin end\n"+stamp+"more\n" || r.errout != stamp+"oops\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "logs", "-f", "-n", "5", "--since", "2026-01-02T03:04:05Z", "x"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.logOptions; !o.Follow || o.Tail == nil || *o.Tail != 5 || !o.Since.Equal(at.Truncate(time.Second)) {
		t.Errorf("options: %+v", o)
	}
}

func TestImport(t *testing.T) {
	f := newFake(t)
	a, done := f.app(t, "the archive")
	r := done(a.Run(t.Context(), []string{
		"import", "-c", `CMD ["a", "b"]`, "-c", "EXPOSE 80 53/udp", "-c", `VOLUME ["/a b"]`, "-c", "VOLUME /c", "-c", "STOPSIGNAL INT", "-c", "entrypoint run it", "-c", `ENV A="x y"`, "-c", "LABEL l=v", "-c", "USER u", "-c", "WORKDIR /w", "-", "name:1",
	}))
	want := api.ImportSpec{
		Name: "name:1", ConfigChange: api.ConfigChange{
			Cmd: []string{"a", "b"}, Entrypoint: []string{"/bin/sh", "-c", "run it"}, Env: []string{"A=x y"},
			Labels: map[string]string{"l": "v"}, User: "u", WorkDir: "/w",
			ExposedPorts: []string{"80", "53/udp"}, Volumes: []string{"/a b", "/c"}, StopSignal: "INT",
		},
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.out != "sha256:imported\n" || f.archive != "the archive" || !reflect.DeepEqual(f.imported, want) {
		t.Errorf("%+v\n%+v\nwant %+v", r, f.imported, want)
	}
}

func TestImportRefuses(t *testing.T) {
	f := newFake(t)
	for _, bad := range []string{"ONBUILD x", "CMD", "ENV x", `CMD ["a"`} {
		if r := f.xc(t, "import", "-c", bad, "-", "n"); r.code != 125 || !strings.Contains(r.errout, bad[:3]) {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	if r := f.xc(t, "import", "/nonexistent", "n"); r.code != 125 || !strings.Contains(r.errout, "/nonexistent") {
		t.Errorf("%+v", r)
	}
}

func TestDaemonIsNotThere(t *testing.T) {
	for cause, want := range map[error]string{
		fs.ErrNotExist:       "start it (as root: xcd)",
		syscall.ECONNREFUSED: "start it (as root: xcd)",
		fs.ErrPermission:     "run xc as root",
		errors.New("odd"):    "connect to xcd on /run/test.sock: odd",
	} {
		f := newFake(t)
		f.refuse = cause
		if r := f.xc(t, "ps"); r.code != 125 || !strings.Contains(r.errout, want) || !strings.Contains(r.errout, "/run/test.sock") {
			t.Errorf("%v: %+v", cause, r)
		}
	}
	f := newFake(t)
	f.refuse = fs.ErrNotExist
	for _, args := range []string{"--help", "completion bash", "run --help", "--version"} { // need no daemon
		if r := f.xc(t, strings.Fields(args)...); r.code != 0 || r.out == "" {
			t.Errorf("xc %s: %+v", args, r)
		}
	}
}

// The client's version is told also where the engine's cannot be.
func TestVersionWithoutDaemon(t *testing.T) {
	f := newFake(t)
	f.refuse = fs.ErrNotExist
	for args, want := range map[string]string{
		"version": "xc 0.9\n", "version --format {{.Client}}": "0.9\n", "version --format json": "{\n    \"client\": \"0.9\"\n}\n",
	} {
		if r := f.xc(t, strings.Fields(args)...); r.code != 125 || r.out != want || !strings.Contains(r.errout, "xcd does not answer") || strings.Count(r.errout, "\n") != 1 {
			t.Errorf("xc %s: %+v", args, r)
		}
	}
	if r := f.xc(t, "--version"); r.code != 0 || r.out != "xc 0.9\n" {
		t.Errorf("%+v", r)
	}
}

func TestCompletion(t *testing.T) {
	f := newFake(t)
	standard(f)
	f.xc(t, "create", "--name", "web-1", "alpine:3", "exit", "0")
	f.xc(t, "run", "--name", "web-2", "alpine:3", "exit", "0")
	for args, want := range map[string]string{
		"rm we":          "web-1\nweb-2\n:4\n",
		"rm web-1 we":    "web-1\nweb-2\n:4\n",
		"exec we":        ":4\n", // none of them runs
		"run al":         "alpine:3\n:4\n",
		"run alpine:3 x": ":0\n", // a command: whatever the shell thinks
		"cp we":          "web-1:\nweb-2:\n:6\n", "cp web-1:/x we": "web-1:\nweb-2:\n:6\n", "cp ./x": ":0\n",
		"inspect ": "web-1\nweb-2\nalpine:3\n:4\n",
	} {
		a, done := f.app(t, "")
		r := done(a.Run(t.Context(), append([]string{"__complete"}, strings.Split(args, " ")...)))
		if r.out != want {
			t.Errorf("completing %q: %q, want %q", args, r.out, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := f.xc(t, "completion", shell); r.code != 0 || !strings.Contains(r.out, "xc") {
			t.Errorf("%s: %+v", shell, r.code)
		}
	}
}

// The help of all commands, so that a change of the words is seen in review.
func TestHelp(t *testing.T) {
	f := newFake(t)
	var b bytes.Buffer
	commands := []string{""}
	for _, line := range strings.Split(f.xc(t, "--help").out, "\n") {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && strings.HasPrefix(line, "  ") && !strings.HasPrefix(name, "-") {
			commands = append(commands, name)
		}
	}
	for _, c := range commands {
		if c == "help" || c == "completion" { // cobra's own
			continue
		}
		fmt.Fprintf(&b, "$ xc %s\n%s\n", strings.TrimSpace(c+" --help"), f.xc(t, append(strings.Fields(c), "--help")...).out)
	}
	const name = "testdata/help.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(want, b.Bytes()) {
		t.Errorf("the help is not that of %s (%v); go test ./xc/cli -update writes it anew", name, err)
	}
	for _, c := range strings.Fields("run create start stop kill rm wait exec attach logs ps inspect images pull rmi import info version completion") {
		if !slices.Contains(commands, c) {
			t.Errorf("there is no command %s", c)
		}
	}
}
