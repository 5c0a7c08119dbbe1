package runloop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
	"github.com/joyboyid/xc/site/runloop"
)

const asRunLoop = "XC_RUNLOOP_TEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(asRunLoop); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = debug.SetCrashOutput(f, debug.CrashOptions{}) // stderr will be /dev/null
		}
		if err = errors.Join(err, f.Close()); err != nil {
			panic(err)
		}
		os.Exit(runloop.Main(func() runloop.Opener { return openFake }))
	}
	testns.Enter()
	os.Exit(m.Run())
}

// site is a run loop in a process of its own, as an engine starts it.
type site struct {
	control.Control
	t      testing.TB
	client *ipc.Client // the starter's
	config *os.File    // until configure
	dir    string
	cfg    runloop.Config
	socket string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{}
}

func newSite(t testing.TB, tenant fakeConfig) *site {
	t.Helper()
	s := prepare(t, tenant)
	s.run()
	return s
}

func prepare(t testing.TB, tenant fakeConfig) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "loop") // short: a socket's path is
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	raw, err := json.Marshal(tenant)
	must(t, err)
	return &site{t: t, dir: dir, socket: filepath.Join(dir, "sock"), exited: make(chan struct{}),
		cfg: runloop.Config{ID: "c1", Dir: dir, LogPath: filepath.Join(dir, "log"), LogMax: 64 << 20, LogFiles: 2, Tenant: raw}}
}

// dial makes another connection.
func (s *site) dial() control.ControlClient {
	s.t.Helper()
	c, err := ipc.Open(s.t.Context(), s.socket)
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return control.ControlClient{C: c}
}

// configure gives it its configuration.
func (s *site) configure() {
	s.t.Helper()
	must(s.t, json.NewEncoder(s.config).Encode(s.cfg))
	must(s.t, s.config.Close())
}

func (s *site) run() {
	t := s.t
	t.Helper()
	s.launch()
	s.configure()
}

// launch starts it without a configuration.
func (s *site) launch() {
	t := s.t
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	listener, err := l.File()
	must(t, err)
	must(t, l.Close())
	ours, theirs, err := ipc.Pair()
	must(t, err)
	starter, err := theirs.File()
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	s.cmd = exec.Command(self)
	s.cmd.Args = []string{"xc-runloop", s.cfg.ID}
	s.cmd.Env = append(os.Environ(), asRunLoop+"="+filepath.Join(s.dir, "crash"),
		"GORACE=log_path="+filepath.Join(s.dir, "crash")) // the race detector appends the pid
	s.cmd.Stderr = &s.stderr
	s.cmd.ExtraFiles = []*os.File{listener, starter, r}
	must(t, s.cmd.Start())
	for _, f := range s.cmd.ExtraFiles {
		must(t, f.Close())
	}
	s.config = w
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	s.client = ipc.NewClient(ours, ipc.Limits{})
	s.Control = control.ControlClient{C: s.client}
	t.Cleanup(func() {
		select {
		case <-s.exited:
		default:
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := s.Abandon(ctx); err != nil && ctx.Err() != nil {
				t.Errorf("abandon: %v", err)
				_ = s.cmd.Process.Kill()
			}
			<-s.exited
		}
		_ = s.client.Close()
		reports, _ := filepath.Glob(filepath.Join(s.dir, "crash*"))
		for _, path := range reports {
			if trace, _ := os.ReadFile(path); len(trace) > 0 {
				t.Errorf("run loop has crashed: %s", trace)
			}
		}
		if s.stderr.Len() > 0 {
			t.Errorf("run loop said: %s", &s.stderr)
		}
	})
}

// sh is a process that runs a shell script.
func sh(script string) control.Process {
	return control.Process{Args: []string{"sh", "-c", script}, Env: []string{"LC_ALL=C", "TERM=dumb"}}
}

// start starts main.
func (s *site) start(p control.Process, stdio control.Stdio) int {
	s.t.Helper()
	pid, err := s.Start(s.t.Context(), p, stdio)
	must(s.t, err)
	return pid
}

// wait waits for the container's end, and for that of the run loop, whose
// record must agree.
func (s *site) wait() control.Exit {
	s.t.Helper()
	e, err := s.Wait(s.t.Context())
	<-s.exited
	if errors.Is(err, ipc.ErrLost) || errors.Is(err, &ipc.Error{Code: ipc.CodeUnavailable}) {
		e, err = runloop.ReadExit(s.cfg.Dir) // the call came after the end
	}
	must(s.t, err)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("run loop: %v", s.cmd.ProcessState)
	}
	record, err := runloop.ReadExit(s.cfg.Dir)
	must(s.t, err)
	if !record.At.Equal(e.At) || record.At.IsZero() {
		s.t.Errorf("at %v, in the record %v", e.At, record.At)
	}
	e.At = record.At
	if record != e {
		s.t.Errorf("exit %+v, in the record %+v", e, record)
	}
	return e
}

// logged returns what was logged of a stream.
func (s *site) logged(stream logfile.Stream) string {
	s.t.Helper()
	var b strings.Builder
	must(s.t, logfile.Read(s.t.Context(), s.cfg.LogPath, logfile.Query{}, func(r logfile.Record) error {
		if r.Stream == stream {
			b.Write(r.Data)
		}
		return nil
	}))
	return b.String()
}

// end is our end of a pipe to or from a process.
type end struct {
	*os.File
	t testing.TB
}

// pipes returns stdio of three pipes, and our ends of them. give is to be
// closed once it was sent.
func pipes(t testing.TB) (give control.Stdio, in, out, errs end) {
	t.Helper()
	make := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		must(t, err)
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return r, w
	}
	r0, w0 := make()
	r1, w1 := make()
	r2, w2 := make()
	return control.Stdio{Stdin: r0, Stdout: w1, Stderr: w2}, end{w0, t}, end{r1, t}, end{r2, t}
}

func shut(s control.Stdio) {
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// until reads up to and with text.
func (e end) until(text string) string {
	e.t.Helper()
	var got []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte(text)) {
		if _, err := io.ReadFull(e, b); err != nil {
			e.t.Fatalf("waiting for %q: %v after %q", text, err, got)
		}
		got = append(got, b[0])
	}
	return string(got)
}

// all reads to the end.
func (e end) all() string {
	e.t.Helper()
	b, err := io.ReadAll(e)
	must(e.t, err)
	return string(b)
}

func (e end) say(text string) {
	e.t.Helper()
	_, err := e.WriteString(text)
	must(e.t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func itoa(i int) string { return strconv.Itoa(i) }
