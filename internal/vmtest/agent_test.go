package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestAgent runs the agent on this machine, with a pseudo-terminal for the
// channel and a file for the disk.
func TestAgent(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Skipf("needs a pseudo-terminal (/dev/ptmx): %v", err)
	}
	defer terminal.Close()
	defer tty.Close()
	dir := t.TempDir()
	disk, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	agent := filepath.Join(dir, "agent")
	if err := os.WriteFile(agent, []byte(agentScript), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sh", agent, disk.Name(), tty.Name(), filepath.Join(dir, "guest"))
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if trouble.Len() > 0 {
			t.Errorf("the agent complains: %s", &trouble)
		}
	}()

	ch := &channel{rw: terminal}
	if line, err := ch.copyTo(io.Discard, []byte("\036agent ")); err != nil || line != "ready" {
		t.Fatal(line, err)
	}
	var bytes256 strings.Builder
	for i := range 256 {
		bytes256.WriteByte(byte(i))
	}
	data := strings.Repeat(bytes256.String(), 1024)
	for _, c := range []struct {
		name, script, out string
		exit              int
	}{
		{name: "success", script: "echo out; echo err >&2\n", out: "out\nerr\n"},
		{name: "status", script: "exit 3\n", exit: 3},
		{name: "signal", script: "kill -PIPE $$\n", exit: 141},
		{name: "no terminal, no input", script: "test -t 1 || test -t 2 || cat\n"},
		{name: "any bytes", script: "cat <work/data\n", out: data},
		{name: "a process stays", script: "sleep 1000 & echo $! >pid; echo done\n", out: "done\n"},
		{name: "the next job", script: "kill $(cat pid); echo fine\n", out: "fine\n"},
		{name: "only its own files", script: "cd work; echo *\n", out: "run\n"},
	} {
		if c.name == "any bytes" {
			if err := os.WriteFile(filepath.Join(dir, "data"), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			c.script = "cat " + quote(filepath.Join(dir, "data")) + "\n"
		}
		blocks, err := job{script: c.script}.write(disk)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		exit, err := ch.run("ID"+strings.ReplaceAll(c.name, " ", ""), blocks, &out, func() {})
		if err != nil || exit != c.exit {
			t.Errorf("%s: exit %d, %v, want %d", c.name, exit, err, c.exit)
		}
		if out.String() != c.out {
			t.Errorf("%s: got %.200q, want %.200q", c.name, out.String(), c.out)
		}
	}

	if _, err := disk.WriteAt(bytes.Repeat([]byte("no archive"), 100), 0); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	exit, err := ch.run("last", 1, &out, func() {})
	if err != nil || exit == 0 || !strings.HasPrefix(out.String(), "vmtest: guest: cannot unpack the test's files: ") {
		t.Errorf("a damaged archive: %d, %v, %q", exit, err, out.String())
	}
}
