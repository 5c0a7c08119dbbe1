package engine_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/joyboyid/xc/internal/testroot"
)

// programs are what the scripts of the tests use.
var programs = []string{"sh", "cat", "ls", "echo", "sleep", "true", "false", "id", "ps", "stty", "hostname", "kill", "env", "mkdir", "rm", "wc", "head", "touch", "test", "yes", "tr", "pwd", "tee", "ln", "expr", "chmod", "printf", "sysctl", "zfs", "mount", "mv", "cut", "sync", "ping", "ifconfig", "netstat", "tty", "grep", "jail"}

// rootTar is an archive of a root file system with a shell and the usual
// programs.
var rootTar = sync.OnceValues(func() ([]byte, error) {
	var buf bytes.Buffer
	err := testroot.Write(&buf, programs...)
	return buf.Bytes(), err
})

// rootOf is rootTar. The test is skipped where this machine has nothing to make it of.
func rootOf(t testing.TB) []byte {
	t.Helper()
	b, err := rootTar()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
