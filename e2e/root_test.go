package e2e

import (
	"testing"

	"github.com/joyboyid/xc/internal/testroot"
)

// writeRoot writes an archive of a root file system.
func writeRoot(t *testing.T, dir string) string {
	t.Helper()
	return testroot.File(t, dir, "sh", "cat", "echo", "sleep", "true", "stty", "tar", "ls", "id", "yes", "kill", "head", "wc", "touch", "test")
}
