package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make jails: run with go test -exec sudo")
	}
}

// name returns a name that no other run of the tests uses.
func name(t *testing.T, suffix string) string {
	t.Helper()
	n := fmt.Sprintf("xctest%d%s", os.Getpid(), suffix)
	if err := CheckName(n); err != nil {
		t.Fatal(err)
	}
	return n
}

// create makes a persistent jail on / that goes with the test.
func create(t *testing.T, params ...Param) ID {
	t.Helper()
	id, err := Create(append([]Param{String("path", "/"), Flag("persist")}, params...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := id.Remove(context.Background()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return id
}

func TestIntegrationLife(t *testing.T) {
	requireRoot(t)
	n := name(t, "life")
	if _, err := Lookup(n); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before: %v", err)
	}
	id := create(t, String("name", n), String("host.hostname", "h"), Int("ip4", New),
		Addrs("ip4.addr", netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.8")))
	info, err := Lookup(n)
	if err != nil {
		t.Fatal(err)
	}
	if info.ID != id || info.Name != n || info.Path != "/" || info.Hostname != "h" || info.VNET || info.Dying || len(info.Addrs) != 2 {
		t.Errorf("found %+v", info)
	}
	if byID, err := Lookup(id.String()); err != nil || byID.Name != n {
		t.Errorf("by number: %+v, %v", byID, err)
	}
	if _, err := Create(String("name", n), String("path", "/"), Flag("persist")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if err := id.Update(String("host.hostname", "other"), Flag("allow.raw_sockets")); err != nil {
		t.Error(err)
	}
	v, err := id.Get("host.hostname", "allow.raw_sockets", "enforce_statfs", "children.max", "osreldate")
	if err != nil {
		t.Fatal(err)
	}
	host, err1 := v.String("host.hostname")
	raw, err2 := v.Bool("allow.raw_sockets")
	statfs, err3 := v.Int("enforce_statfs")
	if host != "other" || !raw || statfs != 2 || errors.Join(err1, err2, err3) != nil {
		t.Errorf("host %q raw %v statfs %d: %v", host, raw, statfs, errors.Join(err1, err2, err3))
	}
	if err := id.Remove(context.Background()); err != nil {
		t.Error(err)
	}
	if err := id.Remove(context.Background()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if err := id.Update(Flag("persist")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("updated when gone: %v", err)
	}
}

func TestIntegrationRefusals(t *testing.T) {
	requireRoot(t)
	for what, c := range map[string]struct {
		params []Param
		want   error
	}{
		"missing path":      {[]Param{String("path", "/nonexistent")}, fs.ErrNotExist},
		"unknown parameter": {[]Param{String("path", "/"), Flag("nosuch.parameter")}, syscall.EINVAL},
		"numeric name":      {[]Param{String("path", "/"), String("name", "4711")}, nil},
		"missing parent":    {[]Param{String("path", "/"), String("name", name(t, "none.child"))}, fs.ErrNotExist},
		"vnet and address":  {[]Param{String("path", "/"), Int("vnet", New), Addrs("ip4.addr", netip.MustParseAddr("127.0.0.1"))}, syscall.EINVAL},
	} {
		id, err := Create(append(c.params, Flag("persist"))...)
		if err == nil {
			if rerr := id.Remove(context.Background()); rerr != nil {
				t.Error(rerr)
			}
		}
		if c.want == nil {
			// A number as a name is the wanted jid.
			if err != nil || id != 4711 {
				t.Errorf("%s: %v, %v", what, id, err)
			}
			continue
		}
		var e *Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Msg == "" && what != "missing path" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestIntegrationAll(t *testing.T) {
	requireRoot(t)
	parent := create(t, String("name", name(t, "p")), Int("children.max", 2), Int("vnet", New))
	child := create(t, String("name", name(t, "p")+".c"))
	found := map[ID]Info{}
	for info, err := range All() {
		if err != nil {
			t.Fatal(err)
		}
		found[info.ID] = info
	}
	if !found[parent].VNET || found[child].Parent != parent || found[child].Name != name(t, "p.c") {
		t.Errorf("found %+v", found)
	}
	if err := parent.Remove(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := child.Info(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("child after its parent: %v", err)
	}
}

// A process in the jail dies with it, and a zombie that nobody waits for keeps
// the jail dying.
func TestIntegrationRemoveWaits(t *testing.T) {
	requireRoot(t)
	id := create(t, String("name", name(t, "busy")))
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Jail: int(id)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := id.Remove(ctx)
	if !errors.Is(err, syscall.EBUSY) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a zombie inside: %v", err)
	}
	if info, err := id.Info(); err != nil || !info.Dying {
		t.Errorf("not dying: %+v, %v", info, err)
	}
	if _, err := Lookup(name(t, "busy")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dying jail is found: %v", err)
	}
	var status *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &status) || status.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("process in the jail: %v", err)
	}
	if err := id.Remove(context.Background()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("once it has been waited for: %v", err)
	}
	if _, err := id.Info(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestIntegrationSupports(t *testing.T) {
	for param, want := range map[string]bool{
		"path": true, "allow.raw_sockets": true, "ip4.addr": true, "vnet": true, "children.max": true, "nosuch.parameter": false,
	} {
		if got := Supports(param); got != want {
			t.Errorf("%s: %v", param, got)
		}
	}
}

// TestIntegrationAttach lets the test binary attach itself, with and without an
// open directory.
func TestIntegrationAttach(t *testing.T) {
	requireRoot(t)
	id := create(t, String("name", name(t, "attach")), String("host.hostname", "inside"))
	for _, how := range []string{"plain", "directory"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAttachHelper$")
		cmd.Env = append(os.Environ(), "JAIL_TEST_ATTACH="+how, "JAIL_TEST_ID="+id.String())
		out, err := cmd.CombinedOutput()
		want := map[string]string{"plain": "inside", "directory": syscall.EPERM.Error()}[how]
		if err != nil || !slices.Contains(splitLines(string(out)), want) {
			t.Errorf("%s: %q, %v", how, out, err)
		}
	}
	if err := ID(999998).Attach(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing jail: %v", err)
	}
}

func splitLines(s string) []string {
	var lines []string
	for len(s) > 0 {
		i := 0
		for i < len(s) && s[i] != '\n' {
			i++
		}
		lines = append(lines, s[:i])
		s = s[min(i+1, len(s)):]
	}
	return lines
}

// TestAttachHelper is the process that attaches itself.
func TestAttachHelper(t *testing.T) {
	how := os.Getenv("JAIL_TEST_ATTACH")
	if how == "" {
		t.Skip("runs as a child of TestIntegrationAttach")
	}
	info, err := Lookup(os.Getenv("JAIL_TEST_ID"))
	if err != nil {
		t.Fatal(err)
	}
	if how == "directory" {
		d, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
	}
	err = info.ID.Attach()
	var e *Error
	switch {
	case errors.As(err, &e):
		fmt.Println(e.Errno)
	case err != nil:
		t.Fatal(err)
	default:
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(host)
	}
}

func BenchmarkCreateRemove(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root to make jails: run with go test -exec sudo")
	}
	for b.Loop() {
		id, err := Create(String("path", "/"), Flag("persist"))
		if err != nil {
			b.Fatal(err)
		}
		if err := id.Remove(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
