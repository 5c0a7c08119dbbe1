package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// killSpare kills the children of this process that are run loops: nothing but
// the spare runs.
func killSpare(t *testing.T) {
	t.Helper()
	// pkill(1) ends with 1 when there was nothing to kill.
	if out, err := exec.Command("pkill", "-KILL", "-P", fmt.Sprint(os.Getpid())).CombinedOutput(); err != nil && len(out) > 0 {
		t.Errorf("pkill: %v: %s", err, out)
	}
}
