package e2e

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/internal/testprograms"
)

func TestMain(m *testing.M) {
	testns.Enter()
	os.Exit(testprograms.Main(m))
}

// daemon is an xcd with directories of its own.
type daemon struct {
	t    *testing.T
	bin  string
	dir  string
	cmd  *exec.Cmd
	log  *os.File
	down chan struct{} // closed when the process has ended
}

// newDaemon starts xcd, with the image bb imported, and checks at the end that
// nothing of it is left on the host.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root: run go test with sudo, or -exec sudo")
	}
	bin := testprograms.Dir(t)
	dir, err := os.MkdirTemp("", "xcd")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, bin: bin, dir: dir}
	if d.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.configure()
	d.start()
	t.Cleanup(d.cleanUp)
	d.must("import", writeRoot(t, dir), "bb")
	return d
}

func (d *daemon) socket() string { return filepath.Join(d.dir, "s") }

// start starts xcd and returns when it answers.
func (d *daemon) start() {
	d.t.Helper()
	d.cmd = d.second()
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	down := make(chan struct{})
	d.down = down
	cmd := d.cmd
	go func() {
		cmd.Wait() //nolint:errcheck // killed, mostly
		close(down)
	}()
	for deadline := time.Now().Add(60 * time.Second); ; {
		if _, _, code := d.xc("version"); code == 0 {
			return
		}
		select {
		case <-d.down:
			d.t.Fatalf("xcd ended: %s", d.logText())
		default:
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("xcd does not answer: %s", d.logText())
		}
	}
}

// second is an xcd on the directories of this one.
func (d *daemon) second() *exec.Cmd {
	return exec.Command(filepath.Join(d.bin, "xcd"), "--config", d.config(), "--state-dir", filepath.Join(d.dir, "state"),
		"--run-dir", filepath.Join(d.dir, "run"), "--socket", d.socket())
}

func (d *daemon) logText() string {
	b, _ := os.ReadFile(d.log.Name())
	return string(b)
}

// kill ends xcd with a signal and waits for its end.
func (d *daemon) kill(sig syscall.Signal) {
	d.cmd.Process.Signal(sig) //nolint:errcheck // it may have ended
	<-d.down
}

// command is an xc that talks to this daemon.
func (d *daemon) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(d.bin, "xc"), args...)
	cmd.Env = append(os.Environ(), "XC_SOCKET="+d.socket())
	return cmd
}

// xc runs xc to its end.
func (d *daemon) xc(args ...string) (stdout, stderr string, code int) {
	cmd := d.command(args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Errorf("xc %s: %v", strings.Join(args, " "), err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// must runs xc, which must succeed, and returns what it printed.
func (d *daemon) must(args ...string) string {
	d.t.Helper()
	out, stderr, code := d.xc(args...)
	if code != 0 {
		d.t.Fatalf("xc %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return out
}

// cleanUp removes everything by xc's own commands and looks what is left.
func (d *daemon) cleanUp() {
	t := d.t
	tag := ""
	for _, line := range strings.Split(d.must("info"), "\n") {
		if v, ok := strings.CutPrefix(line, "Instance Tag:"); ok {
			tag = strings.TrimSpace(v)
		}
	}
	for _, id := range strings.Fields(d.must("ps", "-aq")) {
		if _, stderr, code := d.xc("rm", "-f", id); code != 0 && !strings.Contains(stderr, "not exist") {
			t.Errorf("rm -f %s: %s", id, stderr)
		}
	}
	d.kill(syscall.SIGTERM) // and the run loop that it keeps ready
	if left := d.leftovers(tag); len(left) > 0 {
		t.Errorf("left on the host: %q", left)
	}
	d.destroyDatasets()
	if t.Failed() {
		t.Log(d.logText())
	}
	d.log.Close()
	if err := os.RemoveAll(d.dir); err != nil {
		t.Error(err)
	}
}

// leftovers lists what carries the tag of an engine or lives in its directory,
// but for the store of images.
func (d *daemon) leftovers(tag string) []string {
	d.t.Helper()
	left := append(leftovers(d.t, d.dir, tag), d.leftDatasets()...)
	for _, sub := range []string{"run", "state/sites", "state/mnt", "state/roots/roots", "state/roots/trash", "state/roots/drafts", "state/logs"} {
		entries, err := os.ReadDir(filepath.Join(d.dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, filepath.Join(sub, e.Name()))
		}
	}
	return left
}

// readAll reads a pipe to its end.
func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
