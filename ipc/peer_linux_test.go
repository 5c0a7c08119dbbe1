package ipc

import (
	"os/exec"
	"syscall"
	"testing"
)

// command runs exe, in a mount namespace of its own if it is to be away.
func command(t *testing.T, exe string, away bool) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(exe)
	if away {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	return cmd
}
