package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leftovers lists the mounts in an engine's directory and the cgroups with its tag.
func leftovers(t *testing.T, dir, tag string) (left []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			left = append(left, "mount "+line)
		}
	}
	for _, parent := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, err := filepath.Glob(parent + "/xc-" + tag + "-*")
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, groups...)
	}
	return left
}
