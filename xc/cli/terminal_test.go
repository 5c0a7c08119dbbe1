package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/joyboyid/xc/engine/api"
)

// screen is a terminal with somebody in front of it.
type screen struct {
	t      *testing.T
	master *os.File
	tty    *os.File
	shown  bytes.Buffer
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("needs a pseudo-terminal (/dev/ptmx): %v", err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	s := &screen{t: t, master: master, tty: tty}
	s.resize(30, 100)
	return s
}

func (s *screen) resize(rows, cols uint16) {
	s.t.Helper()
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		s.t.Fatal(err)
	}
}

// state is how the terminal is set; raw or not.
func (s *screen) state() term.State {
	s.t.Helper()
	st, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	return *st
}

// expect reads until text was shown.
func (s *screen) expect(text string) {
	s.t.Helper()
	b := make([]byte, 256)
	for !strings.Contains(s.shown.String(), text) {
		n, err := s.master.Read(b)
		if err != nil {
			s.t.Fatalf("waiting for %q after %q: %v", text, s.shown.String(), err)
		}
		s.shown.Write(b[:n])
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a command line at the screen and returns its exit code.
func (f *fake) start(s *screen, args ...string) <-chan int {
	a, _ := f.app(s.t, "")
	a.Stdin, a.Stdout, a.Stderr = s.tty, s.tty, s.tty
	code := make(chan int, 1)
	go func() { code <- a.Run(s.t.Context(), args) }()
	return code
}

// echo is a program that has a terminal: it says its size, repeats what is
// typed, and ends at ctrl-d.
func echo(p *process) api.Exit {
	fmt.Fprintf(p.stdout, "size %v\r\n", <-p.sizes)
	b := make([]byte, 64)
	for {
		n, err := p.stdin.Read(b)
		if err != nil {
			fmt.Fprint(p.stdout, "hung up\r\n")
			return api.Exit{Code: 4}
		}
		if bytes.ContainsRune(b[:n], 4) {
			return api.Exit{Code: 12}
		}
		fmt.Fprintf(p.stdout, "<%q>", b[:n])
	}
}

func TestTerminal(t *testing.T) {
	f := newFake(t)
	f.programs["echo"] = echo
	s := newScreen(t)
	before := s.state()
	code := f.start(s, "run", "-it", "alpine:3", "echo")
	s.expect("size {30 100}")
	if reflect.DeepEqual(s.state(), before) {
		t.Error("the terminal is not raw")
	}
	s.press("a\x03\x1a") // ctrl-c and ctrl-z belong to the container
	s.expect(`\x03`)
	s.expect(`\x1a`)
	s.press("\x10x") // the first of the detach keys, and not the second
	s.expect(`\x10x`)
	s.resize(40, 120)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	c, err := f.find("made-up-0")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-c.p.sizes; got != (api.Size{Rows: 40, Cols: 120}) {
		t.Errorf("after the resize: %v", got)
	}
	s.press("\x04")
	if got := <-code; got != 12 {
		t.Errorf("exit code %d", got)
	}
	if !reflect.DeepEqual(s.state(), before) {
		t.Error("the terminal was not restored")
	}
}

// A window that changes while the container starts is told once it runs; nothing
// will signal it again.
func TestWindowChangesMeanwhile(t *testing.T) {
	f := newFake(t)
	f.programs["echo"] = echo
	s := newScreen(t)
	f.starting = func() { s.resize(40, 120) }
	code := f.start(s, "run", "-it", "alpine:3", "echo")
	s.expect("size {30 100}")
	c, err := f.find("made-up-0")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-c.p.sizes; got != (api.Size{Rows: 40, Cols: 120}) {
		t.Errorf("told %v", got)
	}
	s.press("\x04")
	if got := <-code; got != 12 {
		t.Errorf("exit code %d", got)
	}
}

func TestDetachKeys(t *testing.T) {
	for keys, typed := range map[string]string{"": "\x10\x11", "a,b,ctrl-c": "aab\x03", "ctrl-@": "\x00"} {
		f := newFake(t)
		f.programs["echo"] = echo
		s := newScreen(t)
		before := s.state()
		args := []string{"run", "-it", "alpine:3", "echo"}
		if keys != "" {
			args = append([]string{"run", "-it", "--detach-keys", keys}, args[2:]...)
		}
		code := f.start(s, args...)
		s.expect("size")
		s.press(typed)
		if got := <-code; got != 0 {
			t.Errorf("%q: exit code %d", keys, got)
		}
		if !reflect.DeepEqual(s.state(), before) {
			t.Errorf("%q: the terminal was not restored", keys)
		}
		if f.noted("kill made-up-0 HUP") {
			t.Error("the container got a signal")
		}
	}
}

// Whatever ends xc, the terminal is as it was.
func TestTerminalIsRestored(t *testing.T) {
	for _, args := range [][]string{
		{"run", "-it", "alpine:3", "nope"},
		{"run", "-it", "alpine:3", "broken"},
		{"exec", "-it", "nobody", "echo"},
		{"exec", "-it", "web", "nope"},
	} {
		f := newFake(t)
		f.programs["echo"] = echo
		s := newScreen(t)
		before := s.state()
		code := f.start(s, args...)
		s.expect("xc: ")
		if got := <-code; got < 125 || got > 127 {
			t.Errorf("%v: exit code %d", args, got)
		}
		if !reflect.DeepEqual(s.state(), before) {
			t.Errorf("%v: the terminal was not restored", args)
		}
	}
}

func TestExecTerminal(t *testing.T) {
	f := newFake(t)
	f.programs["echo"] = func(p *process) api.Exit {
		p.sizes <- api.Size{}
		return echo(p)
	}
	f.programs["serve"] = func(p *process) api.Exit { <-p.signals; return api.Exit{} }
	if r := f.xc(t, "run", "-d", "--name", "web", "alpine:3", "serve"); r.code != 0 {
		t.Fatal(r)
	}
	s := newScreen(t)
	code := f.start(s, "exec", "-it", "web", "echo")
	s.expect("size")
	s.press("\x10\x11") // nothing special in an exec
	s.expect(`\x11`)
	s.press("\x04")
	if got := <-code; got != 12 {
		t.Errorf("exit code %d", got)
	}
	if r := f.xc(t, "kill", "web"); r.code != 0 {
		t.Error(r)
	}
}

// Output that is long, and ends with the container, is shown to the end.
func TestTerminalLosesNothing(t *testing.T) {
	f := newFake(t)
	f.programs["flood"] = func(p *process) api.Exit {
		fmt.Fprint(p.stdout, strings.Repeat("0123456789", 20_000), "END")
		return api.Exit{}
	}
	s := newScreen(t)
	code := f.start(s, "run", "-t", "alpine:3", "flood")
	s.expect("END")
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if n := strings.Count(s.shown.String(), "0123456789"); n != 20_000 {
		t.Errorf("%d of 20000", n)
	}
}

func TestProgressBars(t *testing.T) {
	f := newFake(t)
	f.remote["new:1"] = api.Image{Digest: "sha256:2"}
	s := newScreen(t)
	code := f.start(s, "pull", "new:1")
	s.expect("121212121212")
	s.expect("sha256:2")
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if shown := s.shown.String(); !strings.Contains(shown, "done") {
		t.Errorf("shown: %q", shown)
	}
}
