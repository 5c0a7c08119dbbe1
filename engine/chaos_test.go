package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// The chaos test has containers whose mains do what mains do, and clients who do
// what clients do, while the daemon and run loops are killed at random. Each
// container knows what its exit code has to be; see chaos_life_test.go.

const (
	chaosEnv  = "XC_TEST_CHAOS_DAEMON" // a directory: this process is the daemon
	chaosTime = "XC_TEST_CHAOS"        // how long
	chaosMany = "XC_TEST_CHAOS_CONTAINERS"
	chaosSeed = "XC_TEST_CHAOS_SEED"
)

// chaosDaemon is what xcd does: an engine, served on a socket. On SIGUSR1 it
// writes the number of its open descriptors to a file.
func chaosDaemon() bool {
	dir, ok := os.LookupEnv(chaosEnv)
	if !ok {
		return false
	}
	if err := serveChaos(dir); err != nil {
		fmt.Fprintln(os.Stderr, "daemon:", err)
		os.Exit(1)
	}
	return true
}

func serveChaos(dir string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := config(dir)
	c.Report = func(err error) { fmt.Fprintln(os.Stderr, "reported:", err) }
	e, err := engine.Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	l, err := ipc.Listen(filepath.Join(dir, "s"), ipc.ListenOptions{})
	if err != nil {
		return err
	}
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	go func() {
		for range usr1 {
			if err := os.WriteFile(filepath.Join(dir, "descriptors"), fmt.Append(nil, descriptors()), 0o600); err != nil {
				panic(err)
			}
		}
	}()
	s := &ipc.Server{Handler: api.EngineHandler(e)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.Shutdown(last); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func descriptors() int {
	n := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// chaos is a daemon that is killed again and again.
type chaos struct {
	t     *testing.T
	dir   string
	log   *os.File
	until time.Time

	mu      sync.Mutex
	cmd     *exec.Cmd
	kills   int
	loops   int // run loops killed
	lives   int
	lost    int
	ids     []string // of those that were made
	stopped bool     // by a failure
}

func (c *chaos) failf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(format, args...)
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
}

func (c *chaos) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped || time.Now().After(c.until)
}

// start starts the daemon and waits until it answers.
func (c *chaos) start() {
	c.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), chaosEnv+"="+c.dir)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.cmd = cmd
	c.mu.Unlock()
	// What the last daemon was about to execute may have its socket for a moment.
	if _, err := c.retry("the daemon", func(ctx context.Context, e api.Engine) error {
		_, err := e.Version(ctx)
		return err
	}); err != nil {
		c.failf("the daemon does not answer: %v", err)
	}
}

// kill ends the daemon.
func (c *chaos) kill(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Error("the daemon has ended by itself:", err)
	}
	err := c.cmd.Wait()
	if ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus); sig == syscall.SIGKILL && !ws.Signaled() || sig != syscall.SIGKILL && err != nil {
		c.failf("the daemon ended with %v", err)
	}
}

// chaosPatience is how long an answer may take before it is taken for none. The
// machine is busy.
const chaosPatience = 3 * time.Minute

// call calls the daemon, which may not be there yet. An error of call itself is
// one of the connection; see broken.
func (c *chaos) call(ctx context.Context, f func(context.Context, api.Engine) error) error {
	for {
		client, err := ipc.Open(ctx, filepath.Join(c.dir, "s"))
		if err == nil {
			err = f(ctx, api.EngineClient{C: client})
			client.Close()
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// broken says that the daemon was killed before it answered.
func broken(err error) bool {
	return ipc.CodeOf(err) == ipc.CodeUnavailable || errors.Is(err, ipc.ErrLost) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed)
}

// retry calls until there is an answer, and says whether it had to ask again.
func (c *chaos) retry(what string, f func(context.Context, api.Engine) error) (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), chaosPatience)
	defer cancel()
	for {
		err := c.call(ctx, f)
		if ctx.Err() != nil {
			c.hangs(what, err)
			return again, fmt.Errorf("%s hangs: %w", what, err)
		}
		if !broken(err) {
			return again, err
		}
		again = true
	}
}

// hangs lets the daemon tell what it is doing.
func (c *chaos) hangs(what string, err error) {
	c.failf("%s hangs: %v", what, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // the stacks are for whoever reads the log
}

func chaosNumber(t *testing.T, variable string, without uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(variable, err)
	}
	return n
}

// TestIntegrationChaos: every exit code is right, or lost where a run loop was
// killed; every end is recorded once; nothing is left. Set XC_TEST_CHAOS=5m and
// XC_TEST_CHAOS_CONTAINERS=200 for more of it, XC_TEST_CHAOS_SEED for the same
// again, as far as the machine does the same again.
func TestIntegrationChaos(t *testing.T) {
	needRoot(t)
	length := 10 * time.Second
	if text := os.Getenv(chaosTime); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(chaosTime, err)
		}
	}
	seed := chaosNumber(t, chaosSeed, rand.Uint64())
	many := int(chaosNumber(t, chaosMany, 6))
	t.Logf("%s=%d", chaosSeed, seed)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := &chaos{t: t, dir: dir, log: log, until: time.Now().Add(length)}
	c.start()
	var lives sync.WaitGroup
	for i := range many {
		lives.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := 0; !c.over(); n++ {
				c.life(rnd, fmt.Sprintf("w%d-%d", i, n))
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 1<<32))
	for !c.over() {
		time.Sleep(time.Duration(200+rnd.IntN(2500)) * time.Millisecond)
		c.kill(syscall.SIGKILL)
		c.kills++
		c.start()
	}
	lives.Wait()
	c.settle()
	t.Logf("%d lives of %d containers at once, %d daemons and %d run loops killed, %d ends lost", c.lives, many, c.kills, c.loops, c.lost)
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(log); err != nil || len(b) > 0 {
		t.Errorf("the daemons say (%v):\n%s", err, b)
	}
}

// settle looks what is left when all is over.
func (c *chaos) settle() {
	t := c.t
	first := c.countDescriptors()
	for i := range 10 { // once more, undisturbed: the daemon is to keep nothing of them
		c.mu.Lock()
		c.stopped = false
		c.mu.Unlock()
		c.life(rand.New(rand.NewPCG(7, uint64(i))), fmt.Sprintf("calm-%d", i))
	}
	for end := time.Now().Add(20 * time.Second); c.countDescriptors() > first; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the daemon had %d descriptors and has %d", first, c.countDescriptors())
			break
		}
	}
	c.kill(syscall.SIGTERM)
	e := openEngine(t, c.dir, nil)
	list, err := e.ListContainers(t.Context(), api.ListOptions{All: true})
	if err != nil || len(list) > 0 {
		t.Errorf("containers are left: %+v, %v", list, err)
	}
	c.checkEvents(e)
	closeClean(t, e)
	out, err := exec.Command("ps", "axww", "-o", "args").Output()
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, chaosMark(c.dir)) {
			t.Errorf("a process is left: %s", line)
		}
	}
	for _, sub := range []string{"run", "state/sites", "state/logs"} {
		entries, err := os.ReadDir(filepath.Join(c.dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, entry := range entries {
			t.Errorf("%s/%s is left", sub, entry.Name())
		}
	}
}

// checkEvents looks that what happened to each container was told once, and in order.
func (c *chaos) checkEvents(e api.Engine) {
	told := map[string]string{}
	for ev, err := range e.Events(c.t.Context(), api.EventOptions{Filters: []string{"type=container"}}) {
		if err != nil {
			c.t.Fatal(err)
		}
		switch ev.Action {
		case api.EventCreate, api.EventStart, api.EventExit, api.EventLost, api.EventRemove:
			told[ev.Object] += ev.Action + " "
		}
	}
	for _, id := range c.ids {
		switch told[id] {
		case "create start exit remove ", "create start lost remove ":
		case "create exit remove ": // main was not started
		default:
			c.t.Errorf("of container %s is told: %s", id, told[id])
		}
	}
}

// chaosMark is in the arguments of what the mains of a chaos leave running.
func chaosMark(dir string) string { return "chaos" + filepath.Base(dir) }

func (c *chaos) countDescriptors() int {
	c.t.Helper()
	path := filepath.Join(c.dir, "descriptors")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		c.t.Fatal(err)
	}
	n := 0
	until(c.t, "the number of descriptors", func() bool {
		b, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(b, &n) == nil
	})
	return n
}
