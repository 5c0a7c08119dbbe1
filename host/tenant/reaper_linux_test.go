package tenant

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/joyboyid/xc/kqueue/kqueuetest"
)

// TestIntegrationSuite is what every follower of processes must be able to do.
func TestIntegrationSuite(t *testing.T) {
	trees(t, func(t *testing.T, s *space) {
		f := kqueuetest.Features{Alone: s.base == ""}
		if !f.Alone {
			f.Reuse = s.reuse
		}
		kqueuetest.Suite(t, f, starter(t, s))
	})
}

// BenchmarkNotice is from the end of a process to the notice.
func BenchmarkNotice(b *testing.B) {
	need(b)
	kqueuetest.Notice(b, starter(b, openTenant(b, Config{ID: "bench", Network: "none", Cgroup: makeGroup(b), Root: Root{Kind: Bind, Dir: makeRoot(b)}})))
}

// selfMounts show a tenant this very program, and what it is linked with when it
// was built with the race detector.
func selfMounts(t testing.TB) []Mount {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	mounts := []Mount{{Source: self, Destination: self, ReadOnly: true}}
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			mounts = append(mounts, Mount{Source: real, Destination: dir, ReadOnly: true})
		}
	}
	return mounts
}

// reuse lets the next process of the tenant get the lowest number that is free:
// proc_sys_kernel(5), ns_last_pid.
func (s *space) reuse(t *testing.T) {
	t.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(s.pid), "-p", "sh", "-c", "echo 1 >/proc/sys/kernel/ns_last_pid").CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("nsenter: %w: %s", err, out))
	}
}
