package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/internal/testroot"
)

// writeRoot writes an archive of a root file system.
func writeRoot(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "root.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := testroot.Write(f, "sh", "cat", "echo", "sleep", "true", "stty", "tar", "ls", "id", "yes", "kill", "head", "wc", "touch", "test"); err != nil {
		t.Skip(err)
	}
	return path
}
