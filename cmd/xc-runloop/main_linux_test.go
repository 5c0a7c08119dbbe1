package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
)

// In a container the test binary is the program that runs there.
func TestMain(m *testing.M) {
	if os.Getenv("XC_INSIDE") != "" {
		fmt.Println("pid", os.Getpid() != 1, "uid", os.Getuid())
		if name, err := os.Readlink("/proc/self/fd/0"); err == nil && strings.HasPrefix(name, "/dev/pts/") {
			_, err = os.Stat(name)
			fmt.Println("terminal", err)
		}
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		if line == "" {
			os.Exit(9)
		}
		os.Exit(7)
	}
	testns.Enter()
	os.Exit(m.Run())
}

// build makes the program, and a root with a test binary like this in it.
func build(t testing.TB) (program, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making namespaces needs root: run with go test -exec sudo")
	}
	dir := t.TempDir()
	program, root = filepath.Join(dir, "xc-runloop"), filepath.Join(dir, "root")
	must(t, os.Mkdir(root, 0o755))
	for _, args := range [][]string{{"build", "-o", program, "."}, {"test", "-c", "-o", filepath.Join(root, "inside"), "."}} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the root has no libraries
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v: %s", args[0], err, out)
		}
	}
	return program, root
}

// loop starts the program as an engine does.
func loop(t testing.TB, program, root string) (c control.ControlClient, pid int, exited chan error, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "loop")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config, err := json.Marshal(tenant.Config{ID: "c1", Hostname: "box", Network: "none", Root: tenant.Root{Kind: tenant.Bind, Dir: root}})
	must(t, err)
	config, err = json.Marshal(runloop.Config{ID: "c1", Dir: dir, LogPath: dir + "/log", Tenant: config})
	must(t, err)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/sock", Net: "unix"})
	must(t, err)
	defer l.Close()
	listener, err := l.File()
	must(t, err)
	ours, theirs, err := ipc.Pair()
	must(t, err)
	starter, err := theirs.File()
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	cmd := exec.Cmd{Path: program, Args: []string{"xc-runloop", "c1"}, Stderr: os.Stderr, ExtraFiles: []*os.File{listener, starter, r},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	must(t, cmd.Start())
	for _, f := range cmd.ExtraFiles {
		must(t, f.Close())
	}
	_, err = w.Write(config)
	must(t, err)
	must(t, w.Close())
	exited = make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return control.ControlClient{C: ipc.NewClient(ours, ipc.Limits{})}, cmd.Process.Pid, exited, dir
}

func inside(stdin *os.File) (control.Process, control.Stdio) {
	return control.Process{Args: []string{"/inside"}, Env: []string{"XC_INSIDE=1"}}, control.Stdio{Stdin: stdin}
}

func TestIntegrationRunLoop(t *testing.T) {
	program, root := build(t)
	c, pid, exited, dir := loop(t, program, root)
	r, w, err := os.Pipe()
	must(t, err)
	p, stdio := inside(r)
	_, err = c.Start(t.Context(), p, stdio)
	must(t, err)
	must(t, r.Close())
	private, rss := memory(t, pid)
	t.Logf("private %d KiB, resident %d KiB", private, rss)
	if private > 4<<10 {
		t.Errorf("a run loop has %d KiB of private memory, the budget is 4 MiB", private)
	}
	if e, err := c.Exec(t.Context(), p, control.Stdio{}); err != nil || e.Code != 9 {
		t.Errorf("exec: %+v, %v", e, err)
	}
	terminal := p
	terminal.Terminal = true
	out, give, err := os.Pipe()
	must(t, err)
	typed, typist, err := os.Pipe()
	must(t, err)
	_, err = typist.WriteString("\x04") // end of file
	must(t, err)
	if e, err := c.Exec(t.Context(), terminal, control.Stdio{Stdin: typed, Stdout: give}); err != nil || e.Code != 9 {
		t.Errorf("exec in a terminal: %+v, %v", e, err)
	}
	must(t, give.Close())
	if said, err := io.ReadAll(out); err != nil || !strings.Contains(string(said), "terminal <nil>\r\n") {
		t.Errorf("in a terminal: %q, %v", said, err)
	}
	private, rss = memory(t, pid)
	t.Logf("after a terminal: private %d KiB, resident %d KiB", private, rss)
	_, err = w.WriteString("go\n")
	must(t, err)
	must(t, w.Close())
	if err := <-exited; err != nil {
		t.Errorf("run loop: %v", err)
	}
	if e, err := runloop.ReadExit(dir); err != nil || e.Code != 7 || e.Error != "" {
		t.Errorf("record %+v, %v", e, err)
	}
	if log, err := os.ReadFile(dir + "/log"); err != nil || strings.Count(string(log), `pid true uid 0`) != 2 {
		t.Errorf("log %s, %v", log, err)
	}
}

// BenchmarkIntegrationStartToExit is a run without an engine: the process, its
// namespaces, main, the end. Beside it, what is started.
func BenchmarkIntegrationStartToExit(b *testing.B) {
	program, root := build(b)
	null, err := os.Open(os.DevNull)
	must(b, err)
	defer null.Close()
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(b, err)
	defer out.Close()
	b.Run("runloop", func(b *testing.B) {
		for b.Loop() {
			c, _, exited, _ := loop(b, program, root)
			p, _ := inside(nil)
			_, err := c.Start(b.Context(), p, control.Stdio{Stdin: null, Stdout: out, Stderr: out})
			must(b, err)
			_, err = c.Wait(b.Context())
			if err != nil && !errors.Is(err, ipc.ErrLost) && !errors.Is(err, &ipc.Error{Code: ipc.CodeUnavailable}) {
				b.Fatal(err)
			}
			must(b, <-exited)
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command(filepath.Join(root, "inside"))
			cmd.Env = []string{"XC_INSIDE=1"}
			_ = cmd.Run() // exits 9
		}
	})
}

// memory returns the private and the resident memory of a process, in KiB.
func memory(t testing.TB, pid int) (private, rss int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		var key string
		var n int
		if _, err := fmt.Sscan(line, &key, &n); err != nil {
			continue
		}
		switch key {
		case "Private_Clean:", "Private_Dirty:":
			private += n
		case "Rss:":
			rss = n
		}
	}
	return private, rss
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
