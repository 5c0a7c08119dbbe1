package runloop_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
	"github.com/joyboyid/xc/site/runloop"
)

func TestExit(t *testing.T) {
	for script, want := range map[string]control.Exit{
		"exit 0":        {},
		"exit 7":        {Code: 7},
		"kill -KILL $$": {Code: 137, Signal: 9},
		// These have handlers in the run loop; main must have the defaults.
		"kill -TERM $$": {Code: 143, Signal: 15},
		"kill -PIPE $$": {Code: 141, Signal: 13},
		"kill -HUP $$":  {Code: 129, Signal: 1},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fakeConfig{})
			s.start(sh(script), control.Stdio{})
			got := s.wait()
			got.At = time.Time{}
			if got != want {
				t.Errorf("exit %+v, want %+v", got, want)
			}
		})
	}
}

func TestOutputIsLogged(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("echo out; echo err >&2; printf unterminated; cat"), control.Stdio{}) // stdin is empty
	if e := s.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	if got := s.logged(logfile.Stdout); got != "out\nunterminated" {
		t.Errorf("stdout: %q", got)
	}
	if got := s.logged(logfile.Stderr); got != "err\n" {
		t.Errorf("stderr: %q", got)
	}
}

func TestNothingIsLostAtTheEnd(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("seq 1 100000; seq 1 100000 >&2"), control.Stdio{})
	s.wait()
	want := numbers(100000, "\n")
	if got := s.logged(logfile.Stdout); got != want {
		t.Errorf("%d bytes of stdout, want %d", len(got), len(want))
	}
	if got := s.logged(logfile.Stderr); got != want {
		t.Errorf("%d bytes of stderr, want %d", len(got), len(want))
	}
}

func TestDescriptorsGoThrough(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, in, out, errs := pipes(t)
	s.start(sh("cat; echo err >&2; exec >&- 2>&-; read x <"+fifo(t, s)), stdio)
	shut(stdio)
	in.say("half-close\n")
	must(t, in.Close())
	// Their ends are seen while main lives: the run loop keeps no copies.
	if got := out.all(); got != "half-close\n" {
		t.Errorf("stdout: %q", got)
	}
	if got := errs.all(); got != "err\n" {
		t.Errorf("stderr: %q", got)
	}
	release(t, s)
	s.wait()
	if got := s.logged(logfile.Stdout); got != "" {
		t.Errorf("log: %q", got)
	}
}

func TestWriterWhoseReaderHasGone(t *testing.T) {
	s := newSite(t, fakeConfig{})
	stdio, _, out, _ := pipes(t)
	s.start(sh("exec yes"), stdio)
	shut(stdio)
	out.until("y\n")
	must(t, out.Close())
	if e := s.wait(); e.Signal != int(syscall.SIGPIPE) {
		t.Errorf("exit %+v", e)
	}
}

func TestDirectoriesAreRefused(t *testing.T) {
	s := newSite(t, fakeConfig{})
	dir, err := os.Open("/")
	must(t, err)
	defer dir.Close()
	for name, stdio := range map[string]control.Stdio{"stdin": {Stdin: dir}, "stdout": {Stdout: dir}, "stderr": {Stderr: dir}} {
		if _, err := s.Start(t.Context(), sh("exit 1"), stdio); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("start with a directory as %s: %v", name, err)
		}
	}
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{Stdin: null}) // a refused start can be repeated
	if _, err := s.Exec(t.Context(), sh("exit 1"), control.Stdio{Stdin: dir}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("exec: %v", err)
	}
	if err := s.Attach(t.Context(), control.Stdio{Stdout: dir}, false, control.Size{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("attach: %v", err)
	}
	release(t, s)
	s.wait()
}

func TestDescendantsKeepTheContainer(t *testing.T) {
	s := newSite(t, fakeConfig{})
	pid := s.start(sh("(read x <"+fifo(t, s)+"; echo late) & exit 3"), control.Stdio{})
	st, err := s.State(t.Context())
	must(t, err)
	if st.Loop != s.cmd.Process.Pid || st.Started.IsZero() || st.Main != 0 && st.Main != pid {
		t.Errorf("state %+v", st)
	}
	for st.Exit == nil { // main is about to exit
		st, err = s.State(t.Context())
		must(t, err)
	}
	if st.Exit.Code != 3 || st.Main != 0 {
		t.Errorf("state %+v", st)
	}
	release(t, s)
	if e := s.wait(); e.Code != 3 {
		t.Errorf("exit %+v", e)
	}
	if got := s.logged(logfile.Stdout); got != "late\n" {
		t.Errorf("log %q", got)
	}
}

func TestWaitMain(t *testing.T) {
	s := newSite(t, fakeConfig{})
	p := sh("(read x <" + fifo(t, s) + ") & echo $!; exit 3")
	p.WaitMain = true
	s.start(p, control.Stdio{})
	if e := s.wait(); e.Code != 3 {
		t.Errorf("exit %+v", e)
	}
	noReader(t, s)
}

func TestStartErrors(t *testing.T) {
	s := newSite(t, fakeConfig{})
	if _, err := s.Exec(t.Context(), sh("exit 0"), control.Stdio{}); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("exec before start: %v", err)
	}
	if err := s.Stop(t.Context(), 15, time.Second); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("stop before start: %v", err)
	}
	if err := s.Signal(t.Context(), 15, false); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("signal before start: %v", err)
	}
	if _, err := s.Start(t.Context(), control.Process{Args: []string{"/no/such/program"}}, control.Stdio{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("start of nothing: %v", err)
	}
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	if _, err := s.Start(t.Context(), sh("exit 0"), control.Stdio{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second start: %v", err)
	}
	if err := s.Signal(t.Context(), 0, false); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("signal 0: %v", err)
	}
	if err := s.Resize(t.Context(), "", control.Size{Rows: 1, Cols: 1}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("resize without a terminal: %v", err)
	}
	release(t, s)
	s.wait()
}

func TestTenantThatCannotBeOpened(t *testing.T) {
	s := newSite(t, fakeConfig{Fail: "no jails left"})
	if _, err := s.Start(t.Context(), sh("exit 0"), control.Stdio{}); err == nil || !strings.Contains(err.Error(), "no jails left") {
		t.Errorf("start: %v", err)
	}
	must(t, s.client.Close())
	<-s.exited
}

func TestLifeline(t *testing.T) {
	s := newSite(t, fakeConfig{})
	_, err := s.State(t.Context())
	must(t, err)
	must(t, s.client.Close())
	<-s.exited
	if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 125 || e.Error == "" || e.Lost {
		t.Errorf("record of what never ran: %+v, %v", e, err)
	}
	s.stderr.Reset() // it says so
}

func TestRunLoopOutlivesItsStarter(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)+"; exit 4"), control.Stdio{})
	must(t, s.client.Close())
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE} {
		must(t, s.cmd.Process.Signal(sig))
	}
	c, err := ipc.Open(t.Context(), s.socket)
	must(t, err)
	s.client, s.Control = c, control.ControlClient{C: c}
	st, err := s.State(t.Context())
	must(t, err)
	if st.Loop != s.cmd.Process.Pid || st.Main == 0 {
		t.Errorf("state %+v", st)
	}
	release(t, s)
	if e := s.wait(); e.Code != 4 {
		t.Errorf("exit %+v", e)
	}
}

func TestTornRecord(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, runloop.ExitFile), nil, 0o600))
	if _, err := runloop.ReadExit(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("record: %v", err)
	}
}

// To make the record durable its directory is opened, which nothing that is started
// in a jail may meet: the record comes after all starts, and none comes after it.
func TestRecordMeetsNoStart(t *testing.T) {
	s := prepare(t, fakeConfig{})
	record := filepath.Join(s.dir, runloop.ExitFile)
	var err error
	s.cfg.Tenant, err = json.Marshal(fakeConfig{Apart: record})
	must(t, err)
	s.run()
	s.start(sh("sleep 0.15"), control.Stdio{}) // ends while the others are being started
	started := make(chan error)
	for range 3 {
		go func() {
			_, err := s.Exec(t.Context(), sh("exit 0"), control.Stdio{})
			started <- err
		}()
	}
	for range 3 {
		if err := <-started; errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	<-s.exited
	_, err = os.Stat(record)
	must(t, err)
}

func TestEndWithNobodyThere(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)+"; exit 4"), control.Stdio{})
	must(t, s.client.Close())
	release(t, s)
	<-s.exited
	if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 4 {
		t.Errorf("record %+v, %v", e, err)
	}
}

func TestAbandon(t *testing.T) {
	t.Run("before start", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		must(t, s.Abandon(t.Context()))
		<-s.exited
		if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 125 || e.Error == "" {
			t.Errorf("record %+v, %v", e, err)
		}
	})
	t.Run("running", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		s.start(sh("trap '' TERM; read x <"+fifo(t, s)), control.Stdio{})
		must(t, s.Abandon(t.Context()))
		<-s.exited
		if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 137 || e.Signal != 9 || e.Lost {
			t.Errorf("record %+v, %v", e, err)
		}
		noReader(t, s)
	})
	t.Run("of which the end is not seen", func(t *testing.T) {
		s := newSite(t, fakeConfig{Blind: true})
		s.start(sh("exit 3"), control.Stdio{})
		for {
			st, err := s.State(t.Context())
			must(t, err)
			if st.Exit != nil {
				break
			}
		}
		must(t, s.Abandon(t.Context()))
		<-s.exited
		if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 3 {
			t.Errorf("record %+v, %v", e, err)
		}
	})
}

// Its starter hangs up and somebody abandons it at the same time: who is told that
// it has ended, removes the site's directory, and there is to be no other.
func TestAbandonedByTwo(t *testing.T) {
	for i := range 20 {
		s := prepare(t, fakeConfig{})
		s.cfg.Dir = filepath.Join(s.dir, "site")
		must(t, os.Mkdir(s.cfg.Dir, 0o700))
		s.cfg.LogPath = filepath.Join(s.cfg.Dir, "log")
		s.run()
		c := s.dial().C
		go func() {
			_ = control.ControlClient{C: c}.Abandon(t.Context()) // it may have ended by then
		}()
		time.Sleep(time.Duration(i) * 50 * time.Microsecond)
		must(t, s.client.Close())
		<-c.Done()
		must(t, os.RemoveAll(s.cfg.Dir))
		<-s.exited
		if _, err := os.Stat(s.cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it has written into its site once more: %v", err)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
}

// One that is kept ready answers, refuses what it can refuse, and starts main
// once it knows its tenant. Its starter's end ends it.
func TestBeforeConfiguration(t *testing.T) {
	t.Run("configured later", func(t *testing.T) {
		s := prepare(t, fakeConfig{})
		s.launch()
		early := s.dial()
		if st, err := early.State(t.Context()); err != nil || st.Loop != s.cmd.Process.Pid || st.Main != 0 {
			t.Errorf("state %+v, %v", st, err)
		}
		if _, err := early.Start(t.Context(), control.Process{}, control.Stdio{}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("start of nothing: %v", err)
		}
		// The starter is not greeted: were the run loop killed now, its call would be
		// known not to have been executed.
		pid := make(chan int)
		go func() {
			n, err := s.Start(t.Context(), sh("exit 3"), control.Stdio{})
			if err != nil {
				t.Error(err)
			}
			pid <- n
		}()
		select {
		case <-pid:
			t.Error("it started main in no tenant")
		case <-time.After(50 * time.Millisecond):
		}
		s.configure()
		if n := <-pid; n == 0 {
			t.Error("no pid")
		}
		if e := s.waitRecord(); e.Code != 3 {
			t.Errorf("record %+v", e)
		}
	})
	t.Run("never configured", func(t *testing.T) {
		s := prepare(t, fakeConfig{})
		s.launch()
		_, err := s.dial().State(t.Context())
		must(t, err)
		must(t, s.client.Close())
		must(t, s.config.Close())
		<-s.exited
		s.stderr.Reset() // it says so
		if _, err := runloop.ReadExit(s.cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("record: %v", err)
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	for name, change := range map[string]func(*runloop.Config){
		"no id":        func(c *runloop.Config) { c.ID = "" },
		"relative dir": func(c *runloop.Config) { c.Dir = "x" },
		"relative log": func(c *runloop.Config) { c.LogPath = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			s := prepare(t, fakeConfig{})
			change(&s.cfg)
			s.run()
			<-s.exited
			if s.cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(s.stderr.String(), "xc-runloop: configuration: ") {
				t.Errorf("%v, said %q", s.cmd.ProcessState, &s.stderr)
			}
			s.stderr.Reset()
		})
	}
}

// waitRecord waits for the end of the run loop; nobody may be there to ask.
func (s *site) waitRecord() control.Exit {
	s.t.Helper()
	<-s.exited
	e, err := runloop.ReadExit(s.cfg.Dir)
	must(s.t, err)
	return e
}

// fifo makes the site's fifo, on which a script waits until release.
func fifo(t testing.TB, s *site) string {
	t.Helper()
	path := filepath.Join(s.cfg.Dir, "fifo")
	must(t, syscall.Mkfifo(path, 0o600))
	return path
}

// release lets the script go on; it has come to the fifo then.
func release(t testing.TB, s *site) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.cfg.Dir, "fifo"), []byte("\n"), 0o600))
}

// noReader checks that nobody reads the fifo: its reader is dead.
func noReader(t testing.TB, s *site) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, "fifo"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if !errors.Is(err, syscall.ENXIO) {
		t.Errorf("somebody reads the fifo: %v", err)
		_ = f.Close()
	}
}

func numbers(n int, eol string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		b.WriteString(itoa(i) + eol)
	}
	return b.String()
}
