package engine_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/jail"
)

// tally counts what could be left behind: jails and mounts of the machine, the
// descriptors and children of this process.
func tally(t *testing.T) string {
	t.Helper()
	jails := 0
	for _, err := range jail.All() {
		if err != nil {
			t.Fatal(err)
		}
		jails++
	}
	mounts, err := mount.List()
	if err != nil {
		t.Fatal(err)
	}
	descriptors := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			descriptors++
		}
	}
	// pgrep(1) ends with 1 when there is nothing.
	out, _ := exec.Command("pgrep", "-P", fmt.Sprint(os.Getpid())).Output()
	return fmt.Sprintf("%d jails, %d mounts, %d descriptors, %d children", jails, len(mounts), descriptors, strings.Count(string(out), "\n"))
}

// settledTally is the tally once it has stayed the same for a while: something may
// be made ready.
func settledTally(t *testing.T) string {
	t.Helper()
	last, same := tally(t), 0
	for range 200 {
		time.Sleep(50 * time.Millisecond)
		now := tally(t)
		if same++; now != last {
			last, same = now, 0
		}
		if same == 20 {
			break
		}
	}
	return last
}

// Two hundred containers are made, run and removed, and nothing of them is left.
func TestIntegrationCycles(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	life := func() {
		if out, exit := sh(t, e, api.ContainerSpec{}, "echo x >/tmp/x; (sleep 0.01 &) ; exit 3"); out != "" || exit.Code != 3 {
			t.Fatalf("%q, %+v", out, exit)
		}
	}
	for range 3 { // a spare run loop and its root, connections of the database and the like are there to stay
		life()
	}
	before := settledTally(t)
	for range 200 {
		life()
	}
	for try := 0; ; try++ { // a spare may be in the making
		after := tally(t)
		if after == before {
			break
		}
		if try == 100 {
			t.Fatalf("before: %s; after: %s", before, after)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if left, err := e.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left on the host: %q, %v", left, err)
	}
}

// startLong starts a container that lasts.
func startLong(t *testing.T, e *engine.Engine) api.Container {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Between its starts a run loop has no open directory: none is forgotten.
func TestIntegrationNoOpenDirectory(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c := startLong(t, e)
	for range 10 {
		if exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: []string{"true"}}); err != nil || exit.Code != 0 {
			t.Fatalf("exec: %+v, %v", exit, err)
		}
		loops, err := exec.Command("pgrep", "-P", fmt.Sprint(os.Getpid())).Output()
		if err != nil {
			t.Fatal(err)
		}
		for loop := range strings.FieldsSeq(string(loops)) {
			out, err := exec.Command("procstat", "-f", loop).Output()
			if err != nil {
				continue // a spare that was replaced
			}
			for line := range strings.Lines(string(out)) {
				// PID COMM FD T V FLAGS …: a vnode (v) that is a directory (d), with a number.
				if f := strings.Fields(line); len(f) > 4 && f[3] == "v" && f[4] == "d" && strings.Trim(f[2], "0123456789") == "" {
					t.Errorf("an open directory: %s", line)
				}
			}
		}
	}
}

// No directory is open in a run loop while it starts a process: jail_attach(2) would
// refuse that with EPERM. Starts open directories themselves, to look names up and to
// tell why a program was refused. So many are asked for at once, and some are refused.
func TestIntegrationStartsAtOnce(t *testing.T) {
	const clients, each = 6, 24
	e := testEngine(t)
	importRoot(t, e, "root")
	c := startLong(t, e)
	exec := func(args ...string) (api.Exit, error) {
		return e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: args})
	}
	// To the kernel it is no program.
	if exit, err := exec("sh", "-c", "echo text >/tmp/text; chmod 755 /tmp/text"); err != nil || exit.Code != 0 {
		t.Fatalf("exec: %+v, %v", exit, err)
	}
	over := make(chan struct{})
	var others, wg sync.WaitGroup
	others.Go(func() { // other containers come and end, each with a run loop of its own
		for {
			select {
			case <-over:
				return
			default:
				spec := api.ContainerSpec{Image: "root", Command: []string{"true"}, AutoRemove: true}
				exit, err := e.RunContainer(t.Context(), spec, api.StartOptions{}, func(api.RunProgress) error { return nil })
				if err != nil || exit.Code != 0 {
					t.Errorf("another container: %+v, %v", exit, err)
					return
				}
			}
		}
	})
	for n := range clients {
		wg.Go(func() {
			for i := range each {
				if (n+i)%4 == 0 {
					if _, err := exec("/tmp/text"); !errors.Is(err, syscall.ENOEXEC) {
						t.Errorf("what is no program: %v", err)
					}
				} else if exit, err := exec("true"); err != nil || exit.Code != 0 {
					t.Errorf("exec: %+v, %v", exit, err)
				}
			}
		})
	}
	wg.Wait()
	close(over)
	others.Wait()
}
