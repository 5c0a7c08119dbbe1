package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/joyboyid/xc/internal/testprograms"
	"github.com/joyboyid/xc/internal/testroot"
)

func TestIntegrationExitCodes(t *testing.T) {
	d := newDaemon(t)
	for _, tc := range []struct {
		args []string
		out  string
		err  string // part of what is said
		code int
	}{
		{args: []string{"run", "--rm", "bb", "sh", "-c", "cat /etc/os-release; exit 7"}, out: testroot.Release, code: 7},
		{args: []string{"run", "--rm", "bb", "sh", "-c", "kill -9 $$"}, code: 137},
		{args: []string{"run", "--rm", "bb", "sh", "-c", "(sleep 0.5; echo late) & exit 0"}, out: "late\n"},
		{args: []string{"run", "--rm", "bb", "nosuch"}, err: "nosuch", code: 127},
		{args: []string{"run", "--rm", "bb", "/etc/passwd"}, err: "/etc/passwd", code: 126},
		{args: []string{"run", "--rm", "-u", "nobodyy", "bb", "true"}, err: "nobodyy", code: 125},
		{args: []string{"run", "--rm", "-w", "/nosuch", "bb", "true"}, err: "/nosuch", code: 125},
		{args: []string{"run", "--rm", "-v", "/tmp:/proc", "bb", "true"}, err: "/proc", code: 125},
		{args: []string{"run", "--rm", "--hostname", "a b", "bb", "true"}, err: "a b", code: 125},
		{args: []string{"run", "--rm", "--stop-timeout", "-5", "bb", "true"}, err: "-5", code: 125},
		{args: []string{"run", "--rm", "--init-command", "echo one >/i", "--init-command", `["sh", "-c", "echo two >>/i"]`, "bb", "cat", "/i"}, out: "one\ntwo\n"},
		{args: []string{"run", "--rm", "--init-command", "echo no luck; exit 7", "bb", "echo", "main"}, err: "exit status 7: no luck", code: 125},
		{args: []string{"run", "--rm", "--init-command", `["nosuch"]`, "bb", "true"}, err: "init command failed: nosuch", code: 125},
		{args: []string{"run", "--rm", "--init-command", `["nosuch"`, "bb", "true"}, err: "JSON array", code: 125},
		{args: []string{"run", "--rm", "--deinit-command", "exit 9", "bb", "sh", "-c", "exit 3"}, code: 3},
		{args: []string{"run", "--rm", "--deinit-timeout", "0", "bb", "true"}, err: "deinit timeout of 0", code: 125},
		{args: []string{"run", "--rm", "--pull", "never", "nosuch"}, err: "nosuch", code: 125},
		{args: []string{"run", "--rm", "bad//reference", "true"}, err: "bad//reference", code: 125},
		{args: []string{"run", "--rm", "--nosuch", "bb", "true"}, err: "--nosuch", code: 125},
		{args: []string{"run", "--rm", "--network", "lan", "bb", "true"}, err: "lan", code: 125},
		{args: []string{"run", "--rm", "-v", "/nosuch:/x", "bb", "true"}, err: "/nosuch", code: 125},
		{args: []string{"stop", "nosuch"}, err: "nosuch", code: 125},
		{args: []string{"rm", "nosuch"}, err: "nosuch", code: 125},
		{args: []string{"exec", "nosuch", "true"}, err: "nosuch", code: 125},
	} {
		out, stderr, code := d.xc(tc.args...)
		lines := strings.Count(stderr, "\n")
		if out != tc.out || !strings.Contains(stderr, tc.err) || lines > 1 || code != tc.code {
			t.Errorf("xc %s: %q, %q, %d; want %q, …%q…, %d", strings.Join(tc.args, " "), out, stderr, code, tc.out, tc.err, tc.code)
		}
	}
}

func TestIntegrationStreams(t *testing.T) {
	d := newDaemon(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	var want strings.Builder
	for i := range 500 {
		name := fmt.Sprintf("dir/file%d", i)
		w.WriteHeader(&tar.Header{Name: name, Size: 4000, Mode: 0o644}) //nolint:errcheck // Close tells
		w.Write(make([]byte, 4000))                                     //nolint:errcheck
		want.WriteString(name + "\n")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := d.command("run", "-i", "--rm", "bb", "tar", "tf", "-")
	cmd.Stdin = &archive
	out, err := cmd.Output()
	if err != nil || string(out) != want.String() {
		t.Errorf("an archive through a container: %d bytes, want %d (%v)", len(out), want.Len(), err)
	}
	testprograms.Within(t, "a pipeline whose reader leaves", func() {
		out, err := exec.Command("sh", "-c", fmt.Sprintf("XC_SOCKET=%s %s/xc run --rm bb yes | head -1", d.socket(), d.bin)).Output()
		if err != nil || string(out) != "y\n" {
			t.Errorf("xc run yes | head: %q, %v", out, err)
		}
	})
}

func TestIntegrationTerminal(t *testing.T) {
	d := newDaemon(t)
	cmd := d.command("run", "--rm", "-it", "bb", "sh", "-c", "stty size; read x; until [ \"$(stty size)\" = '44 55' ]; do sleep 0.02; done; echo got $x")
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 0, 4096)
	until := func(text string) {
		t.Helper()
		testprograms.Within(t, "a terminal", func() {
			for !bytes.Contains(buf, []byte(text)) {
				b := make([]byte, 512)
				n, err := f.Read(b)
				buf = append(buf, b[:n]...)
				if err != nil {
					break
				}
			}
		})
		if !bytes.Contains(buf, []byte(text)) {
			t.Fatalf("the terminal shows %q, not %q", buf, text)
		}
	}
	until("33 101\r\n")
	if err := pty.Setsize(f, &pty.Winsize{Rows: 44, Cols: 55}); err != nil {
		t.Fatal(err)
	}
	// The size travels beside the streams, so main asks until it has changed.
	if _, err := io.WriteString(f, "hello\n"); err != nil {
		t.Fatal(err)
	}
	until("got hello\r\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestIntegrationInterruptedInit: Ctrl-C ends a run whose init command runs, without a
// terminal of the container and with one.
func TestIntegrationInterruptedInit(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	for name, flags := range map[string][]string{"streams": {}, "terminal": {"-it"}} {
		args := append([]string{"run", "--name", name, "-v", dir + ":/d", "--init-command", "echo up >/d/" + name + "; sleep 1000"}, flags...)
		cmd := d.command(append(args, "bb", "echo", "main")...)
		f, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var said []byte
		read := make(chan struct{})
		go func() {
			defer close(read)
			said, _ = io.ReadAll(f) // EIO is the end of a terminal
		}()
		up := filepath.Join(dir, name)
		testprograms.Within(t, "the start of the init command", func() {
			for _, err := os.Stat(up); err != nil; _, err = os.Stat(up) {
				time.Sleep(5 * time.Millisecond)
			}
		})
		began := time.Now()
		if _, err := f.Write([]byte{3}); err != nil {
			t.Fatal(err)
		}
		testprograms.Within(t, "an interrupted xc run", func() { cmd.Wait() }) //nolint:errcheck // the code is looked at
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("%s: it took %v", name, d)
		}
		<-read
		if code := cmd.ProcessState.ExitCode(); code != 125 || !bytes.Contains(said, []byte("init command failed")) || bytes.Contains(said, []byte("main\r\n")) {
			t.Errorf("%s: exit code %d, says %q", name, code, said)
		}
		if out := d.must("inspect", "--format", "{{.State}} {{.Exit.Code}}", name); out != "exited 125\n" {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestIntegrationDaemonKilledDuringInit: main is not started by anybody, nothing of the
// command is left, and xc run ends and says why.
func TestIntegrationDaemonKilledDuringInit(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	run := d.command("run", "--name", "i", "-v", dir+":/d", "--init-command", "echo up >/d/up; sleep 1000; echo more >/d/more", "bb", "touch", "/d/main")
	var said bytes.Buffer
	run.Stderr = &said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	testprograms.Within(t, "the start of the init command", func() {
		for _, err := os.Stat(dir + "/up"); err != nil; _, err = os.Stat(dir + "/up") {
			time.Sleep(5 * time.Millisecond)
		}
	})
	d.kill(syscall.SIGKILL)
	d.start()
	testprograms.Within(t, "an xc run whose daemon was killed", func() { run.Wait() }) //nolint:errcheck // the code is looked at
	if code := run.ProcessState.ExitCode(); code != 125 || !strings.Contains(said.String(), "before main was started") {
		t.Errorf("exit code %d, says %q", code, &said)
	}
	if out := d.must("inspect", "--format", "{{.State}} {{.Exit.Code}} {{.Exit.Lost}}", "i"); out != "exited 125 false\n" {
		t.Errorf("it is %s", out)
	}
	for _, name := range []string{"main", "more"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was run", name)
		}
	}
}

func TestIntegrationSignalsAreForwarded(t *testing.T) {
	d := newDaemon(t)
	cmd := d.command("run", "--rm", "bb", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(out, b); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	readAll(t, out)
	cmd.Wait() //nolint:errcheck // the code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d, want 9", code)
	}
}

// A daemon that is killed and comes back: xc run goes on waiting, and returns
// the right code.
func TestIntegrationRunOutlivesTheDaemon(t *testing.T) {
	d := newDaemon(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := d.command("run", "-i", "--rm", "bb", "sh", "-c", "echo up; read x; exit 21")
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	d.kill(syscall.SIGKILL)
	d.start()
	if _, err := io.WriteString(w, "\n"); err != nil {
		t.Fatal(err)
	}
	testprograms.Within(t, "xc run across a restart of xcd", func() {
		readAll(t, out)
		cmd.Wait() //nolint:errcheck // the code is looked at
	})
	if code := cmd.ProcessState.ExitCode(); code != 21 {
		t.Errorf("exit code %d, want 21", code)
	}
}
