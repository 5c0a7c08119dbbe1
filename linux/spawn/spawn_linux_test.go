//go:build amd64 || arm64

package spawn

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// output starts a shell whose standard output is a pipe and returns what it
// wrote and how it ended.
func output(t *testing.T, p *Program, o Options, script string, env ...string) (string, syscall.WaitStatus) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.Call("dup3", unix.SYS_DUP3, w.Fd(), 1, 0)
	pid, pidfd, err := p.Start(o, "/bin/sh", []string{"sh", "-c", script}, env)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	return string(b), ws
}

func TestCalls(t *testing.T) {
	var p Program
	p.Call("chdir", unix.SYS_CHDIR, p.String("/proc"))
	p.Call("umask", unix.SYS_UMASK, 0o123)
	p.Call("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	out, ws := output(t, &p, Options{}, `pwd; umask; echo "$A"; grep -E 'NoNewPrivs|SigBlk' self/status; exit 7`, "A=b c", "PATH=/bin:/usr/bin")
	want := "/proc\n0123\nb c\n"
	if !strings.HasPrefix(out, want) || !strings.Contains(out, "NoNewPrivs:\t1") || !strings.Contains(out, "SigBlk:\t0000000000000000") {
		t.Errorf("output %q", out)
	}
	if ws.ExitStatus() != 7 {
		t.Errorf("status %#x", int(ws))
	}
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		add  func(*Program)
		path string
		call string
		err  error
	}{
		"first":  {func(p *Program) { p.Call("chdir", unix.SYS_CHDIR, p.String("/no")); p.Call("setsid", unix.SYS_SETSID) }, "/bin/sh", "chdir", unix.ENOENT},
		"second": {func(p *Program) { p.Call("setsid", unix.SYS_SETSID); p.Call("close", unix.SYS_CLOSE, 99999) }, "/bin/sh", "close", unix.EBADF},
		"none":   {func(*Program) {}, "/no/such", "execve", os.ErrNotExist},
		"dir":    {func(*Program) {}, "/", "execve", os.ErrPermission},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p Program
			tt.add(&p)
			for range 2 { // a program may be started again
				_, _, err := p.Start(Options{}, tt.path, []string{"x"}, nil)
				var e *Error
				if !errors.As(err, &e) || e.Call != tt.call || !errors.Is(err, tt.err) {
					t.Errorf("%v; want %s: %v", err, tt.call, tt.err)
				}
			}
			if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
				t.Errorf("a child is left: %v", err)
			}
		})
	}
	var p Program
	var e *Error
	_, _, err := p.Start(Options{Cgroup: 99999}, "/bin/sh", []string{"sh"}, nil)
	if !errors.As(err, &e) || e.Call != "clone3" || !errors.Is(err, unix.EBADF) {
		t.Errorf("a bad cgroup: %v", err)
	}
}

// TestConcurrent starts from many goroutines while the collector runs and
// preempts: nothing of the runtime may leak into the new processes.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				var p Program
				p.Call("setsid", unix.SYS_SETSID)
				pid, pidfd, err := p.Start(Options{}, "/bin/true", []string{"true", strings.Repeat("x", 10000)}, os.Environ())
				if err != nil {
					t.Error(err)
					return
				}
				unix.Close(pidfd)
				var ws syscall.WaitStatus
				for {
					_, err = syscall.Wait4(pid, &ws, 0, nil)
					if err != syscall.EINTR {
						break
					}
				}
				if err != nil || ws != 0 {
					t.Errorf("status %#x, %v", int(ws), err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkTrue(b *testing.B) {
	for b.Loop() {
		var p Program
		pid, pidfd, err := p.Start(Options{}, "/bin/true", []string{"true"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(pidfd)
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}
