package ipc

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that is started at any moment has none of the descriptors that are
// being received: they are close-on-exec from the first.
func TestDescriptorsDoNotReachChildren(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) { return nil, r.Files, nil })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := func() string {
		cmd := exec.CommandContext(limited(t), self)
		cmd.Env = append(os.Environ(), openEnv+"=1")
		out, err := cmd.Output()
		if err != nil || !strings.HasPrefix(string(out), "[0 1 2") {
			t.Fatalf("%q, %v", out, err)
		}
		return string(out)
	}
	quiet := child() // with what this process itself was started with
	stop, files := make(chan struct{}), slices.Repeat([]*os.File{text(t, "")}, 60)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := c.Call(context.Background(), "A.B", nil, files, nil)
			if err != nil {
				t.Error(err)
				return
			}
			closeFiles(got)
		}
	})
	for range 30 {
		if got := child(); got != quiet {
			t.Errorf("a child has %s instead of %s", got, quiet)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// When the table is full, what did come is closed, and the connection ends: Linux
// gives some and says that it cut, FreeBSD gives none and fails.
func TestFullDescriptorTable(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	if err := to.w.send(limited(t), &message{buf: raw(kindCall, 20, 1, "A.B\n")}, slices.Repeat([]*os.File{text(t, "")}, 20)); err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	full := was
	full.Cur = 0
	for free := 0; free < 5; full.Cur++ {
		if _, err := unix.FcntlInt(uintptr(full.Cur), unix.F_GETFD, 0); err != nil {
			free++
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &full); err != nil {
		t.Fatal(err)
	}
	f, err := from.r.next()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Errorf("20 descriptors where 5 are free: %d", len(f.fds))
		f.discard()
	} else {
		t.Log(err)
	}
}
