package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/internal/testns"
)

const asProgram = "XC_TEST_ORCHESTRATOR"

func TestMain(m *testing.M) {
	engine.Main()
	if os.Args[0] == "/self" || os.Getenv(asProgram) != "" {
		main()
		return
	}
	testns.Enter()
	os.Exit(m.Run())
}

var up = regexp.MustCompile(`^slot ([0-9]): (c[a-z0-9]{11}) is up$`)

// Three replicas come up; all are replaced one by one; one that is killed is
// replaced; at the end nothing is left.
func TestIntegrationOrchestrator(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("containers need root: run go test with sudo, or -exec sudo")
	}
	cmd := exec.Command(os.Args[0], "-n", "3")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test failed: it cleans up after itself
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		}
	})
	stuck := time.AfterFunc(4*time.Minute, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	lines := bufio.NewScanner(out)
	var ids []string // of all that came up
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("no more output (%v)", lines.Err())
		}
		if m := up.FindStringSubmatch(lines.Text()); m != nil && !slices.Contains(ids, m[2]) {
			ids = append(ids, m[2])
			return m[1]
		}
		return lines.Text()
	}
	slots := []string{next(), next(), next()}
	if slices.Sort(slots); !slices.Equal(slots, []string{"0", "1", "2"}) {
		t.Fatalf("slots %q", slots)
	}
	sendSignal(t, cmd, syscall.SIGHUP)
	for _, want := range []string{"0", "1", "2", "replaced all: <nil>"} {
		if got := next(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	killOne(t, ids[len(ids)-1])
	if got := next(); !strings.HasSuffix(got, "ended: code 137") {
		t.Errorf("a replica that was killed: %q", got)
	}
	if got := next(); got != "2" {
		t.Errorf("its slot: %q", got)
	}
	sendSignal(t, cmd, syscall.SIGTERM)
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if err := cmd.Wait(); err != nil || last != "left on the host: []" {
		t.Errorf("%q, %v", last, err)
	}
}

func sendSignal(t *testing.T, cmd *exec.Cmd, sig os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// killOne kills the run loop of a container, and so the container.
func killOne(t *testing.T, id string) {
	t.Helper()
	// pgrep's own arguments contain the id as well; it does not list itself.
	out, err := exec.Command("pgrep", "-f", id).Output()
	if err != nil {
		t.Fatal("pgrep: ", err)
	}
	if out, err := exec.Command("kill", append([]string{"-9"}, strings.Fields(string(out))...)...).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
}
