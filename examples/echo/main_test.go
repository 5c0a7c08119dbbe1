package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mainEnv makes the test binary the program.
const mainEnv = "ECHO_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a process of its own, with what it is given as standard input.
func program(t *testing.T, stdin string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "echo") // short: see sun_path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// await waits until a server listens.
func await(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("nobody listens")
		}
	}
}

func TestEcho(t *testing.T) {
	path := socket(t)
	var told bytes.Buffer
	daemon := program(t, "", "serve", path)
	daemon.Stderr = &told
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, path)
	for _, tc := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"say", path, "hello", "you"}, "hello you\n"},
		{"from here", []string{"copy", path}, "from here"},
		{"", []string{"copy", path}, ""},
		{strings.Repeat("x", 1<<20), []string{"copy", path}, strings.Repeat("x", 1<<20)},
	} {
		out, err := program(t, tc.stdin, tc.args...).CombinedOutput()
		if err != nil || string(out) != tc.want {
			t.Errorf("%q: %.100q, %v", tc.args, out, err)
		}
	}
	for want, args := range map[string][]string{
		"echo: usage: ":   {},
		"echo: usage: ec": {"say"},
		"echo: usage: e":  {"shout", path},
		"living server":   {"serve", path},
		"no such file":    {"say", path + "2", "hello"},
		"is not UTF-8":    {"say", path, "caf\xe9"},
	} {
		out, err := program(t, "", args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
	if err := daemon.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil || told.Len() > 0 {
		t.Errorf("after ^C: %v, %q", err, told.String())
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
