package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/jail"
)

// anyID is the id of a container.
var anyID = regexp.MustCompile(`\bc[a-z2-7]{11}\b`)

// tally lists what could be left behind, whichever container it is of: jails and
// mounts of the machine, the datasets of the tests, processes, and the descriptors of
// this one.
func tally(t *testing.T) string {
	t.Helper()
	var list []string
	for info, err := range jail.All() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, "jail "+info.Name)
	}
	mounts, err := mount.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		list = append(list, "mount "+m.From+" "+m.Path)
	}
	for _, d := range testDatasets(t) {
		list = append(list, "dataset "+d)
	}
	list = append(list, processes(t)...)
	descriptors := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			descriptors++
		}
	}
	list = append(list, fmt.Sprint(descriptors, " descriptors"))
	slices.Sort(list)
	return anyID.ReplaceAllString(strings.Join(list, "\n"), "ID")
}

// processes are those that a container can have left: run loops and what else is this
// program, whoever their parent is by now, the children of this process, zombies
// too, and all that is in a jail.
func processes(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("ps", "-axww", "-o", "pid=", "-o", "ppid=", "-o", "jid=", "-o", "args=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprint(os.Getpid())
	var list []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			t.Fatalf("ps: %q", line)
		}
		pid, parent, jid, args := f[0], f[1], f[2], strings.Join(f[3:], " ")
		ours := parent == self || jid != "0" || strings.Contains(args, "xc-runloop") || f[3] == os.Args[0]
		if ours && pid != self && pid != fmt.Sprint(cmd.Process.Pid) {
			list = append(list, "process "+args)
		}
	}
	return list
}

// settledTally is the tally once it has stayed the same for a while: something may
// be made ready.
func settledTally(t *testing.T) string {
	t.Helper()
	last, same := tally(t), 0
	for range 100 {
		time.Sleep(200 * time.Millisecond)
		now := tally(t)
		if same++; now != last {
			last, same = now, 0
		}
		if same == 5 {
			break
		}
	}
	return last
}

// Two hundred containers are made, run and removed, every second one by itself, which
// has a volatile root, and nothing of them is left.
func TestIntegrationCycles(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	life := func(itself bool) {
		c := start(t, e, api.ContainerSpec{Image: "root", AutoRemove: itself, Command: []string{"sh", "-c", "echo x >/tmp/x; (sleep 0.01 &) ; exit 3"}})
		if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 3 {
			t.Fatalf("%+v, %v", exit, err)
		}
		// One that removes itself is waited for.
		err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{})
		if itself && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Five of a kind in a row, as a root is kept ready for the third.
	lives := func(rows int) {
		for i := range 5 * rows {
			life(i/5%2 == 1)
		}
	}
	lives(2) // a spare run loop and its root, connections of the database and the like are there to stay
	before := settledTally(t)
	lives(40)
	for try := 0; ; try++ { // a spare may be in the making
		after := tally(t)
		if after == before {
			break
		}
		if try == 100 {
			t.Fatalf("before:\n%s\nafter:\n%s", before, after)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if left, err := e.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left on the host: %q, %v", left, err)
	}
	if testing.Verbose() {
		t.Logf("as before:\n%s", before)
	}
}

// Between its starts a run loop has no open directory: none is forgotten.
func TestIntegrationNoOpenDirectory(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
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
	c := start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}})
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
