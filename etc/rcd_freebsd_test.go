// Package etc_test runs what is installed beside the programs.
package etc_test

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/internal/testprograms"
	"github.com/joyboyid/xc/internal/testroot"
	"github.com/joyboyid/xc/jail"
)

func TestMain(m *testing.M) { os.Exit(testprograms.Main(m)) }

// script is the one for rc(8). It is embedded, since a test in a VM has no tree.
//
//go:embed rc.d/xcd
var script []byte

// service is an xcd as rc(8) has it, with files of its own.
type service struct {
	t   *testing.T
	bin string
	dir string
}

// needNone skips the test where the operator has configured xcd: what rc.conf(5)
// says comes before what a test could say.
func needNone(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", ". /etc/rc.subr; load_rc_config xcd; set")
	cmd.Env = []string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "xcd_") {
			t.Skipf("needs a machine whose rc.conf has nothing of xcd: %s", line)
		}
	}
}

func newService(t *testing.T) *service {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a service needs root: run go test with sudo, or -exec sudo")
	}
	needNone(t)
	bin := testprograms.Dir(t)
	dir, err := os.MkdirTemp("", "xcrc") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &service{t: t, bin: bin, dir: dir}
	s.write("xcd", string(script), 0o555)
	s.write("xc.config", s.config("info"), 0o600)
	return s
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

func (s *service) write(name, content string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) config(level string) string {
	return fmt.Sprintf("state_dir: %s\nrun_dir: %s\nsocket_path: %s\nlog_level: %s\n", s.path("state"), s.path("run"), s.path("s"), level)
}

// rc gives a command to the script, as service(8) does.
func (s *service) rc(command string) (out string, ok bool) {
	s.t.Helper()
	cmd := exec.Command(s.path("xcd"), command)
	cmd.Dir = "/"
	cmd.Env = []string{"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "xcd_binary=" + filepath.Join(s.bin, "xcd"),
		"xcd_config=" + s.path("xc.config"), "xcd_pidfile=" + s.path("pid")}
	var b []byte
	var err error
	testprograms.Within(s.t, "rc.d/xcd "+command, func() { b, err = cmd.CombinedOutput() })
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(b), err == nil
}

// must gives a command, which must succeed.
func (s *service) must(command string) string {
	s.t.Helper()
	out, ok := s.rc(command)
	if !ok {
		s.t.Fatalf("rc.d/xcd %s: %s", command, out)
	}
	return out
}

// start starts the daemon by a command, and waits until it answers: rc(8) does not.
func (s *service) start(command string) (pid string) {
	s.t.Helper()
	s.must(command)
	testprograms.Within(s.t, "the start of xcd", func() {
		for exec.Command(filepath.Join(s.bin, "xc"), "--socket", s.path("s"), "version").Run() != nil {
			time.Sleep(20 * time.Millisecond)
		}
	})
	return s.pid()
}

func (s *service) pid() string {
	s.t.Helper()
	b, err := os.ReadFile(s.path("pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (s *service) xc(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(s.bin, "xc"), append([]string{"--socket", s.path("s")}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("xc %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// jails are those of this engine with such an end of their name.
func (s *service) jails(suffix string) (ids []jail.ID) {
	s.t.Helper()
	for info, err := range jail.All() {
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.HasPrefix(info.Path, s.dir+"/") && strings.HasSuffix(info.Name, suffix) && !info.Dying {
			ids = append(ids, info.ID)
		}
	}
	return ids
}

// A service is started, asked, reloaded, restarted and stopped, and none of it is
// noticed by a container.
func TestIntegrationService(t *testing.T) {
	s := newService(t)
	t.Cleanup(func() { s.rc("onestop") }) // of a test that failed; there is none otherwise
	if out, ok := s.rc("onestatus"); ok || !strings.Contains(out, "not running") {
		t.Errorf("status before the start: %q, %v", out, ok)
	}
	pid := s.start("onestart")
	if out := s.must("onestatus"); !strings.Contains(out, "running as pid "+pid+".") {
		t.Errorf("status of %s: %q", pid, out)
	}
	s.xc("import", testroot.File(t, s.dir, "sh", "sleep", "echo"), "bb")
	s.xc("run", "-d", "--name", "c", "bb", "sleep", "100000")
	c := s.container()

	s.reload()
	if now := s.pid(); now != pid {
		t.Errorf("a reload has made process %s of %s", now, pid)
	}
	next := s.start("onerestart")
	if next == pid {
		t.Errorf("a restart has left process %s", pid)
	}
	s.untouched("a restart", c)

	s.must("onestop")
	if out, ok := s.rc("onestatus"); ok || !strings.Contains(out, "not running") {
		t.Errorf("status after the stop: %q, %v", out, ok)
	}
	if err := syscall.Kill(c.main, 0); err != nil {
		t.Errorf("main is gone with the daemon: %v", err)
	}
	s.start("onestart")
	s.untouched("a stop and a start", c)
	s.xc("rm", "-f", "c")
	s.must("onestop")
	if left := s.jails(""); len(left) > 0 {
		t.Errorf("jails that are left: %v", left)
	}
}

// container is what shows that it is the same container.
type container struct {
	main int
	jail jail.ID
}

// container is what c is now.
func (s *service) container() (c container) {
	s.t.Helper()
	var id string
	if _, err := fmt.Sscan(s.xc("inspect", "--format", "{{.ID}} {{.Pid}}", "c"), &id, &c.main); err != nil {
		s.t.Fatal(err)
	}
	jails := s.jails("-" + id)
	if len(jails) != 1 {
		s.t.Fatalf("jails of %s: %v", id, jails)
	}
	c.jail = jails[0]
	return c
}

// untouched checks that the container goes on.
func (s *service) untouched(by string, before container) {
	s.t.Helper()
	if now := s.container(); now != before {
		s.t.Errorf("after %s it is %+v, it was %+v", by, now, before)
	}
	if out := s.xc("exec", "c", "echo", "there"); out != "there\n" {
		s.t.Errorf("exec after %s: %q", by, out)
	}
}

// reload has xcd read its configuration from a FIFO, which tells when it does, and
// with a level at which it logs no more of what follows.
func (s *service) reload() {
	s.t.Helper()
	fifo := s.path("fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(fifo, s.path("xc.config")); err != nil {
		s.t.Fatal(err)
	}
	s.must("onereload")
	var err error
	testprograms.Within(s.t, "xcd that reads its configuration", func() {
		err = os.WriteFile(s.path("xc.config"), []byte(s.config("warn")), 0o600)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("new", s.config("warn"), 0o600)
	if err := os.Rename(s.path("new"), s.path("xc.config")); err != nil {
		s.t.Fatal(err)
	}
}
