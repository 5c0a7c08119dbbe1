package kqueue

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// halt takes t.mu when the loop has read all there is and waits for t.mu.
func halt(tb testing.TB, t *Tracker) {
	tb.Helper()
	q := t.kernel.(*queue)
	for range 3000 {
		t.mu.Lock()
		if err := t.kernel.wake(); err != nil {
			t.mu.Unlock()
			tb.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		var fds [lanes]unix.PollFd
		for lane, kq := range q.lanes {
			fds[lane] = unix.PollFd{Fd: int32(kq), Events: unix.POLLIN}
		}
		if n, err := unix.Poll(fds[:], 0); n == 0 && err == nil {
			return // it has read the wake, too
		}
		t.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	tb.Fatal("the loop does not come to rest")
}

// As TestLastReadIsFull, with lanes of the kernel that hold exactly what is asked
// for.
func TestLastReadOfKernelIsFull(t *testing.T) {
	tr, err := NewTracker()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	const n = batch / lanes
	script := fmt.Sprintf("i=1; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; wait", n)
	tree, err := tr.Start(&exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Signal(syscall.SIGKILL) }() // unless all have ended
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for programs := map[int]bool{}; len(programs) < n; {
		e, err := tree.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == Exec {
			programs[e.PID] = true
		}
	}
	halt(t, tr)
	tr.auditAt = time.Now().Add(time.Hour)
	err = tr.kernel.kill(tree.root, syscall.SIGKILL)
	for alive := n; err == nil && alive > 0; {
		time.Sleep(time.Millisecond)
		var census []member
		census, err = tr.kernel.census()
		alive = 0
		for _, m := range census {
			if m.alive() {
				alive++
			}
		}
	}
	tr.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = tree.Next(ctx)
	}
	if err != io.EOF {
		t.Error("after the end of all:", err)
	}
}
