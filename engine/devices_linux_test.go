package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/linux/cgroup"
)

// Whoever is in a group of a container opens no device of the host, with all
// capabilities: of one that was made for it as of one that was kept ready, with
// limits and without.
func TestIntegrationDevicesOfTheHost(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	base, err := cgroup.Find()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if list, err := e.CheckSystem(t.Context()); err != nil || !filtered(list) {
		t.Skipf("no filter of devices here: %v", err)
	}
	for _, spec := range []api.ContainerSpec{
		{}, {}, {Limits: api.Limits{Pids: 50}}, {Mounts: []api.Mount{{Source: t.TempDir(), Destination: "/m"}}},
	} {
		spec.Image, spec.Command = "root", []string{"sleep", "1000"}
		c, err := e.CreateContainer(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		groups, err := filepath.Glob(filepath.Join(base, "xc-*-"+c.ID+"*"))
		if err != nil || len(groups) == 0 {
			t.Fatalf("groups %v, %v", groups, err)
		}
		for _, g := range groups {
			script := "echo 0 >" + filepath.Join(g, "cgroup.procs") + " && exec 3<>/dev/null 4<>/dev/ptmx && ! (exec 5</dev/kmsg) 2>/dev/null"
			if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%+v: in %s: %v: %s", spec, g, err, out)
			}
		}
		if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
	// Where it is no member, the same can be opened.
	if f, err := os.Open("/dev/kmsg"); err != nil {
		t.Errorf("the test shows nothing: %v", err)
	} else {
		f.Close()
	}
}

func filtered(list []api.Check) bool {
	for _, c := range list {
		if c.Name == "devices" && c.State == "ok" && strings.Contains(c.Detail, "version 2") {
			return true
		}
	}
	return false
}
