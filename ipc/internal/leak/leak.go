// Package leak tells tests of what they leave behind.
package leak

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what never takes long.
const patience = time.Minute

// Check fails the test if it leaves descriptors or goroutines of package ipc and
// its tests behind. It is called first, so that it looks last.
func Check(t testing.TB) {
	t.Helper()
	left, err := watch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if list := left(); list != "" {
			t.Errorf("left behind:\n%s", list)
		}
	})
}

// Main runs all tests of a package, examples too, and returns their exit code; it
// fails if something is left behind in the end.
func Main(m *testing.M) int {
	left, err := watch()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if fuzzing := flag.Lookup("test.fuzz").Value.String() != ""; code != 0 || fuzzing {
		return code // package testing has files of its own when it is fuzzing
	}
	if list := left(); list != "" {
		fmt.Fprintf(os.Stderr, "left behind in the end:\n%s", list)
		return 1
	}
	return 0
}

// watch notes what is there. The function it returns tells what is there beside
// that, and does not go away.
func watch() (left func() string, err error) {
	r, w, err := os.Pipe() // the poller's descriptors stay
	if err != nil {
		return nil, err
	}
	_, _ = r.Close(), w.Close()
	before, others := Descriptors(), goroutines()
	return func() string {
		for end := time.Now().Add(patience); ; runtime.Gosched() {
			if list := leftover(before, others); list == "" || time.Now().After(end) {
				return list
			}
		}
	}, nil
}

// Descriptors lists what is open, without a directory that FreeBSD may not have.
func Descriptors() map[int]bool {
	open := map[int]bool{}
	for fd := range 10000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}

// goroutines returns those of the package and its tests by their first line,
// which has a number that is never used again.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	all := map[string]string{}
	for _, g := range strings.Split(string(buf[:n]), "\n\n") {
		if number, _, ok := strings.Cut(g, " ["); ok && strings.Contains(g, "joyboyid/xc/ipc") {
			all[number] = g
		}
	}
	return all
}

func leftover(before map[int]bool, others map[string]string) string {
	var left strings.Builder
	for fd := range Descriptors() {
		if !before[fd] {
			fmt.Fprintf(&left, "descriptor %d\n", fd)
		}
	}
	for number, g := range goroutines() {
		if _, ok := others[number]; !ok && !strings.Contains(g, "leak.leftover") {
			left.WriteString(g + "\n")
		}
	}
	return left.String()
}
