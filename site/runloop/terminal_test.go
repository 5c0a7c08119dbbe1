package runloop_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// tty is sh in a terminal.
func tty(script string) control.Process {
	p := sh(script)
	p.Terminal = true
	p.Size = control.Size{Rows: 30, Cols: 100}
	return p
}

func TestTerminal(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, in, out, _ := pipes(t)
	s.start(tty("test -t 0 && test -t 1 && test -t 2 && stty size; read x </dev/tty; echo got $x; stty size; kill -INT $$"), stdio)
	shut(stdio)
	out.until("30 100\r\n")
	must(t, s.Resize(t.Context(), "", control.Size{Rows: 5, Cols: 6}))
	in.say("hello\n")
	if got := out.all(); got != "hello\r\ngot hello\r\n5 6\r\n" {
		t.Errorf("output %q", got)
	}
	if e := s.wait(); e.Signal != 2 {
		t.Errorf("exit %+v", e)
	}
	if got := s.logged(logfile.Stdout); got != "30 100\r\nhello\r\ngot hello\r\n5 6\r\n" {
		t.Errorf("log %q", got)
	}
}

func TestTerminalDefaultSize(t *testing.T) {
	s := newSite(t, fakeConfig{})
	p := tty("stty size")
	p.Size = control.Size{}
	s.start(p, control.Stdio{})
	s.wait()
	if got := s.logged(logfile.Stdout); got != "24 80\r\n" {
		t.Errorf("log %q", got)
	}
}

func TestTerminalLosesNoLastLine(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, _, out, _ := pipes(t)
	s.start(tty("seq 1 20000"), stdio)
	shut(stdio)
	want := numbers(20000, "\r\n")
	if got := out.all(); got != want {
		t.Errorf("client got %d bytes, want %d, the last: %q", len(got), len(want), got[max(0, len(got)-30):])
	}
	s.wait()
	if got := s.logged(logfile.Stdout); got != want {
		t.Errorf("log has %d bytes, want %d", len(got), len(want))
	}
}

func TestSeveralClients(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, in, out, _ := pipes(t)
	s.start(tty("stty -echo; echo ready; while read x; do echo got $x; done"), stdio)
	shut(stdio)
	out.until("ready\r\n")
	stdio, in2, out2, _ := pipes(t)
	ctx, detach := context.WithCancel(t.Context())
	attached := make(chan error, 1)
	go func() { attached <- s.Attach(ctx, stdio, true, control.Size{}) }()
	out2.until("ready\r\n") // replayed
	shut(stdio)
	in2.say("second\n")
	in.say("first\n")
	for _, o := range []end{out, out2} {
		if got := o.until("\n") + o.until("\n"); !strings.Contains(got, "got first\r\n") || !strings.Contains(got, "got second\r\n") {
			t.Errorf("got %q", got)
		}
	}
	must(t, in.Close()) // the first leaves by the end of its input
	if got := out.all(); got != "" {
		t.Errorf("after the end: %q", got)
	}
	in2.say("alone\n")
	out2.until("got alone\r\n")
	detach() // the second by its context
	if err := <-attached; !errors.Is(err, context.Canceled) {
		t.Errorf("attach: %v", err)
	}
	if got := out2.all(); got != "" {
		t.Errorf("after detach: %q", got)
	}
	st, err := s.State(t.Context())
	must(t, err)
	if st.Main == 0 {
		t.Error("main has ended with its clients")
	}
	must(t, s.Stop(t.Context(), 1, 0))
}

func TestAttachWithoutTerminal(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, in, out, errs := pipes(t)
	attached := make(chan error, 1)
	go func() { attached <- s.Attach(t.Context(), stdio, true, control.Size{}) }() // before or after the start
	p := sh("read x; echo out $x; read x; echo err $x >&2")
	p.OpenStdin = true
	s.start(p, control.Stdio{})
	in.say("one\n")
	out.until("out one\n")
	shut(stdio) // the call has sent them
	in.say("two\n")
	must(t, in.Close())
	if got := errs.all(); got != "err two\n" {
		t.Errorf("stderr %q", got)
	}
	if got := out.all(); got != "" {
		t.Errorf("stdout %q", got)
	}
	if err := <-attached; err != nil && !errors.Is(err, ipc.ErrLost) {
		t.Errorf("attach: %v", err)
	}
	s.wait()
	if got := s.logged(logfile.Stdout) + s.logged(logfile.Stderr); got != "out one\nerr two\n" {
		t.Errorf("log %q", got)
	}
}

// Whenever a client comes, what it gets has no gap and nothing twice, from the
// begin of a line to the last one.
func TestAttachHasNoSeam(t *testing.T) {
	const last = 4000
	script := fmt.Sprintf("i=0; while test $i -lt %d; do i=$((i+1)); echo $i; echo e$i >&2; test $((i%%200)) -ne 0 || sleep 0.02; done", last)
	for _, tc := range []struct {
		name             string
		terminal, replay bool
	}{
		{"terminal, replay", true, true}, {"terminal", true, false}, {"replay", false, true}, {"no replay", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, fakeConfig{})
			p := sh(script)
			if tc.terminal {
				p = tty("stty -onlcr; exec 2>/dev/null; " + script)
			}
			s.start(p, control.Stdio{})
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					time.Sleep(time.Duration(i) * 40 * time.Millisecond)
					stdio, in, out, errs := pipes(t)
					_ = in.Close()
					stdio.Stdin = nil
					got := make(chan [2]string, 1)
					go func() { a, b := out.all(), errs.all(); got <- [2]string{a, b} }()
					err := s.Attach(t.Context(), stdio, tc.replay, control.Size{})
					shut(stdio)
					text := <-got
					if errors.Is(err, control.ErrNotRunning) || ipc.CodeOf(err) == ipc.CodeUnavailable {
						return // too late
					}
					if err != nil && !errors.Is(err, ipc.ErrLost) {
						t.Errorf("client %d: %v", i, err)
					}
					checkSeam(t, i, "", text[0], last)
					if !tc.terminal {
						checkSeam(t, i, "e", text[1], last)
					}
				})
			}
			clients.Wait()
			s.wait()
		})
	}
}

// checkSeam looks that text is the lines from some number to the last.
func checkSeam(t *testing.T, client int, prefix, text string, last int) {
	t.Helper()
	if text == "" {
		return // it came for the end
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	first := last - len(lines) + 1
	for i, l := range lines {
		if i == 0 && strings.HasSuffix(prefix+strconv.Itoa(first), l) {
			continue // without replay it may begin anywhere
		}
		if want := prefix + strconv.Itoa(first+i); l != want {
			t.Errorf("client %d: line %d of %d is %q, want %q", client, i, len(lines), l, want)
			return
		}
	}
}

func TestAttachStdinThatGoesNowhere(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	stdio, _, _, _ := pipes(t)
	if err := s.Attach(t.Context(), stdio, false, control.Size{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("attach: %v", err)
	}
	release(t, s)
	s.wait()
}

func TestReaderThatDoesNotRead(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, _, out, _ := pipes(t)
	s.start(tty("seq 1 300000; echo >"+fifo(t, s)), stdio) // nobody reads the other end
	shut(stdio)
	_, err := os.ReadFile(s.cfg.Dir + "/fifo") // main has got there
	must(t, err)
	must(t, out.Close())
	s.wait()
	if got := s.logged(logfile.Stdout); got != numbers(300000, "\r\n") {
		t.Errorf("log has %d bytes", len(got))
	}
}

func TestExec(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	stdio, in, out, errs := pipes(t)
	in.say("text")
	must(t, in.Close())
	e, err := s.Exec(t.Context(), sh("cat; echo err >&2; exit 6"), stdio)
	must(t, err)
	shut(stdio)
	if got := out.all() + errs.all(); got != "texterr\n" || e.Code != 6 {
		t.Errorf("output %q, exit %+v", got, e)
	}
	if _, err := s.Exec(t.Context(), control.Process{Args: []string{"/no/such"}}, control.Stdio{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exec of nothing: %v", err)
	}
	if e, err := s.Exec(t.Context(), sh("echo to the log; kill -9 $$"), control.Stdio{}); err != nil || e.Code != 137 {
		t.Errorf("exit %+v, %v", e, err)
	}
	release(t, s)
	s.wait()
	if got := s.logged(logfile.Stdout); got != "to the log\n" {
		t.Errorf("log %q", got)
	}
}

func TestExecKeepsNothingAlive(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)+"; exit 2"), control.Stdio{})
	stdio, _, out, _ := pipes(t)
	exits := make(chan control.Exit, 1)
	go func() {
		e, err := s.Exec(t.Context(), sh("echo up; cat"), stdio) // reads for ever
		if err != nil {
			t.Error(err)
		}
		exits <- e
	}()
	out.until("up\n")
	// What an exec'ed process leaves behind is not waited for either.
	if e, err := s.Exec(t.Context(), sh("cat <"+s.cfg.Dir+"/fifo2 & exit 0"), control.Stdio{}); err != nil || e.Code != 0 {
		t.Errorf("exit %+v, %v", e, err)
	}
	release(t, s)
	if e := s.wait(); e.Code != 2 {
		t.Errorf("exit %+v", e)
	}
	if e := <-exits; e.Signal != 9 {
		t.Errorf("exec'ed: %+v", e)
	}
	shut(stdio)
}

func TestExecTerminal(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	stdio, in, out, _ := pipes(t)
	p := tty("stty -echo; stty size; read x; stty size; seq 1 5000; exit 8")
	p.ID = "e1"
	type result struct {
		control.Exit
		error
	}
	done := make(chan result, 1)
	go func() {
		e, err := s.Exec(t.Context(), p, stdio)
		shut(stdio)
		done <- result{e, err}
	}()
	out.until("30 100\r\n")
	if _, err := s.Exec(t.Context(), p, control.Stdio{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exec with an id that is taken: %v", err)
	}
	must(t, s.Resize(t.Context(), "e1", control.Size{Rows: 7, Cols: 8}))
	in.say("\n")
	if got, want := out.until("5000\r\n"), "7 8\r\n"+numbers(5000, "\r\n"); got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	if r := <-done; r.error != nil || r.Code != 8 {
		t.Errorf("exec %+v", r)
	}
	if err := s.Resize(t.Context(), "e1", control.Size{Rows: 7, Cols: 8}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("resize of what has ended: %v", err)
	}
	release(t, s)
	s.wait()
	if got := s.logged(logfile.Stdout); got != "" {
		t.Errorf("log %q", got)
	}
}

func TestExecTerminalHangsUpWithItsClient(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	stdio, _, out, _ := pipes(t)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		// The subshell has the fifo, and tells that it was hung up.
		_, err := s.Exec(ctx, tty("trap 'echo x >"+s.cfg.Dir+"/fifo; exit' HUP; echo up; while :; do read x || sleep 60; done"), stdio)
		done <- err
	}()
	out.until("up\r\n")
	hangUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("exec: %v", err)
	}
	shut(stdio)
	s.wait() // main was waiting for that
}
