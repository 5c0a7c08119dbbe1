package runloop_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
	"github.com/joyboyid/xc/site/runloop"
)

// around is main with commands before and after it.
func around(main string, init, deinit []string) control.Process {
	p := sh(main)
	p.Init, p.Deinit, p.DeinitTimeout = scripts(init), scripts(deinit), time.Minute
	return p
}

func scripts(list []string) (out []control.Command) {
	for _, s := range list {
		out = append(out, control.Command{Args: []string{"sh", "-c", s}})
	}
	return out
}

// note returns a shell command that adds a word to the site's list.
func (s *site) note(word string) string { return "echo " + word + " >>" + filepath.Join(s.dir, "list") }

// noted are the words of the list.
func (s *site) noted() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "list"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// await waits until a word is on the list.
func (s *site) await(word string) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(s.noted(), word); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%q is not on the list %q", word, s.noted())
		}
	}
}

// startAside starts main, and returns where the error will be.
func (s *site) startAside(p control.Process) <-chan error {
	failed := make(chan error, 1)
	go func() {
		_, err := s.Start(s.t.Context(), p, control.Stdio{})
		failed <- err
	}()
	return failed
}

func TestInitAndDeinit(t *testing.T) {
	s := newSite(t, fakeConfig{})
	// What main leaves behind, and not main, is what the deinit commands come after.
	main := "(read x <" + fifo(t, s) + "; " + s.note("child") + ") & " + s.note("main") + "; echo from main; exit 7"
	p := around(main,
		[]string{"sleep 0.05; " + s.note("one") + "; echo said by one", "read x; echo got $x $A >&2; " + s.note("two")},
		[]string{"sleep 0.05; " + s.note("three") + "; exit 9", s.note("four") + "; echo said by four"})
	p.Env = append(p.Env, "A=b")
	s.start(p, control.Stdio{})
	s.await("main")
	time.Sleep(20 * time.Millisecond) // for deinit commands that come too early
	if got := s.noted(); got != "one two main" {
		t.Errorf("while a child of main lives: %q", got)
	}
	release(t, s)
	if e := s.wait(); e.Code != 7 || e.Error != "" {
		t.Errorf("exit %+v", e)
	}
	if got := s.noted(); got != "one two main child three four" {
		t.Errorf("order %q", got)
	}
	if got := s.logged(logfile.Stdout); got != "said by one\nfrom main\nsaid by four\n" {
		t.Errorf("stdout %q", got)
	}
	if got := s.logged(logfile.Stderr); got != "got b\n" {
		t.Errorf("stderr %q: no input, and the environment of main", got)
	}
	if got := s.logged(logfile.Note); !strings.Contains(got, "exit 9: exit status 9") {
		t.Errorf("notes %q", got)
	}
}

func TestInitThatFails(t *testing.T) {
	for name, tt := range map[string]struct {
		init []string
		want string
	}{
		"status":      {[]string{"true", "echo no such table >&2; exit 3", "true"}, "init command failed: sh -c echo no such table >&2; exit 3: exit status 3: no such table"},
		"signal":      {[]string{"kill -SEGV $$"}, "signal: segmentation fault"},
		"many words":  {[]string{"printf 'a\\tb\\033c\\r\\n'; seq 10000; exit 1"}, " 9999 10000"},
		"not a shell": {nil, "no-such-program"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakeConfig{})
			p := around(s.note("main"), tt.init, []string{s.note("deinit")})
			if tt.init == nil {
				p.Init = []control.Command{{Args: []string{"no-such-program"}}}
			}
			_, err := s.Start(t.Context(), p, control.Stdio{})
			if !errors.Is(err, control.ErrInitFailed) || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
				t.Errorf("start: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\n\t") {
				t.Errorf("it could move the cursor: %q", err)
			}
			must(t, s.client.Close())
			<-s.exited
			if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 125 {
				t.Errorf("record %+v, %v", e, err)
			}
			if got := s.noted(); got != "" {
				t.Errorf("it has run %q", got)
			}
		})
	}
}

// What an init command leaves behind is there beside main, and keeps nothing alive.
func TestInitLeavesAHelper(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(around("exit 0", []string{"(read x <" + fifo(t, s) + ") & exit 0"}, nil), control.Stdio{})
	if e := s.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	noReader(t, s)
}

func TestStopDuringInit(t *testing.T) {
	for name, tt := range map[string]struct {
		script  string
		timeout time.Duration
		list    string
	}{
		"it heeds the signal": {"trap '%heed; exit 0' TERM; %up; while :; do sleep 0.01; done", time.Hour, "up heed"},
		"it does not":         {"trap '' TERM; %up; while :; do sleep 0.01; done", 10 * time.Millisecond, "up"},
		"without a timeout":   {"trap '%heed; exit 0' TERM; %up; while :; do sleep 0.01; done", 0, "up"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakeConfig{})
			script := strings.NewReplacer("%heed", s.note("heed"), "%up", s.note("up")).Replace(tt.script)
			failed := s.startAside(around(s.note("main"), []string{script, s.note("second")}, []string{s.note("deinit")}))
			s.await("up")
			if st, err := s.State(t.Context()); err != nil || st.Main != 0 || !st.Started.IsZero() {
				t.Errorf("state %+v, %v", st, err)
			}
			must(t, s.Stop(t.Context(), int(syscall.SIGTERM), tt.timeout))
			if err := <-failed; !errors.Is(err, control.ErrInitFailed) {
				t.Errorf("start: %v", err)
			}
			if got := s.noted(); got != tt.list {
				t.Errorf("list %q, want %q", got, tt.list)
			}
			if err := s.Stop(t.Context(), int(syscall.SIGTERM), 0); !errors.Is(err, control.ErrNotRunning) {
				t.Errorf("stop once more: %v", err)
			}
			// As after any start that has failed, there can be another.
			s.start(around("exit 3", []string{"true"}, nil), control.Stdio{})
			if e := s.wait(); e.Code != 3 {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

// A signal that is for main goes to the command that is run instead.
func TestSignalDuringInit(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.startAside(around(s.note("main"), []string{"trap '" + s.note("usr1") + "' USR1; " + s.note("up") + "; while :; do sleep 0.01; done"}, nil))
	s.await("up")
	must(t, s.Signal(t.Context(), int(syscall.SIGUSR1), false))
	s.await("usr1")
	must(t, s.Abandon(t.Context()))
}

// Whoever is to be told that main runs has gone: it is not to be run.
func TestCallerVanishesDuringInit(t *testing.T) {
	s := newSite(t, fakeConfig{})
	failed := s.startAside(around(s.note("main"), []string{s.note("up") + "; read x <" + fifo(t, s)}, []string{s.note("deinit")}))
	s.await("up")
	must(t, s.client.Close())
	if err := <-failed; err == nil {
		t.Error("start succeeds")
	}
	<-s.exited
	if e, err := runloop.ReadExit(s.cfg.Dir); err != nil || e.Code != 125 || e.Lost {
		t.Errorf("record %+v, %v", e, err)
	}
	noReader(t, s)
	if got := s.noted(); got != "up" {
		t.Errorf("it has run %q", got)
	}
}

func TestRunLoopKilledDuringInit(t *testing.T) {
	s := newSite(t, fakeConfig{})
	failed := s.startAside(around(s.note("main"), []string{s.note("up") + "; read x <" + fifo(t, s)}, nil))
	s.await("up")
	must(t, s.cmd.Process.Kill())
	if err := <-failed; err == nil {
		t.Error("start succeeds")
	}
	<-s.exited
	if _, err := runloop.ReadExit(s.cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a record of an end that nobody saw: %v", err)
	}
	release(t, s) // the fake's processes do not die with it, as those of a tenant do
	if got := s.noted(); got != "up" {
		t.Errorf("it has run %q", got)
	}
}

func TestAbandonDuringCommands(t *testing.T) {
	for name, init := range map[string]bool{"init": true, "deinit": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakeConfig{})
			long := []string{s.note("up") + "; read x <" + fifo(t, s), s.note("second")}
			p := around("exit 4", long, nil)
			want := 125
			if !init {
				p, want = around("exit 4", nil, long), 4
			}
			s.startAside(p)
			s.await("up")
			must(t, s.Abandon(t.Context()))
			if e := s.waitRecord(); e.Code != want {
				t.Errorf("record %+v", e)
			}
			noReader(t, s)
			if got := s.noted(); got != "up" {
				t.Errorf("it has run %q", got)
			}
		})
	}
}

func TestDeinitIsNotForever(t *testing.T) {
	s := newSite(t, fakeConfig{})
	p := around("exit 4", nil, []string{"trap '' TERM; read x <" + fifo(t, s), s.note("second")})
	p.DeinitTimeout = 50 * time.Millisecond
	s.start(p, control.Stdio{})
	if e := s.wait(); e.Code != 4 {
		t.Errorf("exit %+v", e)
	}
	noReader(t, s)
	if got := s.logged(logfile.Note); !strings.Contains(got, ": killed: not done after 50ms\n") || !strings.Contains(got, "list: not run\n") {
		t.Errorf("notes %q", got)
	}
	if got := s.noted(); got != "" {
		t.Errorf("it has run %q", got)
	}
}

// With the other rule main's end is the end of all it has started, and then the
// commands are run.
func TestDeinitAfterWaitMain(t *testing.T) {
	s := newSite(t, fakeConfig{})
	p := around("(while :; do "+s.note("tick")+"; sleep 0.005; done) & exit 5", nil, []string{s.note("deinit") + "; sleep 0.05"})
	p.WaitMain = true
	s.start(p, control.Stdio{})
	if e := s.wait(); e.Code != 5 {
		t.Errorf("exit %+v", e)
	}
	if got := s.noted(); !strings.HasSuffix(got, "deinit") {
		t.Errorf("list %q", got)
	}
}

func TestStopAndDeinit(t *testing.T) {
	deaf := func(t *testing.T, s *site) string {
		return "trap '' TERM; " + s.note("up") + "; while :; do read x <" + fifo(t, s) + "; done"
	}
	t.Run("killed after the timeout", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		s.start(around(deaf(t, s), nil, []string{s.note("deinit")}), control.Stdio{})
		s.await("up")
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), 10*time.Millisecond))
		if e := s.waitRecord(); e.Code != 137 || s.noted() != "up deinit" {
			t.Errorf("exit %+v, list %q", e, s.noted())
		}
	})
	t.Run("killed at once", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		s.start(around(deaf(t, s), nil, []string{s.note("deinit")}), control.Stdio{})
		s.await("up")
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), 0))
		if e := s.waitRecord(); e.Code != 137 || s.noted() != "up" {
			t.Errorf("exit %+v, list %q", e, s.noted())
		}
	})
	t.Run("the timeout is main's", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		main := "trap 'exit 6' TERM; " + s.note("up") + "; while :; do sleep 0.01; done"
		s.start(around(main, nil, []string{"sleep 2.2; " + s.note("deinit")}), control.Stdio{})
		s.await("up")
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), 2*time.Second))
		if e := s.waitRecord(); e.Code != 6 || s.noted() != "up deinit" {
			t.Errorf("exit %+v, list %q", e, s.noted())
		}
	})
	t.Run("when they are at it", func(t *testing.T) {
		s := newSite(t, fakeConfig{})
		s.start(around("exit 2", nil, []string{s.note("up") + "; read x <" + fifo(t, s), s.note("second")}), control.Stdio{})
		s.await("up")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := s.Stop(ctx, int(syscall.SIGTERM), time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop with a timeout kills what comes after main: %v", err)
		}
		must(t, s.Stop(t.Context(), int(syscall.SIGTERM), 0))
		if e := s.waitRecord(); e.Code != 2 || s.noted() != "up" {
			t.Errorf("exit %+v, list %q", e, s.noted())
		}
		noReader(t, s)
	})
}
