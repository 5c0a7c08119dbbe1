package runloop_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/site/control"
)

func TestStop(t *testing.T) {
	t.Run("by signal", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		stdio, _, out, _ := pipes(t)
		s.start(sh("trap 'exit 5' INT; echo ready; while :; do read x <"+fifo(t, s)+"; done"), stdio)
		shut(stdio)
		out.until("ready\n")
		must(t, s.Stop(t.Context(), int(syscall.SIGINT), time.Hour))
		if e := s.waitRecord(); e.Code != 5 {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("by force", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		stdio, _, out, _ := pipes(t)
		s.start(sh("trap '' TERM; echo ready; while :; do read x <"+fifo(t, s)+"; done"), stdio)
		shut(stdio)
		out.until("ready\n")
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), time.Millisecond))
		if e := s.waitRecord(); e.Code != 137 {
			t.Errorf("exit %+v", e)
		}
		noReader(t, s)
	})
	t.Run("at once", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), 0))
		if e := s.waitRecord(); e.Code != 137 {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("what main left behind", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		stdio, _, out, _ := pipes(t)
		s.start(sh("(trap 'echo stopped; exit' TERM; echo ready; while :; do read x <"+fifo(t, s)+"; done) & exit 3"), stdio)
		shut(stdio)
		out.until("ready\n")
		for {
			st, err := s.State(t.Context())
			must(t, err)
			if st.Exit != nil {
				break
			}
		}
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), time.Hour))
		if got := out.all(); !strings.Contains(got, "stopped") {
			t.Errorf("output %q", got)
		}
		if e := s.waitRecord(); e.Code != 3 {
			t.Errorf("exit %+v", e)
		}
	})
}

func TestSignal(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, _, out, _ := pipes(t)
	loop := "while :; do read x <" + fifo(t, s) + "; done"
	s.start(sh("trap 'echo main' USR1; (trap 'echo child' USR1; echo up; "+loop+") & "+loop), stdio)
	shut(stdio)
	out.until("up\n")
	must(t, s.Signal(t.Context(), int(syscall.SIGUSR1), false))
	if got := out.until("\n"); got != "main\n" {
		t.Errorf("main has said %q", got)
	}
	must(t, s.Signal(t.Context(), int(syscall.SIGUSR1), true))
	if got := out.until("\n") + out.until("\n"); !strings.Contains(got, "main\n") || !strings.Contains(got, "child\n") {
		t.Errorf("all have said %q", got)
	}
	must(t, s.Signal(t.Context(), int(syscall.SIGKILL), true))
	if e := s.wait(); e.Signal != 9 {
		t.Errorf("exit %+v", e)
	}
}
