package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The client of docs/ipc.md, which is not written in Go, talks to the daemon.
func TestIntegrationForeignClient(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec sudo -run Integration ./xcd")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 in PATH to run ipc/testdata/call.py with")
	}
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "xc.sock"), filepath.Join(dir, "xc.config")
	if err := os.WriteFile(file, fmt.Appendf(nil, "state_dir: %s/state\nrun_dir: %s/run\nsocket_path: %s\n", dir, dir, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, "--config", file)
	d.until(t, "xcd serves")
	call := func(method, params, kind string, v any) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), python, "../ipc/testdata/call.py", socket, method, params).CombinedOutput()
		body, ok := bytes.CutPrefix(out, []byte(kind+" "))
		if err != nil || !ok {
			t.Fatalf("%s: %v\n%s", method, err, out)
		}
		if err := json.Unmarshal(body, v); err != nil {
			t.Errorf("%s: %v\n%s", method, err, body)
		}
	}
	var info struct {
		Result struct {
			StateDir string `json:"state_dir"`
		}
	}
	if call("System.Info", "{}", "result", &info); info.Result.StateDir != filepath.Join(dir, "state") {
		t.Errorf("%+v", info)
	}
	var failed struct{ Code string }
	if call("Containers.InspectContainer", `{"name":"nobody"}`, "error", &failed); failed.Code != "not_exist" {
		t.Errorf("%+v", failed)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.until(t, "xcd ends; containers go on")
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
