package host

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// withoutEnv marks the process in which there are no cgroups.
const withoutEnv = "XC_TEST_WITHOUT_CGROUPS"

// A host that lets xcd have no cgroups runs containers, says what it lacks, and
// refuses limits before anything starts.
func TestIntegrationWithoutControllers(t *testing.T) {
	needRoot(t)
	if os.Getenv(withoutEnv) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		const script = `umount -a -t cgroup && umount -a -t cgroup2 && exec "$0" -test.v -test.run "^$1\$"`
		cmd := exec.Command("unshare", "-m", "sh", "-c", script, self, t.Name())
		cmd.Env = append(os.Environ(), withoutEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	u := conformance(t, testConfig(t)).(underTest)
	if u.cgroups != "" || u.devices.filter != nil || u.devices.one != "" {
		t.Fatalf("there are cgroups: %q, %+v", u.cgroups, u.devices)
	}
	for name, l := range map[string]Limits{"memory": {Memory: 1 << 30}, "processor time": {CPUs: 1}, "processes": {Pids: 100}} {
		err := u.CheckLimits(l)
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "limit of "+name) || !strings.Contains(err.Error(), "xc system check") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"cgroup2", "controller memory", "controller pids", "controller cpu", "devices"} {
		if !slices.ContainsFunc(u.Check(t.Context()), func(c Check) bool { return c.Name == name && c.State == missing && c.Fix != "" && !c.Required }) {
			t.Errorf("%s is not said to be missing: %+v", name, u.Check(t.Context()))
		}
	}
	if w := u.Warnings(); len(w) != 2 {
		t.Errorf("warnings %q", w)
	}
	if _, pid := startProbe(t, u); pid == 0 {
		t.Error("no pid")
	}
}
