package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/config"
	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/ipc"
)

// TestMain lets the test binary be xcd, and the helper programs that xcd
// starts from its own executable.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != filepath.Base(testName()) || os.Getenv("XC_TEST_XCD") != "" {
		main()
		os.Exit(0)
	}
	testns.Enter()
	os.Exit(m.Run())
}

func testName() string {
	name, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return name
}

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "xc.config")
	if err := os.WriteFile(file, []byte("state_dir: /file/state\nrun_dir: /file/run\nlog_files: 4\nlog_level: warn\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XC_STATE_DIR", "/env/state")
	t.Setenv("XC_SOCKET", "/env/sock")
	a, err := parse([]string{"--config", file, "--socket", "/flag/sock"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	// A flag comes before the environment, that before the file, that before
	// the default.
	if c.SocketPath != "/flag/sock" || c.StateDir != "/env/state" || c.RunDir != "/file/run" || c.LogFiles != 4 || c.LogLevel != "warn" {
		t.Errorf("%+v", c)
	}
	ec := engineConfig(config.Config{LogMaxSize: 7, DevfsIDOffset: 8, Registries: map[string]config.Registry{"r": {PlainHTTP: true}}}, zerolog.Nop())
	if ec.LogMax != 7 || ec.DevfsOffset != 8 || !ec.Registries["r"].PlainHTTP {
		t.Errorf("%+v", ec)
	}
	a.config = file + "-missing"
	if _, err := a.load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
	for _, argv := range [][]string{{"x"}, {"--nonsense"}, {"--log-level", "loud"}} {
		if _, err := parse(argv, io.Discard); err == nil {
			t.Errorf("%v was accepted", argv)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Setenv("XC_SOCKET", "")
	t.Setenv("XC_STATE_DIR", "")
	if _, err := os.Stat(config.Path); err == nil {
		t.Skipf("needs a machine without %s", config.Path)
	}
	a, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := a.load(); err != nil || c.SocketPath != "/var/run/xc.sock" || c.LogLevel != "info" || c.StateDir != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSocketOptions(t *testing.T) {
	if o, err := socketOptions(""); err != nil || o != (ipc.ListenOptions{}) {
		t.Errorf("no group: %+v, %v", o, err)
	}
	if o, err := socketOptions("77"); err != nil || o.GID != 77 || o.Mode != 0o660 {
		t.Errorf("by number: %+v, %v", o, err)
	}
	if _, err := socketOptions("no-such-group"); err == nil || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("unknown group: %v", err)
	}
}

func TestWhoMayCall(t *testing.T) {
	allow := server(nil, 500, zerolog.Nop()).Allow
	stranger := uint32(os.Geteuid()) + 12345
	for _, c := range []struct {
		peer ipc.Peer
		ok   bool
	}{
		{ipc.Peer{UID: 0, GID: 9}, true},
		{ipc.Peer{UID: uint32(os.Geteuid()), GID: 9}, true},
		{ipc.Peer{UID: stranger, GID: 500}, true},
		{ipc.Peer{UID: stranger, GID: 9, Groups: []uint32{1, 500}}, true},
		{ipc.Peer{UID: stranger, GID: 9, Groups: []uint32{1}}, false},
	} {
		err := allow(c.peer, "m")
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%+v: %v", c.peer, err)
		}
	}
	nobody := server(nil, 0, zerolog.Nop()).Allow
	if err := nobody(ipc.Peer{UID: stranger, GID: 0, Groups: []uint32{0}}, "m"); err == nil {
		t.Error("without a socket group, a member of group 0 was let in")
	}
}

// daemon is an xcd of this test.
type daemon struct {
	cmd *exec.Cmd
	log *bufio.Scanner
}

func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(testName(), args...)}
	d.cmd.Env = append(os.Environ(), "XC_TEST_XCD=1", "XC_SOCKET=", "XC_STATE_DIR=")
	out, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.log = bufio.NewScanner(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			d.cmd.Process.Kill()
			d.cmd.Wait()
		}
	})
	return d
}

// until returns the first entry of the log with this message.
func (d *daemon) until(t *testing.T, message string) map[string]any {
	t.Helper()
	var seen []string
	for d.log.Scan() {
		seen = append(seen, d.log.Text())
		var entry map[string]any
		if err := json.Unmarshal(d.log.Bytes(), &entry); err != nil {
			t.Errorf("the log has a line that is no JSON: %q", d.log.Text())
		}
		if entry["message"] == message {
			return entry
		}
	}
	t.Fatalf("the log ends without %q:\n%s", message, strings.Join(seen, "\n"))
	return nil
}

func TestIntegrationDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec sudo -run Integration ./xcd")
	}
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "xc.sock"), filepath.Join(dir, "xc.config")
	configure := func(text string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, "state_dir: %s/state\nrun_dir: %s/run\nsocket_path: %s\n%s", dir, dir, socket, text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("")
	d := start(t, "--config", file)
	d.until(t, "xcd serves")
	if fi, err := os.Stat(socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", fi.Mode(), err)
	}
	c, err := ipc.Open(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := api.EngineClient{C: c}.Info(t.Context())
	if err != nil || info.StateDir != filepath.Join(dir, "state") {
		t.Errorf("info: %+v, %v", info, err)
	}

	second := start(t, "--config", file, "--socket", socket+"2")
	entry := second.until(t, "xcd ends")
	if text := fmt.Sprint(entry["error"]); !strings.Contains(text, fmt.Sprint(d.cmd.Process.Pid)) || !strings.Contains(text, socket) {
		t.Errorf("the second one does not say who holds the state directory: %v", entry)
	}
	if err := second.cmd.Wait(); second.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the second one ends with %v", err)
	}

	configure("log_level: debug\n")
	hangup(t, d)
	if e := d.until(t, "configuration read"); e["log_level"] != "debug" {
		t.Errorf("%v", e)
	}
	if _, err := (api.EngineClient{C: c}).Version(context.Background()); err != nil {
		t.Error(err)
	}
	if e := d.until(t, "call"); e["method"] != "System.Version" {
		t.Errorf("%v", e)
	}
	configure("log_level: info\nlog_files: 9\n")
	hangup(t, d)
	d.until(t, "the configuration has changed in more than log_level: that takes effect when xcd is restarted, which leaves containers running")
	configure("nonsense: 1\n")
	hangup(t, d)
	if e := d.until(t, "configuration not changed"); !strings.Contains(fmt.Sprint(e["error"]), file+":4: nonsense") {
		t.Errorf("%v", e)
	}

	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.until(t, "xcd ends; containers go on")
	for d.log.Scan() {
		t.Errorf("more in the log: %s", d.log.Text())
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func hangup(t *testing.T, d *daemon) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// A SIGHUP that comes while xcd starts is obeyed when it has. The configuration is a
// FIFO at first, so that the start waits for the test.
func TestIntegrationHangupAtStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec sudo -run Integration ./xcd")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "xc.config")
	text := fmt.Appendf(nil, "state_dir: %s/state\nrun_dir: %s/run\nsocket_path: %s/s\n", dir, dir, dir)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, "--config", file)
	fifo, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	later := filepath.Join(dir, "later")
	if err := os.WriteFile(later, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(later, file); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := fifo.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := fifo.Close(); err != nil {
		t.Fatal(err)
	}
	d.until(t, "xcd serves")
	d.until(t, "configuration read")
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.until(t, "xcd ends; containers go on")
	if err := d.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
