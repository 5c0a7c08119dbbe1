package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/jail"
)

func TestIntegrationJailParameters(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, tc := range []struct {
		params []string
		script string
		want   string
	}{
		{nil, "sysctl -n kern.securelevel security.jail.enforce_statfs", "-1\n2\n"},
		{[]string{"securelevel=2"}, "sysctl -n kern.securelevel", "2\n"},
		{[]string{"children.max=3", "enforce_statfs=1"}, "sysctl -n security.jail.enforce_statfs", "1\n"},
		{[]string{"osrelease=13.2-RELEASE", "osreldate=1302001"}, "sysctl -n kern.osrelease kern.osreldate", "13.2-RELEASE\n1302001\n"},
		{[]string{"allow.set_hostname"}, "hostname other && hostname", "other\n"},
		{[]string{"allow.raw_sockets"}, "sysctl -n security.jail.allow_raw_sockets", "1\n"},
		{[]string{"mount.procfs"}, "ls -d /proc/curproc", "/proc/curproc\n"},
	} {
		if out, exit := sh(t, e, api.ContainerSpec{Params: tc.params}, tc.script); out != tc.want || exit.Code != 0 {
			t.Errorf("%q: %q, %+v; want %q", tc.params, out, exit, tc.want)
		}
	}
	for text, want := range map[string]error{
		"no.such.parameter=1": fs.ErrNotExist, "exec.start=/bin/sh": fs.ErrNotExist, "path=/": fs.ErrInvalid, "novnet": fs.ErrInvalid,
		"ip4.addr=10.0.0.1": fs.ErrInvalid, "nopersist": fs.ErrInvalid, "securelevel=high": fs.ErrInvalid, "devfs_ruleset=x": fs.ErrInvalid,
	} {
		name, _, _ := strings.Cut(text, "=")
		_, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Params: []string{text}})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

// System V IPC is what the parameters say, and a container's own without them:
// what the kernel says of the running jail.
func TestIntegrationJailIPC(t *testing.T) {
	facilities := []string{"sysvmsg", "sysvsem", "sysvshm"}
	for _, name := range facilities {
		if !jail.Supports(name) {
			t.Skipf("needs System V IPC in the kernel: kldload %s", name)
		}
	}
	e := testEngine(t)
	importRoot(t, e, "root")
	for text, want := range map[string][]int64{
		"":                                    {jail.New, jail.New, jail.New},
		"sysvmsg sysvsem sysvshm":             {jail.New, jail.New, jail.New},
		"sysvmsg=new sysvsem=new sysvshm=new": {jail.New, jail.New, jail.New},
		"sysvmsg=inherit sysvsem=inherit sysvshm=inherit": {jail.Inherit, jail.Inherit, jail.Inherit},
		"sysvmsg=disable sysvsem=disable sysvshm=disable": {jail.Disable, jail.Disable, jail.Disable},
		"sysvmsg=disable sysvshm=inherit":                 {jail.Disable, jail.New, jail.Inherit},
	} {
		id := jailOf(t, e, start(t, e, api.ContainerSpec{Image: "root", Params: strings.Fields(text), Command: []string{"sleep", "1000"}}))
		values, err := id.Get(facilities...)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range facilities {
			if got, err := values.Int(name); err != nil || got != want[i] {
				t.Errorf("%q: %s is %d (%v), want %d", text, name, got, err, want[i])
			}
		}
	}
}

// A container makes jails if it may, as many as it may, and they go with it.
func TestIntegrationNestedJails(t *testing.T) {
	if _, err := exec.LookPath("jail"); err != nil {
		t.Skip(err)
	}
	e := testEngine(t)
	importRoot(t, e, "root")
	// Kernels later than 14.0 tell the limit inside as well.
	limit := func(n string) string {
		if _, err := unix.SysctlUint32("security.jail.children.max"); err != nil {
			return ""
		}
		return n + "\n"
	}
	const (
		show  = "sysctl -niq security.jail.children.max; "
		two   = "jail -c name=nested1 path=/ persist && jail -c name=nested2 path=/ persist && "
		third = "jail -c name=nested3 path=/ command=sh -c 'echo in $(sysctl -n security.jail.jailed)'; "
		more  = "jail -c name=nested4 path=/ persist && jail -c name=nested5 path=/ persist"
	)
	// The third ends with its command, so that it is the fifth which is one too many.
	out, exit := sh(t, e, api.ContainerSpec{Params: []string{"children.max=3"}}, show+two+third+more)
	if want := limit("3") + "in 1\njail: prison limit exceeded\n"; out != want || exit.Code == 0 {
		t.Errorf("with three: %q, %+v; want %q", out, exit, want)
	}
	out, exit = sh(t, e, api.ContainerSpec{}, show+"jail -c name=nested1 path=/ command=echo in")
	if want := limit("0") + "jail: jail_set: Operation not permitted\n"; out != want || exit.Code == 0 {
		t.Errorf("without: %q, %+v; want %q", out, exit, want)
	}
	for _, tc := range []struct {
		params []string
		want   int64
	}{{nil, 0}, {[]string{"children.max=3"}, 3}} {
		id := jailOf(t, e, start(t, e, api.ContainerSpec{Image: "root", Params: tc.params, Command: []string{"sleep", "1000"}}))
		values, err := id.Get("children.max")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := values.Int("children.max"); err != nil || n != tc.want {
			t.Errorf("%q: the kernel says %d, %v", tc.params, n, err)
		}
	}
	for info, err := range jail.All() {
		if err != nil || strings.Contains(info.Name, ".nested") && !info.Dying {
			t.Errorf("left: %+v, %v", info, err)
		}
	}
}

// jailOf is the jail of a running container.
func jailOf(t *testing.T, e api.Engine, c api.Container) jail.ID {
	t.Helper()
	c, err := e.InspectContainer(t.Context(), c.ID)
	if err != nil || c.JID == 0 {
		t.Fatalf("jail %d, %v", c.JID, err)
	}
	return jail.ID(c.JID)
}

func TestIntegrationJID(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
	info, err := jailOf(t, e, c).Info()
	if err != nil || !strings.HasSuffix(info.Name, c.ID) {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestIntegrationDataset(t *testing.T) {
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
	}
	e := testEngine(t)
	importRoot(t, e, "root")
	d := parent + "/lent"
	run := func(args ...string) string {
		out, err := exec.Command("zfs", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("zfs %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("create", "-o", "mountpoint=none", d)
	t.Cleanup(func() { run("destroy", "-r", d) })
	const script = "zfs list -H -o name -r %; zfs create -o mountpoint=/data %/a && zfs mount %/a; echo x >/data/f && zfs snapshot %/a@s && ls /data"
	out, exit := sh(t, e, api.ContainerSpec{Datasets: []string{d}}, strings.ReplaceAll(script, "%", d))
	if exit.Code != 0 || !strings.HasPrefix(out, d+"\n") || !strings.HasSuffix(out, "f\n") {
		t.Errorf("%q, %+v", out, exit)
	}
	if got := run("list", "-H", "-o", "name", "-t", "snapshot", "-r", d); got != d+"/a@s\n" {
		t.Errorf("snapshots: %q", got)
	}
	if out, exit := sh(t, e, api.ContainerSpec{}, "zfs list -H -o name 2>/dev/null; echo $?"); exit.Code != 0 || strings.Contains(out, "tank") {
		t.Errorf("without a dataset of its own a container sees %q", out)
	}
	_, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Datasets: []string{d + "/missing"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: %v", err)
	}
	_, err = e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Datasets: []string{parent}})
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("the engine's own: %v", err)
	}
}
