// Package leak tells tests of what they leave behind.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what never takes long.
const patience = 30 * time.Second

// Check fails the test if it leaves descriptors or goroutines of package ipc and
// its tests behind. It is called first, so that it looks last.
func Check(t testing.TB) {
	t.Helper()
	r, w, err := os.Pipe() // the poller's descriptors stay
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Close(), w.Close()
	before := Descriptors()
	others := goroutines()
	t.Cleanup(func() {
		var left string
		for end := time.Now().Add(patience); ; runtime.Gosched() {
			if left = leftover(before, others); left == "" {
				return
			}
			if time.Now().After(end) {
				break
			}
		}
		t.Errorf("left behind:\n%s", left)
	})
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
