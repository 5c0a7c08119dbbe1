package ipc

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// command runs exe, in a jail that ends with it if it is to be away.
func command(t *testing.T, exe string, away bool) *exec.Cmd {
	t.Helper()
	if !away {
		return exec.Command(exe)
	}
	return exec.Command("jail", "-c", fmt.Sprintf("name=ipctest%d", os.Getpid()), "path=/", "command="+exe)
}
