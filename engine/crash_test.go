package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// The crash test runs a container's life in a process of its own, which kills
// itself at the n-th point where it matters; then another engine opens the
// same state, and nothing may be left but what the records tell.

// crashJob is what the helper process is to do.
type crashJob struct {
	Dir  string
	Kill int  // at the n-th point, from 1; 0: print the points instead
	Ends bool // main ends by itself with code 7, and the container removes itself
	Nets bool // it is on a network, which is made before and removed after
	Pubs bool // the same, and it publishes ports, from the start and later

	Vols    bool   // it has volumes: one that is there, one that is made for the mount, one of its own
	Dataset string // which it is lent

	Channel string // make and remove a channel instead

	Spare bool // it has what was kept ready
}

const crashEnv = "XC_TEST_CRASH"

// crashHelper is the helper process.
func crashHelper() bool {
	text, ok := os.LookupEnv(crashEnv)
	if !ok {
		return false
	}
	var job crashJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		panic(err)
	}
	var n atomic.Int64
	var armed atomic.Bool
	armed.Store(!job.Spare)
	c := config(job.Dir)
	c.Trace = func(point string) {
		if !armed.Load() {
			return
		}
		switch i := n.Add(1); {
		case job.Kill == 0:
			fmt.Println(point)
		case int(i) == job.Kill:
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it cannot fail
			select {}
		}
	}
	e, err := engine.Open(context.Background(), c)
	if err == nil && job.Spare {
		err = crashSpare(e, c)
		armed.Store(true)
	}
	if err == nil {
		err = crashLife(e, job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// crashLife is create, start, stop and remove; or create, start and wait for
// main, which leaves a line for each time it ran.
func crashLife(e *engine.Engine, job crashJob) error {
	ctx := context.Background()
	if job.Channel != "" {
		return crashChannel(ctx, e, job.Channel)
	}
	spec := api.ContainerSpec{Name: "c", Image: "root", Command: []string{"sleep", "1000"}, Limits: api.Limits{Pids: 100, Memory: 1 << 30}}
	if job.Ends {
		spec.Command, spec.AutoRemove = []string{"sh", "-c", "echo ran >>/marks/ran; exit 7"}, true
		spec.Mounts = []api.Mount{{Source: filepath.Join(job.Dir, "marks"), Destination: "/marks"}}
	}
	job.Nets = job.Nets || job.Pubs
	if job.Pubs {
		spec.Publish = crashPorts[:1]
	}
	if job.Nets {
		if _, err := e.CreateNetwork(ctx, crashNetwork); err != nil {
			return err
		}
		spec.Networks = crashAttachments
	}
	if job.Vols {
		spec.Mounts = crashMounts
	}
	if job.Dataset != "" {
		spec.Datasets = []string{job.Dataset}
	}
	c, err := e.CreateContainer(ctx, spec)
	if err != nil {
		return err
	}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{}); err != nil {
		return err
	}
	if job.Pubs {
		if _, err := e.PublishPorts(ctx, c.ID, crashPorts[1:]); err != nil {
			return err
		}
		if err := e.UnpublishPorts(ctx, c.ID, crashPorts[:1]); err != nil {
			return err
		}
	}
	if job.Ends {
		if _, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{}); err != nil {
			return err
		}
		return e.Close() // what is left of it is done in the background
	}
	now := 0
	if err := e.StopContainer(ctx, c.ID, api.StopOptions{Timeout: &now}); err != nil {
		return err
	}
	if err := e.RemoveContainer(ctx, c.ID, api.RemoveOptions{Volumes: job.Vols}); err != nil || !job.Nets {
		return err
	}
	return e.RemoveNetwork(ctx, crashNetwork.Name)
}

// crashSpare has a run loop kept ready, and on ZFS a root.
func crashSpare(e *engine.Engine, c engine.Config) error {
	ctx := context.Background()
	for range 2 {
		c, err := e.CreateContainer(ctx, api.ContainerSpec{Image: "root", Command: []string{"true"}})
		if err == nil {
			err = e.StartContainer(ctx, c.ID, api.StartOptions{})
		}
		if err == nil {
			_, err = e.WaitContainer(ctx, c.ID, api.WaitOptions{})
		}
		if err == nil {
			err = e.RemoveContainer(ctx, c.ID, api.RemoveOptions{})
		}
		if err != nil {
			return err
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		loops, _ := filepath.Glob(filepath.Join(c.RunDir, "spare-*.sock"))
		marks, _ := filepath.Glob(filepath.Join(c.StateDir, "spare-*")) // of what is ready, and of the next one
		if len(loops) == 1 && (c.ContainerDataset == "" || len(marks) == 2) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing is ready: %q, %q", loops, marks)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// crashNetwork has one address of IPv4, so that whoever takes it shows that
// nobody else has it.
var (
	crashNetwork     = api.NetworkSpec{Name: "crash", Subnets: []api.Subnet{{Prefix: netip.MustParsePrefix("10.72.0.0/30")}, {Prefix: netip.MustParsePrefix("fd72::/64")}}}
	crashAttachments = []api.Attachment{{Network: "crash", Addrs: []netip.Addr{netip.MustParseAddr("fd72::7")}}}
)

// crashPorts are published: the first from the start.
var crashPorts = []api.Port{{HostPort: 7301, Port: 80}, {HostPort: 7302, Port: 53, Protocol: "udp"}, {HostPort: 7303, Port: 80, End: 81}}

func runCrashJob(t *testing.T, job crashJob) (out string, killed bool) {
	t.Helper()
	b, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(b))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return string(stdout), true
	}
	if err != nil {
		t.Fatalf("crash helper: %v: %s", err, stderr.String())
	}
	return string(stdout), false
}

// crashPoints lists the points of a life.
func crashPoints(t *testing.T, job crashJob) []string {
	t.Helper()
	out, _ := runCrashJob(t, job)
	points := strings.Split(strings.TrimSpace(out), "\n")
	if len(points) < 20 {
		t.Fatalf("only %d points: %q", len(points), points)
	}
	return points
}

func crashDir(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := shortTempDir(t)
	if err := os.Mkdir(filepath.Join(dir, "marks"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// partEnv is a part of the points, as in 2/4: the second one of each four.
const partEnv = "XC_TEST_CRASH_PART"

// crashPart tells whether the i-th point, from 0, is one to die at: all are, unless
// partEnv says otherwise.
func crashPart(t *testing.T, i int) bool {
	t.Helper()
	text := os.Getenv(partEnv)
	if text == "" {
		return true
	}
	var part, of int
	if n, err := fmt.Sscanf(text, "%d/%d", &part, &of); n != 2 || err != nil || part < 1 || part > of {
		t.Fatalf("%s=%s: expected 2/4, for one", partEnv, text)
	}
	return i%of == part-1
}

// checkHost compares the host with what it was.
func checkHost(t *testing.T, before string) {
	t.Helper()
	if after := hostState(t); after != before {
		t.Errorf("the host has changed: before\n%s\nafter\n%s", before, after)
	}
}

func TestIntegrationCrashAtEveryPoint(t *testing.T) { crashAtEveryPoint(t, crashJob{}) }

// Of a container that has what was kept ready, which is in no journal.
func TestIntegrationCrashWithSpare(t *testing.T) { crashAtEveryPoint(t, crashJob{Spare: true}) }

func crashAtEveryPoint(t *testing.T, job crashJob) {
	job.Dir = crashDir(t)
	dir := job.Dir
	before := hostState(t)
	points := crashPoints(t, job)
	e := openEngine(t, dir, nil)
	checkLife(t, happened(t, e, api.EventOptions{Filters: []string{"container=c"}}))
	told := *lastEvent(t, e)
	closeClean(t, e)
	for i, point := range points {
		if !crashPart(t, i) {
			continue
		}
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			job.Kill = i + 1
			if _, killed := runCrashJob(t, job); !killed {
				t.Fatal("the process was not killed: the points are not the same each time")
			}
			e := openEngine(t, dir, nil)
			defer checkHost(t, before)
			defer closeClean(t, e)
			if err := e.RemoveContainer(t.Context(), "c", api.RemoveOptions{Force: true}); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			checkLife(t, happened(t, e, api.EventOptions{After: &told, Filters: []string{"container=c"}}))
			told = *lastEvent(t, e)
		})
	}
}

// lifeRule is what there is to tell of a container, each once: if it has run,
// how that began and ended.
var lifeRule = regexp.MustCompile(`^(c\.create( c\.start c\.(exit\(\d+\)|lost\(137\))| c\.lost\(137\)| c\.exit\(125\))?( c\.stop)? c\.remove)?$`)

func checkLife(t *testing.T, events string) {
	t.Helper()
	if !lifeRule.MatchString(events) {
		t.Errorf("the events of its life are %q", events)
	}
}

// A container that removes itself is gone after any crash, main ran once at
// the most, and its exit code is not forgotten.
func TestIntegrationCrashOfAutoRemove(t *testing.T) {
	dir := crashDir(t)
	mark := filepath.Join(dir, "marks", "ran")
	before := hostState(t)
	points := crashPoints(t, crashJob{Dir: dir, Ends: true})
	e := openEngine(t, dir, nil)
	checkLife(t, happened(t, e, api.EventOptions{Filters: []string{"container=c"}}))
	told := *lastEvent(t, e)
	closeClean(t, e)
	for i, point := range points {
		if !crashPart(t, i) {
			continue
		}
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			runCrashJob(t, crashJob{Dir: dir, Ends: true, Kill: i + 1}) // what is done in the background may have ended before
			e := openEngine(t, dir, nil)
			defer checkHost(t, before)
			defer closeClean(t, e)
			list, err := e.ListContainers(t.Context(), api.ListOptions{All: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if c.State == api.StateCreated {
					continue // it was never started
				}
				exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{})
				if err != nil || exit.Code != 7 {
					t.Errorf("%s exited with %+v, %v", c.Name, exit, err)
				}
			}
			if ran, err := os.ReadFile(mark); strings.Count(string(ran), "ran\n") > 1 || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("main ran more than once: %q, %v", ran, err)
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				list, err := e.ListContainers(t.Context(), api.ListOptions{All: true})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(list, func(c api.Container) bool { return c.State != api.StateCreated }) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("it stays: %+v", list)
				}
			}
			if list, err := e.ListContainers(t.Context(), api.ListOptions{All: true}); err == nil && len(list) == 1 { // it was never started
				err = e.RemoveContainer(t.Context(), "c", api.RemoveOptions{})
				if err != nil {
					t.Error(err)
				}
			}
			checkLife(t, happened(t, e, api.EventOptions{After: &told}))
			told = *lastEvent(t, e)
		})
	}
}
