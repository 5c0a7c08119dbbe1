package tenant

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// script starts sh with fd 0 a pipe whose other end, in, lets the processes
// that read from it end.
type script struct {
	runloop.Tree
	t   *testing.T
	in  *os.File
	out *bufio.Reader
	f   *os.File
}

func startScript(t *testing.T, s *space, text string) *script {
	t.Helper()
	r, in, err := os.Pipe()
	must(t, err)
	out, w, err := os.Pipe()
	must(t, err)
	tr, err := s.Start(&runloop.Process{Args: []string{"sh", "-c", text}, Files: [3]*os.File{r, w, w}})
	must(t, errors.Join(err, r.Close(), w.Close()))
	sc := &script{tr, t, in, bufio.NewReader(out), out}
	t.Cleanup(func() {
		sc.in.Close()
		sc.f.Close()
		if err := sc.Close(); err != nil {
			t.Error(err)
		}
	})
	return sc
}

// line waits for a line of output.
func (s *script) line() string {
	s.t.Helper()
	l, err := s.out.ReadString('\n')
	must(s.t, err)
	return strings.TrimSuffix(l, "\n")
}

// notEmpty fails the test if the tree counts as empty.
func (s *script) notEmpty() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	if err := s.Empty(ctx); !errors.Is(err, context.Canceled) {
		s.t.Errorf("Empty while a process lives: %v", err)
	}
	pids, err := s.PIDs()
	if err != nil || len(pids) == 0 {
		s.t.Errorf("PIDs while a process lives: %v, %v", pids, err)
	}
}

// exitsWith fails the test unless main has ended so and then the tree.
func (s *script) exitsWith(want syscall.WaitStatus) {
	s.t.Helper()
	if ws, err := s.Main(s.t.Context()); err != nil || ws != want {
		s.t.Errorf("main's status %#x, %v; want %#x", int(ws), err, int(want))
	}
}

func (s *script) empties() {
	s.t.Helper()
	must(s.t, s.Empty(s.t.Context()))
	if pids, err := s.PIDs(); err != nil || len(pids) > 0 {
		s.t.Errorf("PIDs of an empty tree: %v, %v", pids, err)
	}
}

// trees runs a test in a tenant with and in one without control groups.
func trees(t *testing.T, f func(t *testing.T, s *space)) {
	t.Helper()
	need(t)
	root := makeRoot(t)
	for _, name := range []string{"cgroup", "namespace"} {
		t.Run(name, func(t *testing.T) {
			checkHost(t)
			c := Config{ID: "test", Network: "none", Root: Root{Kind: Bind, Dir: root}, Mounts: selfMounts(t)}
			if name == "cgroup" {
				if c.Cgroup = makeGroup(t); c.Cgroup == "" {
					t.Skip("needs a writable cgroup2 mount")
				}
			}
			f(t, openTenant(t, c))
		})
	}
}

func TestIntegrationCoreFlag(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	must(t, err)
	s := plain(t)
	_, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "cd /tmp; ulimit -c unlimited; kill -ABRT $$"}})
	if err != nil || ws.Signal() != syscall.SIGABRT {
		t.Errorf("status %#x, %v", int(ws), err)
	}
	if strings.HasPrefix(string(pattern), "core") && !ws.CoreDump() {
		t.Errorf("status %#x has no core flag", int(ws))
	}
}

func TestIntegrationSignal(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		sc := startScript(t, s, "trap 'echo got; exit 5' USR1; echo up; while :; do cat; done")
		sc.line()
		must(t, sc.Signal(syscall.SIGUSR1))
		must(t, sc.in.Close()) // the trap runs when cat has ended
		if l := sc.line(); l != "got" {
			t.Errorf("line %q", l)
		}
		sc.exitsWith(5 << 8)
		sc.empties()
		if err := sc.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Signal after the end: %v", err)
		}
	})
}

// TestIntegrationTwoTrees: what is started apart keeps nothing alive but itself.
func TestIntegrationTwoTrees(t *testing.T) {
	s := plain(t)
	if s.base == "" {
		t.Skip("needs a writable cgroup2 mount")
	}
	main := startScript(t, s, "echo up; cat")
	main.line()
	helper := startScript(t, s, "exec 3<&0; (setsid cat <&3 &); echo up; exec cat")
	helper.line()
	must(t, main.in.Close())
	main.exitsWith(0)
	main.empties()
	helper.notEmpty()
	must(t, helper.Kill())
	helper.exitsWith(syscall.WaitStatus(syscall.SIGKILL))
	helper.empties()
	if out := sh(t, s, "echo on"); out != "on\n" {
		t.Errorf("a third tree: %q", out)
	}
}

// TestIntegrationTreeClosed: a forgotten tree lives on and ends with the tenant.
func TestIntegrationTreeClosed(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		sc := startScript(t, s, "echo up; exec cat")
		sc.line()
		pid := sc.Pid()
		must(t, sc.Close())
		if err := unix.Kill(pid, 0); err != nil {
			t.Errorf("after Close of its tree: %v", err)
		}
		must(t, s.Close())
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			t.Errorf("after Close of the tenant: %v", err)
		}
		if _, err := s.Start(&runloop.Process{Args: []string{"true"}, Files: [3]*os.File{os.Stdin, os.Stdin, os.Stdin}}); err == nil {
			t.Error("Start in a closed tenant")
		}
		must(t, s.Close())
	})
}

// TestIntegrationPid: pids are those of the host.
func TestIntegrationPid(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		sc := startScript(t, s, "exec 3<&0; echo up; cat <&3 & exec cat")
		sc.line()
		comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(sc.Pid()), "comm")) // never empty, as cmdline is for a moment of an execve(2)
		must(t, err)
		if c := strings.TrimSpace(string(comm)); c != "sh" && c != "cat" && c != "exe" { // the last by busybox, for a moment
			t.Errorf("process %d runs %q", sc.Pid(), comm)
		}
		if pids, err := sc.PIDs(); err != nil || !slices.Contains(pids, sc.Pid()) {
			t.Errorf("PIDs = %v, %v; want %d in it", pids, err, sc.Pid())
		}
		must(t, s.Kill())
		sc.exitsWith(syscall.WaitStatus(syscall.SIGKILL))
		sc.empties()
	})
}

// TestIntegrationOrphanStorm: orphans are reaped, and the tree is not empty before.
func TestIntegrationOrphanStorm(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		sc := startScript(t, s, "exec 3<&0; i=0; while [ $i -lt 300 ]; do (true & ); i=$((i+1)); done; (cat <&3 &); echo done")
		for sc.line() != "done" {
		}
		sc.exitsWith(0)
		sc.notEmpty()
		must(t, sc.in.Close())
		sc.empties()
		if out := sh(t, s, "ps | grep -c '\\[true\\]'; true"); strings.TrimSpace(out) != "0" {
			t.Errorf("zombies: %s", out)
		}
	})
}

// TestIntegrationStubKilled: with pid 1 all end, and say so.
func TestIntegrationStubKilled(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		sc := startScript(t, s, "echo up; exec cat")
		sc.line()
		must(t, unix.Kill(s.pid, unix.SIGKILL))
		if _, err := io.ReadAll(sc.out); err != nil {
			t.Error(err)
		}
		if ws, err := sc.Main(t.Context()); err == nil {
			t.Errorf("main's status %#x, which nobody saw", int(ws))
		}
		must(t, sc.Empty(t.Context()))
	})
}

func TestIntegrationStartErrors(t *testing.T) {
	s := plain(t)
	root := "/proc/" + strconv.Itoa(s.pid) + "/root"
	must(t, os.WriteFile(root+"/bin/text", []byte("no program\n"), 0o755))
	must(t, os.WriteFile(root+"/bin/script", []byte("#!/bin/nope\n"), 0o755))
	must(t, os.WriteFile(root+"/bin/plain", nil, 0o644))
	must(t, os.Mkdir(root+"/secret", 0o700))
	for _, tt := range []struct {
		p    runloop.Process
		want error
		says string
	}{
		{runloop.Process{Args: []string{"nope"}}, fs.ErrNotExist, "nope"},
		{runloop.Process{Args: []string{"/bin/nope"}}, fs.ErrNotExist, "/bin/nope"},
		{runloop.Process{Args: []string{"script"}}, fs.ErrNotExist, "interpreter"},
		{runloop.Process{Args: []string{"text"}}, fs.ErrPermission, "exec format error"},
		{runloop.Process{Args: []string{"plain"}}, fs.ErrPermission, "plain"},
		{runloop.Process{Args: []string{"/bin"}}, fs.ErrPermission, "/bin"},
		{runloop.Process{Args: []string{"true"}, Dir: "/nope"}, fs.ErrNotExist, "working directory /nope"},
		{runloop.Process{Args: []string{"true"}, Dir: "/bin/sh"}, syscall.ENOTDIR, "working directory /bin/sh"},
		{runloop.Process{Args: []string{"true"}, Dir: "bin"}, syscall.EINVAL, "working directory bin"},
		{runloop.Process{Args: []string{"true"}, Dir: "/secret", User: "ann"}, fs.ErrPermission, "working directory /secret"},
		{runloop.Process{Args: []string{"true"}, User: "bob"}, fs.ErrNotExist, "user bob"},
		{runloop.Process{Args: []string{"true"}, User: "ann:bobs"}, fs.ErrNotExist, "group bobs"},
		{runloop.Process{Args: []string{"true", "a\x00b"}}, syscall.EINVAL, "invalid argument"},
		{runloop.Process{}, syscall.EINVAL, "without arguments"},
	} {
		_, _, err := run(t, s, tt.p)
		if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v; want %v that says %q", tt.p, err, tt.want, tt.says)
		}
		other := map[error]error{fs.ErrNotExist: fs.ErrPermission, fs.ErrPermission: fs.ErrNotExist}[tt.want]
		if other != nil && errors.Is(err, other) {
			t.Errorf("%v is both %v and %v", err, tt.want, other)
		}
	}
	if out := sh(t, s, "echo alive; ls /proc | grep -c '^[0-9]'"); out != "alive\n4\n" && out != "alive\n3\n" {
		t.Errorf("after failed starts: %q", out)
	}
}

func TestIntegrationUsers(t *testing.T) {
	s := plain(t)
	for user, want := range map[string]string{
		"":         "uid=0(root) gid=0(root) groups=0(root),10(wheel) /root\n",
		"ann":      "uid=1000(ann) gid=1001(ann) groups=10(wheel),20(ops),1001(ann) /home/ann\n",
		"1000":     "uid=1000(ann) gid=1001(ann) groups=10(wheel),20(ops),1001(ann) /home/ann\n",
		"ann:ops":  "uid=1000(ann) gid=20(ops) groups=20(ops) /home/ann\n",
		"7:8":      "uid=7 gid=8 groups=8 /\n",
		"7":        "uid=7 gid=0(root) groups=0(root) /\n",
		"root:ann": "uid=0(root) gid=1001(ann) groups=1001(ann) /root\n",
	} {
		out, _, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "echo $(id) $HOME"}, User: user})
		must(t, err)
		if sorted(out) != sorted(want) {
			t.Errorf("user %q: %q, want %q", user, out, want)
		}
	}
	out, _, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "echo $HOME $PWD"}, Env: []string{"HOME=/x"}, Dir: "/etc", User: "ann"})
	if out != "/x /etc\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// sorted puts the groups that id(1) lists, and so all of the line, in an order.
func sorted(s string) string {
	f := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ,=\n", r) })
	slices.Sort(f)
	return strings.Join(slices.Compact(f), " ")
}

func TestIntegrationTerminal(t *testing.T) {
	s := plain(t)
	pty, tty, err := s.Terminal()
	must(t, err)
	defer pty.Close()
	tr, err := s.Start(&runloop.Process{
		Args: []string{"sh", "-c", "tty; cat /dev/tty"}, Files: [3]*os.File{tty, tty, tty}, Terminal: true,
	})
	must(t, errors.Join(err, tty.Close()))
	in := bufio.NewReader(pty)
	line, err := in.ReadString('\n')
	if line != "/dev/pts/0\r\n" || err != nil {
		t.Errorf("tty says %q, %v", line, err)
	}
	_, err = pty.Write([]byte{3}) // ^C: to the foreground of the controlling terminal
	must(t, err)
	ws, err := tr.Main(t.Context())
	if err != nil || !ws.Signaled() || ws.Signal() != syscall.SIGINT {
		t.Errorf("after ^C: %#x, %v", int(ws), err)
	}
	must(t, tr.Empty(t.Context()))
	must(t, tr.Close())
}
