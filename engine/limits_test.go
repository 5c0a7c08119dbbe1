package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// limitable skips where the host has nothing to limit with.
func limitable(t *testing.T, e api.Engine, l api.Limits) {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Limits: l})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What goes beyond the limit of memory is killed, and nothing else of the host.
func TestIntegrationMemoryLimit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := api.Limits{Memory: 20 << 20}
	limitable(t, e, l)
	const grow = "i=0; x=12345678; while [ $i -lt %; do x=$x$x; i=$((i+1)); done; "
	start := time.Now()
	_, exit := sh(t, e, api.ContainerSpec{Limits: l}, strings.Replace(grow, "%", "23 ]", 1)+"sleep 60; exit 3") // 64 MiB
	if exit.Code != 137 || exit.Signal != "KILL" || exit.Lost || time.Since(start) > 50*time.Second {
		t.Errorf("after %v: %+v", time.Since(start), exit)
	}
	if exit.OOM != oomKnown {
		t.Errorf("%+v: out of memory %v, want %v", exit, exit.OOM, oomKnown)
	}
	if _, exit := sh(t, e, api.ContainerSpec{Limits: l}, strings.Replace(grow, "%", "17 ]", 1)+"exit 3"); exit.Code != 3 || exit.OOM { // 1 MiB
		t.Errorf("within its limit: %+v", exit)
	}
}

// At the limit of processes no more can be made, and a container has it back
// when some have ended.
func TestIntegrationPidsLimit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := api.Limits{Pids: 5}
	limitable(t, e, l)
	for range 3 { // the first one may come before there is a run loop that was kept ready
		// A shell that cannot fork ends, with 2; of what it has started four live.
		out, exit := sh(t, e, api.ContainerSpec{Limits: l}, "for i in 1 2 3 4 5 6; do sleep 1 & echo $i; done")
		if out = strings.ToLower(out); !strings.HasPrefix(out, "1\n2\n3\n4\n") || strings.Contains(out, "5\n") || !strings.Contains(out, "fork") || exit.Code == 0 {
			t.Errorf("%q, %+v", out, exit)
		}
	}
	if out, exit := sh(t, e, api.ContainerSpec{Limits: l}, "for i in 1 2 3 4 5 6 7 8 9; do true & wait; done; echo done"); out != "done\n" || exit.Code != 0 {
		t.Errorf("one after the other: %q, %+v", out, exit)
	}
}

// A container that would use all the time of a processor gets its share.
func TestIntegrationCPULimit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := api.Limits{CPUs: 0.25}
	limitable(t, e, l)
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sh", "-c", "while :; do :; done"}, Limits: l})
	used := func() float64 {
		list, err := e.ContainerProcesses(t.Context(), c.ID)
		if err != nil || len(list) != 1 {
			t.Fatalf("processes %+v, %v", list, err)
		}
		return list[0].CPU
	}
	time.Sleep(cpuSettles)
	began, before := time.Now(), used()
	time.Sleep(4 * time.Second)
	share := (used() - before) / time.Since(began).Seconds()
	if share > 0.5 || share < 0.01 { // less where others want the processor too
		t.Errorf("it used %.2f processors, its limit is %v", share, l.CPUs)
	}
}

// Limits of each process hold for main, for what exec starts, and for users
// that could not raise them.
func TestIntegrationUlimits(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	l := api.Limits{Ulimits: []api.Ulimit{{Name: "nofile", Soft: 77, Hard: 99}, {Name: "core", Soft: 0, Hard: 0}, {Name: "stack", Soft: 4 << 20, Hard: 8 << 20}}}
	const script = "ulimit -n; ulimit -Hn; ulimit -c; ulimit -s; id -u; id -g; pwd; echo $HOME"
	for _, tc := range []struct {
		user, dir, want string
	}{
		{"", "", "77\n99\n0\n4096\n0\n0\n/\n/root\n"},
		{"alice", "/tmp", "77\n99\n0\n4096\n1000\n1000\n/tmp\n/\n"},
	} {
		if out, exit := sh(t, e, api.ContainerSpec{User: tc.user, WorkDir: tc.dir, Limits: l}, script); out != tc.want || exit.Code != 0 {
			t.Errorf("user %q: %q, %+v; want %q", tc.user, out, exit, tc.want)
		}
	}
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}, User: "alice", Limits: l})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: []string{"sh", "-c", script}, Stdio: api.Stdio{Stdout: w, Stderr: w}})
	w.Close()
	out := make([]byte, 200)
	n, _ := r.Read(out)
	r.Close()
	if got, want := string(out[:n]), "77\n99\n0\n4096\n1000\n1000\n/\n/\n"; err != nil || exit.Code != 0 || got != want {
		t.Errorf("exec: %q, %+v, %v; want %q", got, exit, err, want)
	}
	if got, err := e.InspectContainer(t.Context(), c.ID); err != nil || len(got.Limits.Ulimits) != 3 {
		t.Errorf("inspect: %+v, %v", got.Limits, err)
	}
	for _, tc := range []struct {
		cmd  []string
		want error
	}{
		{[]string{"/no/such"}, api.ErrCommandNotFound}, {[]string{"/etc/passwd"}, api.ErrNotExecutable},
	} {
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: tc.cmd, Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v, want %v", tc.cmd, err, tc.want)
		}
	}
}

// What cannot be enforced, or makes no sense, is said before anything starts.
func TestIntegrationLimitsRefused(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	one := func(name string, soft, hard int64) api.Limits {
		return api.Limits{Ulimits: []api.Ulimit{{Name: name, Soft: soft, Hard: hard}}}
	}
	for _, tc := range []struct {
		limits api.Limits
		is     error
		says   string
	}{
		{api.Limits{Memory: 1 << 20}, fs.ErrInvalid, "the least is 6291456"},
		{api.Limits{Memory: -1}, fs.ErrInvalid, "the least is"},
		{api.Limits{CPUs: 0.001}, fs.ErrInvalid, "the least is 0.01"},
		{api.Limits{CPUs: -1}, fs.ErrInvalid, "the least is 0.01"},
		{api.Limits{CPUs: 100000}, fs.ErrInvalid, "this host has"},
		{api.Limits{Pids: -1}, fs.ErrInvalid, "the least is 1"},
		{api.Limits{Pids: 1 << 40}, fs.ErrInvalid, "the most"},
		{one("nofiles", 1, 1), fs.ErrInvalid, "core cpu data"},
		{one("", 1, 1), fs.ErrInvalid, "the limits of this system"},
		{one("nofile", 20, 10), fs.ErrInvalid, "the soft limit 20 is above the hard limit 10"},
		{one("nofile", -1, 10), fs.ErrInvalid, "the soft limit unlimited is above"},
		{one("nofile", -2, 10), fs.ErrInvalid, "-1 for none"},
		{one("nofile", 1, 1<<40), fs.ErrPermission, "raise that first"},
		{one("nofile", -1, -1), fs.ErrPermission, "unlimited is above"},
		{api.Limits{Ulimits: []api.Ulimit{{Name: "core"}, {Name: "core"}}}, fs.ErrInvalid, "given twice"},
	} {
		_, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Limits: tc.limits})
		if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v; want %v: %s", tc.limits, err, tc.is, tc.says)
		}
	}
}
