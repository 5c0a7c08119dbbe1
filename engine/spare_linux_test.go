package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// killSpare kills the children of this process that are run loops: nothing but
// the spare runs.
func killSpare(t *testing.T) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		dir := filepath.Dir(p)
		stat, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || string(fields[1]) != strconv.Itoa(os.Getpid()) || !bytes.HasPrefix(cmdline, []byte("xc-runloop")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
