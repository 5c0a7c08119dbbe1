package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// makeGroup makes a group for the test, removed at its end with all below it.
func makeGroup(t *testing.T) *Group {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make control groups: sudo go test -run Integration ./linux/cgroup")
	}
	base, err := Find()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs a writable cgroup2 mount: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := Make(filepath.Join(base, fmt.Sprintf("xctest-%d-%s", os.Getpid(), t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil { // a test that has failed must not hang as well
			t.Error(err)
		}
		if err := g.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(g.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind: %v", g.path, err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func run(t *testing.T, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestIntegrationLife(t *testing.T) {
	g := makeGroup(t)
	if p, err := g.Populated(); p || err != nil {
		t.Fatalf("a new group: populated %v, %v", p, err)
	}
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	cmd := run(t, g, "exec cat /dev/zero >/dev/null")
	if pids, err := g.Members(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("Members = %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 1000 { // whichever comes first, the first look or the news of ctx's end
		if err := g.WaitEmpty(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("WaitEmpty of a living group: %v", err)
		}
	}
	done := make(chan error)
	go func() { done <- g.WaitEmpty(t.Context()) }()
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("after Kill: %v", cmd.ProcessState)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestIntegrationDaemon: what has left its parent and session is still in the group.
func TestIntegrationDaemon(t *testing.T) {
	g := makeGroup(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := exec.Command("/bin/sh", "-c", "(setsid cat <&3 >/dev/null 2>&1 &) ; exit 0")
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if p, err := g.Populated(); !p || err != nil {
		t.Fatalf("populated = %v, %v while a daemon lives", p, err)
	}
	w.Close() // the daemon's end of file
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := g.Populated(); p || err != nil {
		t.Errorf("populated = %v, %v after WaitEmpty", p, err)
	}
}

func TestIntegrationBelow(t *testing.T) {
	g := makeGroup(t)
	sub, err := Make(filepath.Join(g.path, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := Make(sub.path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Make twice: %v, want fs.ErrExist", err)
	}
	cmd := run(t, sub, "exec cat /dev/zero >/dev/null")
	if pids, err := g.Members(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("Members = %v, %v; want %d of the group below", pids, err, cmd.Process.Pid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Remove(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Remove of a populated group: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := g.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("Remove twice: %v", err)
	}
}

func TestOpenForeign(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open of a plain directory: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing: %v", err)
	}
}

// TestIntegrationLimits: each controller that there is bounds what a process
// that has joined its group does.
func TestIntegrationLimits(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make cgroups: sudo go test -run Integration ./linux/cgroup")
	}
	l := Limits{Memory: 16 << 20, CPU: 0.5, Pids: 3}
	for name, tt := range map[string]struct{ script, says string }{
		"pids":   {"sleep 1 & sleep 1 & sleep 1 & wait", "fork"}, // the shell gives up
		"memory": {"tail /dev/zero; echo $?", "137\n"},
		"cpu":    {"echo 1", "1\n"},
	} {
		where, err := Controller(name)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Log(err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if where.Version == 2 {
			if err := Enable(where.Dir, name); err != nil {
				t.Fatal(err)
			}
		}
		dir := filepath.Join(where.Dir, fmt.Sprintf("xctest-%d-%s", os.Getpid(), name))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := RemoveOne(t.Context(), dir); err != nil {
				t.Error(err)
			}
		}()
		if err := l.Limit(dir, name, where.Version); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sh", "-c", "echo 0 >"+dir+"/cgroup.procs; "+tt.script).CombinedOutput()
		if !strings.Contains(string(out), tt.says) {
			t.Errorf("%s of version %d: %v: %q, want %q", name, where.Version, err, out, tt.says)
		}
		kills, err := OOMKills(dir, where.Version)
		if err != nil && name == "memory" || (kills > 0) != (name == "memory") {
			t.Errorf("%s: %d kills, %v", name, kills, err)
		}
	}
	if _, err := Controller("nosuch"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a controller that there is not: %v", err)
	}
}
