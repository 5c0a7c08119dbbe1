package runloop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/site/control"
)

// descriptors lists what a run loop has open, by the kernel's names.
func descriptors(t *testing.T, s *site) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("this test reads the descriptors of a process from /proc: %v", err)
	}
	open := map[string]string{}
	for _, e := range entries {
		if name, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[e.Name()] = name
		}
	}
	return open
}

func TestProcess(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	pid := s.cmd.Process.Pid
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d, %v", sid, err)
	}
	for fd, name := range descriptors(t, s) {
		if info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%s", pid, fd)); err == nil && info.IsDir() {
			t.Errorf("descriptor %s is a directory: %s", fd, name)
		}
		if len(fd) == 1 && fd[0] < '3' && name != os.DevNull {
			t.Errorf("descriptor %s is %s", fd, name)
		}
	}
	if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && dir != "/" {
		t.Errorf("working directory %s", dir)
	}
	release(t, s)
	s.wait()
}

func TestNothingOfTheRunLoopReachesAProcess(t *testing.T) {
	s := newSite(t, fakeConfig{})
	// ls has 0 to 2, the pipe of the fake tenant, and the directory it lists.
	s.start(sh("exec ls /proc/self/fd"), control.Stdio{})
	if e := s.wait(); e.Code != 0 {
		t.Skip("this test reads the descriptors of a process from /proc")
	}
	inherited := map[string]bool{}
	for fd := range descriptorsOf(t) { // of whoever runs the tests
		inherited[fd] = true
	}
	for _, fd := range strings.Fields(s.logged('o')) {
		if len(fd) == 1 && fd <= "4" || inherited[fd] {
			continue
		}
		t.Errorf("descriptor %s is open in main", fd)
	}
}

// descriptorsOf lists descriptors of this process that children inherit.
func descriptorsOf(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	open := map[string]bool{}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			open[e.Name()] = true
		}
	}
	return open
}

func TestDescriptorsDoNotLeak(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	round := func() {
		stdio, in, out, _ := pipes(t)
		go func() { // attach to what has no terminal: only output
			_ = s.Attach(t.Context(), control.Stdio{Stdout: stdio.Stdout}, true, control.Size{})
		}()
		if _, err := s.Exec(t.Context(), sh("cat"), control.Stdio{}); err != nil {
			t.Error(err)
		}
		p := tty("read x; exit 0")
		in.say("\n")
		if _, err := s.Exec(t.Context(), p, control.Stdio{Stdin: stdio.Stdin, Stdout: stdio.Stderr}); err != nil {
			t.Error(err)
		}
		if _, err := s.Exec(t.Context(), control.Process{Args: []string{"/no/such"}, Terminal: true}, stdio); err == nil {
			t.Error("executed nothing")
		}
		_, _ = out, in
	}
	round()
	before := len(descriptors(t, s))
	for range 10 {
		round()
	}
	// Each round has left one attached client, with one descriptor.
	if after := len(descriptors(t, s)); after > before+10+4 {
		t.Errorf("%d descriptors, then %d: %v", before, after, descriptors(t, s))
	}
	release(t, s)
	s.wait()
}

func BenchmarkStartToExit(b *testing.B) {
	for b.Loop() {
		s := prepare(b, fakeConfig{})
		s.run()
		s.start(control.Process{Args: []string{"true"}}, control.Stdio{})
		<-s.exited
	}
}
