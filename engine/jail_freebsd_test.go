package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

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
		{[]string{"sysvshm=disable"}, "echo started", "started\n"},
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

func TestIntegrationJID(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if c, err = e.InspectContainer(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	info, err := jail.ID(c.JID).Info()
	if err != nil || !strings.HasSuffix(info.Name, c.ID) {
		t.Errorf("jid %d: %+v, %v", c.JID, info, err)
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
