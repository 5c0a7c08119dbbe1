// Package testprograms has the project's programs for tests that run them as
// users do.
package testprograms

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Env names a directory in which the programs are, built before: a test in a VM
// has no go command, and no source, to build them itself.
const Env = "XC_TEST_PROGRAMS"

const module = "github.com/joyboyid/xc"

// packages are the programs.
var packages = []string{module + "/xc", module + "/xcd", module + "/cmd/xc-runloop", module + "/ocitar/cmd/ocitar"}

// Dir is an absolute directory of the programs: that of [Env], or one in which they
// are built at the first call. The test is skipped where neither is possible.
func Dir(t testing.TB) string {
	t.Helper()
	if os.Getenv(Env) == "" {
		if _, err := exec.LookPath("go"); err != nil {
			t.Skipf("the go command is needed to build the programs, or a directory of them in %s", Env)
		}
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Main runs the tests, removes what was built for them, and returns their exit code:
// TestMain ends with it.
func Main(m *testing.M) (code int) {
	code = m.Run()
	if built != "" {
		if err := os.RemoveAll(built); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// Within fails the test when f takes longer than a minute: a command hangs.
func Within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
	}
}

// built is the directory of what was built.
var built string

var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		return given(dir)
	}
	return build()
})

// given is the directory that was named. A relative one is below that of the
// package, where go test and what stands in for it start tests.
func given(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, p := range packages {
		if _, err := exec.LookPath(filepath.Join(dir, filepath.Base(p))); err != nil {
			return "", fmt.Errorf("%s: %w", Env, err)
		}
	}
	return dir, nil
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "xcprograms")
	if err != nil {
		return "", err
	}
	built = dir
	cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w: %s", err, out)
	}
	return dir, nil
}
