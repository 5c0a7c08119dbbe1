package engine_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/host/tenant"
)

// minimumDev is what every container has in /dev.
const minimumDev = "null zero full random urandom fd stdin stdout stderr"

// Kernels differ in these: cryptodev(4) is a module; pts is there while there is a
// terminal, and ptmx with pty(4).
const (
	optionalDev = "crypto"
	terminalDev = "ptmx pts"
)

// The /dev of a container has what it needs and nothing else, whatever this machine
// has.
func TestIntegrationDev(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	importRootAs(t, e, "linux", "linux/"+runtime.GOARCH)
	const number = 4244
	setRules(t, number, devfs.Needs{Paths: []string{"mem"}})
	lent := lentDataset(t)
	// A terminal is shown in every container, as it can be given one by exec.
	for _, tc := range []struct {
		name string
		spec api.ContainerSpec
		more string
		may  string
	}{
		{"default", api.ContainerSpec{}, "", terminalDev},
		{"dataset", api.ContainerSpec{Datasets: lent}, "zfs", terminalDev},
		{"Linux", api.ContainerSpec{Image: "linux"}, "shm", terminalDev},
		{"Linux and dataset", api.ContainerSpec{Image: "linux", Datasets: lent}, "shm zfs", terminalDev},
		{"ruleset", api.ContainerSpec{Params: []string{"devfs_ruleset=4244"}}, "mem", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.Contains(tc.more, "zfs") && lent == nil {
				t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
			}
			if tc.spec.Image == "linux" && !tenant.Linuxulator() {
				t.Skip(needsLinuxulator)
			}
			want := slices.Sorted(slices.Values(strings.Fields(minimumDev + " " + tc.more)))
			may := strings.Fields(optionalDev + " " + tc.may)
			out, exit := sh(t, e, tc.spec, "ls -A /dev")
			got := slices.DeleteFunc(strings.Fields(out), func(name string) bool { return slices.Contains(may, name) })
			if slices.Sort(got); exit.Code != 0 || !slices.Equal(got, want) {
				t.Errorf("shows  %q, %+v\nneeds %q", got, exit, want)
			}
		})
	}
}

// Of the terminals of this machine a container sees its own.
func TestIntegrationDevTerminals(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	start(t, e, api.ContainerSpec{Image: "root", Terminal: true, Command: []string{"sleep", "1000"}})
	if out, exit := sh(t, e, api.ContainerSpec{}, "ls -A /dev/pts"); out != "" || exit.Code != 0 {
		t.Errorf("without one: %q, %+v", out, exit)
	}
	out, exit := sh(t, e, api.ContainerSpec{Terminal: true}, "tty; ls -A /dev/pts")
	if f := strings.Fields(out); exit.Code != 0 || len(f) != 2 || f[0] != "/dev/pts/"+f[1] {
		t.Errorf("with one: %q, %+v", out, exit)
	}
}

// setRules makes a ruleset, until the test ends.
func setRules(t *testing.T, number uint16, n devfs.Needs) {
	t.Helper()
	if err := devfs.Set(number, n.Rules()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := devfs.Delete(number); err != nil {
			t.Error(err)
		}
	})
}

// lentDataset is a dataset that a container can be given, if there can be one.
func lentDataset(t *testing.T) []string {
	t.Helper()
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		return nil
	}
	d := parent + "/lent-to-dev"
	command(t, "zfs", "create", "-o", "mountpoint=none", d)
	t.Cleanup(func() { command(t, "zfs", "destroy", "-r", d) })
	return []string{d}
}
