package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/joyboyid/xc/internal/testprograms"
	"golang.org/x/term"
)

// screen is a terminal with an xc in front of it.
type screen struct {
	t      *testing.T
	master *os.File
	tty    *os.File
	cmd    *exec.Cmd
	before term.State
	shown  []byte
}

// screen starts xc at a terminal; adjust may connect some of it elsewhere.
func (d *daemon) screen(adjust func(*exec.Cmd), args ...string) *screen {
	d.t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { master.Close(); tty.Close() })
	s := &screen{t: d.t, master: master, tty: tty, cmd: d.command(args...)}
	if s.before, err = s.state(); err != nil {
		d.t.Fatal(err)
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	if adjust != nil {
		adjust(s.cmd)
	}
	if err := s.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (s *screen) state() (term.State, error) {
	st, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		return term.State{}, err
	}
	return *st, nil
}

func (s *screen) raw() bool {
	s.t.Helper()
	now, err := s.state()
	if err != nil {
		s.t.Fatal(err)
	}
	return !reflect.DeepEqual(now, s.before)
}

// until reads until text was shown since it was last called.
func (s *screen) until(text string) {
	s.t.Helper()
	testprograms.Within(s.t, "a terminal", func() {
		for b := make([]byte, 512); !bytes.Contains(s.shown, []byte(text)); {
			n, err := s.master.Read(b)
			s.shown = append(s.shown, b[:n]...)
			if err != nil {
				break
			}
		}
	})
	_, rest, found := bytes.Cut(s.shown, []byte(text))
	if !found {
		s.t.Fatalf("the terminal shows %q, not %q", s.shown, text)
	}
	s.shown = rest
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

// ended waits for the end of xc, after which the terminal is as it was.
func (s *screen) ended() syscall.WaitStatus {
	s.t.Helper()
	testprograms.Within(s.t, "xc at a terminal", func() { s.cmd.Wait() }) //nolint:errcheck // its status is looked at
	if s.raw() {
		s.t.Errorf("xc %s: the terminal was not restored", strings.Join(s.cmd.Args[1:], " "))
	}
	return s.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// One leaves a container by the detach keys and comes back to what it shows.
func TestIntegrationDetach(t *testing.T) {
	d := newDaemon(t)
	s := d.screen(nil, "run", "-it", "--name", "d", "bb", "sh", "-c", "stty -echo; echo ready; while read x; do echo got $x; test $x != end || exit 5; done")
	s.until("ready")
	s.press("one\n")
	s.until("got one")
	if !s.raw() {
		t.Error("the terminal is not raw")
	}
	s.press("\x10\x11")
	if st := s.ended(); st.ExitStatus() != 0 {
		t.Errorf("detached: %v", s.cmd.ProcessState)
	}
	if out := d.must("ps", "--format", "{{.Names}}"); out != "d\n" {
		t.Errorf("ps: %q", out)
	}
	a, b := d.screen(nil, "attach", "--detach-keys", "x,y", "d"), d.screen(nil, "attach", "d")
	for _, s := range []*screen{a, b} {
		s.until("got one") // replayed
	}
	a.press("two\n")
	for _, s := range []*screen{a, b} {
		s.until("got two")
	}
	a.press("xz\n") // the first of the keys is typed, late
	a.until("got xz")
	a.press("xy")
	if st := a.ended(); st.ExitStatus() != 0 {
		t.Errorf("detached: %v", a.cmd.ProcessState)
	}
	b.press("end\n")
	b.until("got end")
	if st := b.ended(); st.ExitStatus() != 5 {
		t.Errorf("attached to the end: %v", b.cmd.ProcessState)
	}
	if out := d.must("logs", "d"); !strings.HasSuffix(out, "got two\r\ngot xz\r\ngot end\r\n") {
		t.Errorf("log: %q", out)
	}
}

// Whatever ends xc, or what it shows, the terminal is as it was.
func TestIntegrationTerminalIsRestored(t *testing.T) {
	// Under nohup xc would ignore it too, as it should.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	d := newDaemon(t)
	const script = "echo ready; while :; do sleep 0.1; done"
	d.must("run", "-d", "-t", "--name", "c", "bb", "sh", "-c", script)
	for _, tc := range []struct {
		what string
		args []string
		sig  syscall.Signal // to xc
		want syscall.Signal // that ended it
	}{
		{"exec that is terminated", []string{"exec", "-it", "c", "sh", "-c", script}, syscall.SIGTERM, syscall.SIGTERM},
		{"exec that is hung up", []string{"exec", "-it", "c", "sh", "-c", script}, syscall.SIGHUP, syscall.SIGHUP},
		{"attach that forwards nothing", []string{"attach", "--sig-proxy=false", "c"}, syscall.SIGTERM, syscall.SIGTERM},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := d.screen(nil, tc.args...)
			s.t = t
			s.until("ready")
			if err := s.cmd.Process.Signal(tc.sig); err != nil {
				t.Fatal(err)
			}
			if st := s.ended(); !st.Signaled() || st.Signal() != tc.want {
				t.Errorf("%v", s.cmd.ProcessState)
			}
		})
	}
	t.Run("container that is killed", func(t *testing.T) {
		s := d.screen(nil, "run", "--rm", "-it", "--name", "k", "bb", "sh", "-c", script)
		s.t = t
		s.until("ready")
		d.must("kill", "k")
		if st := s.ended(); st.ExitStatus() != 137 {
			t.Errorf("%v", s.cmd.ProcessState)
		}
	})
	t.Run("run whose signals are forwarded", func(t *testing.T) {
		s := d.screen(nil, "run", "--rm", "-it", "bb", "sh", "-c", "trap 'exit 9' TERM; "+script)
		s.t = t
		s.until("ready")
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if st := s.ended(); st.ExitStatus() != 9 {
			t.Errorf("%v", s.cmd.ProcessState)
		}
	})
	t.Run("output that nobody reads", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s := d.screen(func(cmd *exec.Cmd) { cmd.Stdout = w }, "run", "-it", "--name", "yes", "bb", "yes")
		s.t = t
		w.Close()
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Error(err)
		}
		r.Close()
		if st := s.ended(); !st.Signaled() || st.Signal() != syscall.SIGPIPE {
			t.Errorf("%v", s.cmd.ProcessState)
		}
		if out := d.must("ps", "--format", "{{.Names}}"); !strings.Contains(out, "yes\n") { // it goes on
			t.Errorf("ps: %q", out)
		}
	})
}
