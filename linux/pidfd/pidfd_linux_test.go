package pidfd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// start runs a shell and returns its pid, not reaped by anyone else.
func start(t *testing.T, script string) int {
	t.Helper()
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestStatus(t *testing.T) {
	tests := map[string]struct {
		script string
		check  func(syscall.WaitStatus) bool
	}{
		"exit":   {"exit 7", func(w syscall.WaitStatus) bool { return w.Exited() && w.ExitStatus() == 7 }},
		"signal": {"kill -KILL $$", func(w syscall.WaitStatus) bool { return w.Signaled() && w.Signal() == syscall.SIGKILL }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := Open(start(t, tt.script))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if err := h.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			w, err := h.Reap()
			if err != nil || !tt.check(w) {
				t.Fatalf("Reap: %#x, %v", int(w), err)
			}
			if _, err := h.Reap(); !errors.Is(err, syscall.ECHILD) {
				t.Errorf("second Reap: %v, want ECHILD", err)
			}
			if err := h.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("Signal after the end: %v", err)
			}
			if _, err := h.Info(); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("Info after the end: %v", err)
			}
		})
	}
}

func TestCoreFlag(t *testing.T) {
	if w := status(3, int32(syscall.SIGSEGV)); !w.CoreDump() || w.Signal() != syscall.SIGSEGV {
		t.Errorf("status(CLD_DUMPED, SIGSEGV) = %#x", int(w))
	}
}

func TestLiving(t *testing.T) {
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if in, err := h.Info(); err != nil || in.PID != cmd.Process.Pid {
		t.Errorf("Info = %+v, %v; want pid %d", in, err, cmd.Process.Pid)
	}
	if _, err := h.Reap(); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("Reap of a living child: %v, want EAGAIN", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Wait(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Wait: %v", err)
	}
	in.Close()
	if err := h.Wait(t.Context()); err != nil {
		t.Errorf("Wait after a cancelled one: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := h.Wait(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait after Close: %v, want os.ErrClosed", err)
	}
}

func TestOpenMissing(t *testing.T) {
	if _, err := Open(1 << 22); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of no process: %v, want fs.ErrNotExist", err)
	}
}

func TestParseFdinfo(t *testing.T) {
	tests := map[string]struct {
		in  string
		pid int
		err error
	}{
		"living": {"pos:\t0\nflags:\t02\nPid:\t42\nNSpid:\t42\n", 42, nil},
		"reaped": {"pos:\t0\nPid:\t-1\n", 0, syscall.ESRCH},
		"no pid": {"pos:\t0\n", 0, syscall.EBADF},
	}
	for name, tt := range tests {
		in, err := parseFdinfo(tt.in)
		if in.PID != tt.pid || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
	}
}
