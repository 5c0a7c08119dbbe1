package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/testns"
)

func TestMain(m *testing.M) {
	engine.Main() // the test binary is the run loop and ocitar as well
	if crashHelper() || chaosDaemon() || channelHelper() || imageHelper() || releaseHelper() {
		return
	}
	testns.Enter()
	os.Exit(m.Run())
}

// testEngine opens an engine of its own and checks at the end that it leaves
// nothing on the host.
func testEngine(t *testing.T) *engine.Engine {
	t.Helper()
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	t.Cleanup(func() { closeClean(t, e) })
	return e
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root: run go test with sudo, or -exec sudo")
	}
}

// shortTempDir is a directory whose sockets have short enough names (sun_path).
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "xc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is left in the state directory: %v", err)
		}
	})
	makeDatasets(t, dir)
	makeRoots(t, dir)
	return dir
}

// rootsEnv chooses how roots in directories are kept: a dirstore.Mode, the best
// that works when it is not set.
const rootsEnv = "XC_TEST_ROOTS"

// makeRoots makes the store of roots of an engine in dir, which keeps its mode.
func makeRoots(t testing.TB, dir string) {
	t.Helper()
	if mode := os.Getenv(rootsEnv); mode != "" {
		if _, err := dirstore.Open(filepath.Join(dir, "state", "roots"), &dirstore.Options{Mode: dirstore.Mode(mode)}); err != nil {
			t.Fatal(err)
		}
	}
}

func openEngine(t *testing.T, dir string, trace func(string)) *engine.Engine {
	t.Helper()
	c := config(dir)
	c.Trace = trace
	return openWith(t, c)
}

func openWith(t *testing.T, c engine.Config) *engine.Engine {
	t.Helper()
	c.Report = func(err error) { t.Errorf("reported: %v", err) }
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// config is that of an engine in dir. Its roots are on ZFS when a dataset for
// tests was made, see makeDatasets.
func config(dir string) engine.Config {
	c := engine.Config{StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"), Spare: true, EventsMax: 1 << 20}
	if parent := os.Getenv(datasetEnv); parent != "" {
		c.ImageDataset, c.ContainerDataset = datasets(parent, dir)
		c.VolumeDataset = volumeDataset(parent, dir)
	}
	if path, err := filepath.Abs(os.Getenv(runLoopEnv)); err == nil && os.Getenv(runLoopEnv) != "" {
		c.RunLoop = []string{path, "xc-runloop"}
	}
	return c
}

// runLoopEnv names the program of run loops, for benchmarks: the test's own, which
// is them otherwise, takes longer to start.
const runLoopEnv = "XC_TEST_RUNLOOP"

// datasetEnv names a dataset below which tests may make theirs, so that they
// run on ZFS.
const datasetEnv = "XC_TEST_DATASET"

func datasets(parent, dir string) (images, containers string) {
	base := parent + "/" + filepath.Base(dir)
	return base + "-images", base + "-containers"
}

// volumeDataset is the dataset for the volumes of an engine in dir.
func volumeDataset(parent, dir string) string { return parent + "/" + filepath.Base(dir) + "-volumes" }

// makeDatasets makes the datasets for an engine in dir, if it is to have some.
func makeDatasets(t testing.TB, dir string) {
	t.Helper()
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		return
	}
	images, containers := datasets(parent, dir)
	for _, d := range []string{images, containers, volumeDataset(parent, dir)} {
		if out, err := exec.Command("zfs", "create", "-p", "-o", "mountpoint=none", d).CombinedOutput(); err != nil {
			t.Fatalf("zfs create %s: %v: %s", d, err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("zfs", "destroy", "-r", d).CombinedOutput(); err != nil {
				t.Errorf("zfs destroy %s: %v: %s", d, err, out)
			}
		})
	}
}

// closeClean removes all containers, and fails when something else is left.
func closeClean(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx := context.Background()
	list, err := e.ListContainers(ctx, api.ListOptions{All: true})
	if err != nil {
		t.Error(err)
	}
	for _, c := range list {
		if err := e.RemoveContainer(ctx, c.ID, api.RemoveOptions{Force: true}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if _, err := e.PruneVolumes(ctx, api.PruneVolumesOptions{All: true}); err != nil {
		t.Error(err)
	}
	volumes, err := e.ListVolumes(ctx)
	if err != nil || len(volumes) > 0 {
		t.Errorf("volumes that could not be removed: %+v (%v)", volumes, err)
	}
	left, err := e.Leftovers(ctx)
	if err != nil || len(left) > 0 {
		t.Errorf("left on the host: %q (%v)", left, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// importRoot imports rootTar as an image with this name.
func importRoot(t testing.TB, e api.Engine, name string) api.Image {
	t.Helper()
	return importRootAs(t, e, name, "")
}

// importRootAs does so for a platform.
func importRootAs(t testing.TB, e api.Engine, name, platform string) api.Image {
	t.Helper()
	b := rootOf(t)
	path := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := e.ImportImage(t.Context(), api.ImportSpec{Name: name, Archive: f, Platform: platform, ConfigChange: api.ConfigChange{Cmd: []string{"/bin/sh"}, Env: []string{"FROM=image"}}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// unpackRoot unpacks rootTar into a directory.
func unpackRoot(t testing.TB, dir string) {
	t.Helper()
	b := rootOf(t)
	c := exec.Command("tar", "-xpf", "-", "-C", dir)
	c.Stdin = bytes.NewReader(b)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}

// sh runs a script in a new container to its end.
func sh(t testing.TB, e api.Engine, spec api.ContainerSpec, script string) (out string, exit api.Exit) {
	t.Helper()
	if spec.Image == "" && spec.Rootfs == "" {
		spec.Image = "root"
	}
	spec.Command = []string{"sh", "-c", script}
	c, err := e.CreateContainer(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = e.StartContainer(t.Context(), c.ID, api.StartOptions{Stdio: api.Stdio{Stdout: w, Stderr: w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	exit, err = e.WaitContainer(t.Context(), c.ID, api.WaitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !spec.AutoRemove {
		if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return string(b), exit
}

func TestIntegrationRun(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, tc := range []struct {
		name   string
		spec   api.ContainerSpec
		script string
		out    string
		code   int
		signal string
	}{
		{name: "output and code", script: "cat /etc/os-release; exit 7", out: "NAME=test\n", code: 7},
		{name: "both streams", script: "echo a; echo b >&2", out: "a\nb\n"},
		{name: "signal", script: "kill -9 $$", code: 137, signal: "KILL"},
		{name: "hostname", spec: api.ContainerSpec{Hostname: "here"}, script: "hostname", out: "here\n"},
		{name: "environment", spec: api.ContainerSpec{Env: []string{"A=b c", "FROM=user"}}, script: `echo "$A $FROM $HOME"`, out: "b c user /root\n"},
		{name: "user by name", spec: api.ContainerSpec{User: "alice"}, script: `echo $(id -u):$(id -g):$(id -G)`, out: "1000:1000:1000 2000\n"},
		{name: "user by number", spec: api.ContainerSpec{User: "12:34"}, script: `echo $(id -u):$(id -g):$(id -G)`, out: "12:34:34\n"},
		{name: "working directory", spec: api.ContainerSpec{WorkDir: "/etc"}, script: "pwd", out: "/etc\n"},
		{name: "late descendant", script: "(sleep 0.3; echo late) & exit 0", out: "late\n"},
		{name: "orphan", script: "(sh -c 'sleep 0.3; echo late' &) ; exit 3", out: "late\n", code: 3},
		{name: "stdin is empty", script: "cat", out: ""},
		{name: "root can be written", script: "echo x >/etc/x && cat /etc/x", out: "x\n"},
		{name: "read-only root", spec: api.ContainerSpec{ReadOnly: true}, script: "touch /etc/x 2>/dev/null || echo no", out: "no\n"},
		{name: "auto remove", spec: api.ContainerSpec{AutoRemove: true}, script: "exit 9", code: 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, exit := sh(t, e, tc.spec, tc.script)
			if out != tc.out || exit.Code != tc.code || exit.Signal != tc.signal {
				t.Errorf("got %q, %+v; want %q, code %d, signal %q", out, exit, tc.out, tc.code, tc.signal)
			}
		})
	}
}

func TestIntegrationWaitMain(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	out, exit := sh(t, e, api.ContainerSpec{WaitMain: true}, "sleep 1000 & exit 4")
	if out != "" || exit.Code != 4 {
		t.Errorf("got %q, %+v", out, exit)
	}
}

func TestIntegrationCannotRun(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, tc := range []struct {
		args []string
		want error
		code int
	}{
		{[]string{"/no/such"}, api.ErrCommandNotFound, 127},
		{[]string{"nosuch"}, api.ErrCommandNotFound, 127},
		{[]string{"/etc/passwd"}, api.ErrNotExecutable, 126},
		{[]string{"/etc"}, api.ErrNotExecutable, 126},
	} {
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: tc.args})
		if err != nil {
			t.Fatal(err)
		}
		err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
		if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.args[0]) {
			t.Errorf("%q: %v, want %v", tc.args, err, tc.want)
		}
		got, err := e.InspectContainer(t.Context(), c.ID)
		if err != nil || got.State != api.StateExited || got.Exit == nil || got.Exit.Code != tc.code {
			t.Errorf("%q: %+v, %v; want code %d", tc.args, got.Exit, err, tc.code)
		}
	}
}

func TestIntegrationLifeInBackground(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	c, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "bg", Image: "root", Command: []string{"sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "bg", Image: "root"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name twice: %v", err)
	}
	if err := e.StartContainer(ctx, "bg", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(ctx, "bg", api.StartOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("started twice: %v", err)
	}
	if err := e.RemoveContainer(ctx, "bg", api.RemoveOptions{}); err == nil {
		t.Error("removed while running")
	}
	exit, err := e.ExecContainer(ctx, c.ID[:6], api.ExecOptions{Args: []string{"sh", "-c", "exit 6"}})
	if err != nil || exit.Code != 6 {
		t.Errorf("exec: %+v, %v", exit, err)
	}
	if _, err := e.ExecContainer(ctx, "bg", api.ExecOptions{Args: []string{"nosuch"}}); !errors.Is(err, api.ErrCommandNotFound) {
		t.Errorf("exec of nothing: %v", err)
	}
	waitLog(t, e, "bg", "up\n")
	list, err := e.ListContainers(ctx, api.ListOptions{})
	if err != nil || len(list) != 1 || list[0].Name != "bg" || list[0].Pid == 0 {
		t.Errorf("ps: %+v, %v", list, err)
	}
	if err := e.StopContainer(ctx, "bg", api.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if exit, err = e.WaitContainer(ctx, "bg", api.WaitOptions{}); err != nil || exit.Code != 5 {
		t.Errorf("wait: %+v, %v", exit, err)
	}
	if out := logs(t, e, "bg"); out != "up\nbye\n" {
		t.Errorf("logs: %q", out)
	}
	// And again: what it wrote into its root is still there.
	if err := e.StartContainer(ctx, "bg", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.KillContainer(ctx, "bg", "KILL"); err != nil {
		t.Fatal(err)
	}
	if exit, err = e.WaitContainer(ctx, "bg", api.WaitOptions{}); err != nil || exit.Code != 137 || exit.Signal != "KILL" {
		t.Errorf("wait after kill: %+v, %v", exit, err)
	}
}

func logs(t *testing.T, e api.Engine, name string) string {
	t.Helper()
	var b strings.Builder
	err := e.ContainerLogs(t.Context(), name, api.LogOptions{}, func(l api.LogEntry) error { b.Write(l.Data); return nil })
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

// waitLog returns when the log of a running container begins with text.
func waitLog(t *testing.T, e api.Engine, name, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var b strings.Builder
	done := errors.New("seen")
	err := e.ContainerLogs(ctx, name, api.LogOptions{Follow: true}, func(l api.LogEntry) error {
		b.Write(l.Data)
		if strings.HasPrefix(b.String(), text) {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatalf("log of %s is %q (%v)", name, b.String(), err)
	}
}

func TestIntegrationMounts(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rw := api.Mount{Source: dir, Destination: "/mnt/rw"}
	ro := api.Mount{Source: dir, Destination: "/mnt/ro", ReadOnly: true}
	file := api.Mount{Source: filepath.Join(dir, "f"), Destination: "/etc/one"}
	out, _ := sh(t, e, api.ContainerSpec{Mounts: []api.Mount{rw, ro, file}},
		"cat /mnt/rw/f /etc/one; echo in >/mnt/rw/g; touch /mnt/ro/h 2>/dev/null || echo read-only")
	if out != "host\nhost\nread-only\n" {
		t.Errorf("got %q", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "g")); err != nil || string(b) != "in\n" {
		t.Errorf("written through the mount: %q, %v", b, err)
	}
	other, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Mounts: []api.Mount{{Source: dir, Destination: "/m", Opened: other}}})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a source that is another file for the caller: %v", err)
	}
}

func TestIntegrationRestartOfTheEngine(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	ctx := t.Context()
	spec := api.ContainerSpec{Image: "root"}
	spec.Name, spec.Command = "lives", []string{"sh", "-c", "echo up; sleep 1000"}
	start(t, e, spec)
	spec.Name, spec.Command = "ends", []string{"sh", "-c", "echo up; read x; exit 11"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	startWith(t, e, spec, api.StartOptions{Stdio: api.Stdio{Stdin: r}})
	r.Close()
	waitLog(t, e, "lives", "up\n")
	waitLog(t, e, "ends", "up\n")
	if _, err := engine.Open(ctx, config(dir)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second engine on the same state: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.Close() // main ends while no engine runs
	e = openEngine(t, dir, nil)
	defer func() { closeClean(t, e) }()
	if exit, err := e.WaitContainer(ctx, "ends", api.WaitOptions{}); err != nil || exit.Code != 11 {
		t.Errorf("end that nobody saw: %+v, %v", exit, err)
	}
	if c, err := e.InspectContainer(ctx, "lives"); err != nil || c.State != api.StateRunning {
		t.Errorf("container across a restart: %+v, %v", c, err)
	}
	exit, err := e.ExecContainer(ctx, "lives", api.ExecOptions{Args: []string{"true"}})
	if err != nil || exit.Code != 0 {
		t.Errorf("exec after a restart: %+v, %v", exit, err)
	}
	if out := logs(t, e, "lives"); out != "up\n" {
		t.Errorf("log after a restart: %q", out)
	}
}

func start(t *testing.T, e api.Engine, spec api.ContainerSpec) api.Container {
	t.Helper()
	return startWith(t, e, spec, api.StartOptions{})
}

func startWith(t *testing.T, e api.Engine, spec api.ContainerSpec, opt api.StartOptions) api.Container {
	t.Helper()
	spec.OpenStdin = spec.OpenStdin || opt.Stdio.Stdin != nil
	c, err := e.CreateContainer(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, opt); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIntegrationImages(t *testing.T) {
	e := testEngine(t)
	ctx := t.Context()
	img := importRoot(t, e, "one:v1")
	c, err := e.CreateContainer(ctx, api.ContainerSpec{Image: img.ID[len("sha256:"):][:12]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.RemoveImage(ctx, "one:v1", api.RemoveImageOptions{}); err == nil || !strings.Contains(err.Error(), c.Name) {
		t.Errorf("an image in use: %v", err)
	}
	if err := e.RemoveContainer(ctx, c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	removed, err := e.RemoveImage(ctx, "one:v1", api.RemoveImageOptions{})
	if err != nil || !slices.Contains(removed, "docker.io/library/one:v1") {
		t.Errorf("removed %q, %v", removed, err)
	}
	if list, err := e.ListImages(ctx, api.ListImagesOptions{}); err != nil || len(list) != 0 {
		t.Errorf("images left: %+v, %v", list, err)
	}
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Image: "one:v1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image that is not there: %v", err)
	}
}

func BenchmarkTrue(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("containers need root")
	}
	dir, err := os.MkdirTemp("", "xc")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := engine.Open(b.Context(), engine.Config{StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run")})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	importRoot(b, e, "root")
	for b.Loop() {
		c, err := e.CreateContainer(b.Context(), api.ContainerSpec{Image: "root", Command: []string{"/bin/true"}, AutoRemove: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.StartContainer(b.Context(), c.ID, api.StartOptions{}); err != nil {
			b.Fatal(err)
		}
		if exit, err := e.WaitContainer(b.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 0 {
			b.Fatal(exit, err)
		}
	}
}
