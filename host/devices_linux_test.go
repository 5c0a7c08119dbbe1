package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/sitetest"
)

// Where groups of version 2 cannot have a filter, those of version 1 keep a
// container to its devices; they are found, and given back, as all else.
func TestIntegrationDevicesOfVersionOne(t *testing.T) {
	needRoot(t)
	where, err := cgroup.Controller("devices")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	u := conformance(t, testConfig(t)).(underTest)
	if err := u.devices.close(); err != nil {
		t.Fatal(err)
	}
	u.devices = devices{one: where.Dir}
	id, pid := startProbe(t, u)
	group := filepath.Join(where.Dir, u.groupName(id))
	for file, want := range map[string]string{"cgroup.procs": strconv.Itoa(pid), "devices.list": "c 1:3 rwm"} {
		b, err := os.ReadFile(filepath.Join(group, file))
		if lines := strings.Split(string(b), "\n"); err != nil || !slices.Contains(lines, want) || slices.Contains(lines, "a *:* rwm") {
			t.Errorf("%s of the group: %q, %v; want %s", file, b, err, want)
		}
	}
	if left, err := u.Left(); err != nil || !slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, group) }) {
		t.Errorf("%s is not among what is on the host: %q, %v", group, left, err)
	}
}

// startProbe starts a container in which a probe holds, until the test ends.
func startProbe(t *testing.T, u underTest) (id string, pid int) {
	t.Helper()
	c := sitetest.Container{ID: u.NewID(), Hostname: "box", Network: "none"}
	s := site.New(c.ID, &site.MemoryJournal{}, u.Table())
	t.Cleanup(func() {
		if err := s.Unwind(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := u.Left(); err != nil || len(left) > 0 {
			t.Errorf("left on the host: %q, %v", left, err)
		}
	})
	if err := s.Held.Acquire(t.Context(), u.Hold(c)); err != nil {
		t.Fatal(err)
	}
	steps, loop, err := u.Run(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Acquire(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loop.Close)
	pid, err = loop.Control().Start(t.Context(), control.Process{Args: []string{"/bin/probe", "hold", "/tmp/end"}}, control.Stdio{})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID, pid
}

// What the host has is what system check says.
func TestIntegrationDevicesAreChecked(t *testing.T) {
	needRoot(t)
	h := testHost(t)
	for _, tt := range []struct {
		devices       devices
		state, detail string
	}{
		{devices{one: "/groups"}, ok, "version 1, /groups"},
		{devices{lacks: errors.New("no\nBPF")}, missing, "no BPF"},
		{devices{filter: &cgroup.DeviceFilter{}}, ok, "version 2"},
	} {
		has := h.devices
		h.devices = tt.devices
		list := h.Check(t.Context())
		warned := slices.ContainsFunc(h.Warnings(), func(w string) bool { return strings.Contains(w, "devices") })
		h.devices = has
		i := slices.IndexFunc(list, func(c Check) bool { return c.Name == "devices" })
		if i < 0 || list[i].State != tt.state || !strings.Contains(list[i].Detail, tt.detail) || warned != (tt.devices.lacks != nil) {
			t.Errorf("%+v: %+v, warned: %v", tt.devices, list, warned)
		}
	}
}
