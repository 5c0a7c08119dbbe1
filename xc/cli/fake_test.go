package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/xc/cli"
)

// process is what a program of the fake engine sees.
type process struct {
	args                  []string
	stdin, stdout, stderr *os.File // nil where none was given
	signals               chan string
	sizes                 chan api.Size
}

type program func(p *process) api.Exit

// container is one of the fake engine.
type container struct {
	api.Container
	spec    api.ContainerSpec
	p       *process
	started chan struct{}
	done    chan struct{}
}

// fake is an engine in memory whose containers are functions. It is reached
// through the real wire.
type fake struct {
	t        *testing.T
	programs map[string]program
	starting func()                                        // by RunContainer, before it tells that the program runs
	pulling  func(show func(api.PullProgress) error) error // what PullImage does; nil: one small layer
	saving   func(ctx context.Context) error               // what SaveImages does; nil: a word about each image

	mu         sync.Mutex
	containers []*container
	images     []api.Image
	volumes    []api.Volume
	channels   []api.Channel
	remote     map[string]api.Image // what can be pulled
	calls      []string
	servers    []func() // each cuts a connection off
	refuse     error    // of Dial
	logs       []api.LogEntry
	logOptions api.LogOptions
	networks   []api.Network
	imported   api.ImportSpec
	archive    string
	committed  api.CommitSpec
	imageCheck api.ImageCheck
	loaded     api.LoadSpec
	checks     []api.Check
	root       string
	events     []api.Event
	eventCalls []api.EventOptions
	read       int64 // by containers
	stuck      bool  // a part of what is to be pruned cannot be removed

	waits, attached chan struct{} // told of each call
	detached        chan api.Exit // of commands
}

func newFake(t *testing.T) *fake {
	return &fake{
		t: t, remote: map[string]api.Image{}, programs: map[string]program{},
		waits: make(chan struct{}, 16), attached: make(chan struct{}, 16), detached: make(chan api.Exit, 16), imageCheck: api.ImageCheck{Images: 2, Blobs: 5},
		images: []api.Image{{
			ID: "sha256:" + strings.Repeat("ab", 32), Digest: "sha256:" + strings.Repeat("cd", 32),
			Names: []string{"docker.io/library/alpine:3"}, Platform: "linux/amd64", Size: 7_654_321,
		}},
	}
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// noted tells whether a call was made.
func (f *fake) noted(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

// made returns the calls.
func (f *fake) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// first is the spec of the first container.
func (f *fake) first() api.ContainerSpec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.containers[0].spec
}

// connection is what xc/main.go makes of a dialled socket.
type connection struct{ api.EngineClient }

func (c connection) Close() error { return c.C.Close() }

func (f *fake) dial(context.Context, string) (api.Engine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	ours, theirs, err := ipc.Pair()
	if err != nil {
		return nil, err
	}
	handle := api.EngineHandler(f)
	s := &ipc.Server{Handler: func(ctx context.Context, r *ipc.Request) (any, []*os.File, error) {
		defer f.sync()
		return handle(ctx, r)
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.ServeConn(ctx, theirs)
	}()
	f.t.Cleanup(func() { cancel(); <-ended })
	f.servers = append(f.servers, cancel)
	return connection{api.EngineClient{C: ipc.NewClient(ours, ipc.Limits{})}}, nil
}

// sync orders what the engine does in a call and what the test does after its
// answer: a socket between the two is no order to the race detector.
func (f *fake) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

// hangUp ends all connections, as a daemon that dies does.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cut := range f.servers {
		cut()
	}
	f.servers = nil
}

func (f *fake) find(name string) (*container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if c.Name == name || c.ID == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("container %q: %w", name, fs.ErrNotExist)
}

func (f *fake) image(name string) (api.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, img := range f.images {
		for _, n := range img.Names {
			if strings.HasSuffix(n, "/"+name) || n == name {
				return img, nil
			}
		}
	}
	return api.Image{}, fmt.Errorf("image %s: %w on this host", name, fs.ErrNotExist)
}

func (f *fake) CreateContainer(_ context.Context, spec api.ContainerSpec) (api.Container, error) {
	f.note("create")
	if spec.Image != "" {
		if _, err := f.image(spec.Image); err != nil {
			return api.Container{}, fmt.Errorf("create container: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.containers)
	c := &container{spec: spec, started: make(chan struct{}), done: make(chan struct{})}
	for i := range c.spec.Mounts { // lent, and gone after the call
		if m := c.spec.Mounts[i]; (m.Opened != nil) != (m.Type == api.MountBind) {
			f.t.Errorf("mount %s: only a bind has a descriptor", c.spec.Mounts[i].Source)
		}
		c.spec.Mounts[i].Opened = nil
	}
	c.Container = api.Container{
		ID: fmt.Sprintf("c%011d", n), Name: spec.Name, Image: spec.Image, Args: spec.Command, Terminal: spec.Terminal, OpenStdin: spec.OpenStdin,
		State: api.StateCreated, Network: "none", Created: time.Now().Add(-5 * time.Minute), AutoRm: spec.AutoRemove,
	}
	if c.Name == "" {
		c.Name = fmt.Sprintf("made-up-%d", n)
	}
	f.containers = append(f.containers, c)
	return c.Container, nil
}

func (f *fake) StartContainer(_ context.Context, name string, opt api.StartOptions) error {
	f.note("start")
	c, err := f.find(name)
	if err != nil {
		return err
	}
	if c.State == api.StateRunning {
		return fmt.Errorf("start container %s: %w: it is running", c.Name, fs.ErrExist)
	}
	run, err := f.program(c.Args)
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.Name, err)
	}
	c.p = newProcess(c.Args, opt.Stdio)
	if opt.Size != (api.Size{}) {
		c.p.sizes <- opt.Size
	}
	f.setState(c, api.StateRunning, nil)
	close(c.started)
	go func() {
		exit := run(c.p)
		exit.At = time.Now()
		f.setState(c, api.StateExited, &exit)
		c.p.close()
		close(c.done)
	}()
	return nil
}

func (f *fake) RunContainer(ctx context.Context, spec api.ContainerSpec, opt api.StartOptions, progress func(api.RunProgress) error) (api.Exit, error) {
	c, err := f.CreateContainer(ctx, spec)
	if err == nil {
		err = progress(api.RunProgress{ID: c.ID, State: api.StateCreated})
	}
	if err == nil {
		err = f.StartContainer(ctx, c.ID, opt)
	}
	if err == nil && f.starting != nil {
		f.starting()
	}
	if err == nil {
		err = progress(api.RunProgress{ID: c.ID, State: api.StateRunning})
	}
	if err != nil {
		return api.Exit{}, err
	}
	return f.WaitContainer(ctx, c.ID, api.WaitOptions{})
}

func (f *fake) setState(c *container, state string, exit *api.Exit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.State, c.Exit = state, exit
	if state == api.StateRunning {
		c.Started = time.Now().Add(-time.Minute)
	}
}

func (f *fake) program(args []string) (program, error) {
	if len(args) == 0 {
		return nil, errors.New("no command")
	}
	switch args[0] {
	case "/etc/passwd":
		return nil, api.ErrNotExecutable
	case "broken":
		return nil, errors.New("the disk\nis full")
	}
	run, ok := f.programs[args[0]]
	if !ok {
		return nil, api.ErrCommandNotFound
	}
	return run, nil
}

func newProcess(args []string, s api.Stdio) *process {
	p := &process{args: args, signals: make(chan string, 8), sizes: make(chan api.Size, 8)}
	for _, f := range []struct {
		to   **os.File
		from *os.File
	}{{&p.stdin, s.Stdin}, {&p.stdout, s.Stdout}, {&p.stderr, s.Stderr}} {
		if f.from != nil {
			*f.to, _ = ipc.Dup(f.from)
		}
	}
	return p
}

func (p *process) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

func (f *fake) WaitContainer(ctx context.Context, name string, opt api.WaitOptions) (api.Exit, error) {
	c, err := f.find(name)
	if err != nil {
		return api.Exit{}, err
	}
	f.note("wait")
	if opt.Condition != "" {
		f.note("wait %s %s", c.Name, opt.Condition)
	}
	f.waits <- struct{}{}
	select {
	case <-c.done:
		f.mu.Lock()
		defer f.mu.Unlock()
		return *c.Exit, nil
	case <-ctx.Done():
		return api.Exit{}, ctx.Err()
	}
}

func (f *fake) StopContainer(ctx context.Context, name string, opt api.StopOptions) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	timeout := -1
	if opt.Timeout != nil {
		timeout = *opt.Timeout
	}
	f.note("stop %s %q %d", c.Name, opt.Signal, timeout)
	return nil
}

func (f *fake) RestartContainer(ctx context.Context, name string, opt api.StopOptions) error {
	if err := f.StopContainer(ctx, name, opt); err != nil {
		return err
	}
	f.note("restarted")
	return nil
}

func (f *fake) RenameContainer(_ context.Context, name, to string) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Name = to
	return nil
}

func (f *fake) ContainerProcesses(_ context.Context, name string) ([]api.Process, error) {
	if _, err := f.find(name); err != nil {
		return nil, err
	}
	started := time.Now().Add(-2 * time.Hour)
	return []api.Process{
		{PID: 7, Parent: 1, State: "S", Threads: 2, CPU: 1.5, Memory: 2_000_000, Started: started, Name: "sh", Args: []string{"sh", "-c", "a\x1bb"}},
		{PID: 9, Parent: 7, UID: 5, State: "Z", Threads: 1, Started: started, Name: "true"},
	}, nil
}

// ContainerUsage says that a megabyte was read since it was last asked. db is on a
// system that tells rates, and dark on one that tells neither.
func (f *fake) ContainerUsage(_ context.Context, name string) (api.Usage, error) {
	c, err := f.find(name)
	if err != nil {
		return api.Usage{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read += 1_000_000
	u := api.Usage{CPUTime: 1.5, Memory: 2_000_000, Processes: 2, Threads: 3, Read: f.read, Written: 7}
	switch c.Name {
	case "db":
		u.Rates = &api.Rates{CPU: 12.5, Read: 5000, Written: 6000}
	case "dark":
		u.Missing = map[string]string{"io": "nobody counts"}
	}
	return u, nil
}

func (f *fake) KillContainer(_ context.Context, name, signal string) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	f.note("kill %s %s", c.Name, signal)
	if c.p == nil {
		return fmt.Errorf("container %s does not run", name)
	}
	c.p.signals <- signal
	return nil
}

func (f *fake) RemoveContainer(_ context.Context, name string, opt api.RemoveOptions) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	f.note("rm %s %v", c.Name, opt.Force)
	if c.Name == "stuck" {
		return fmt.Errorf("remove container %s: its journal: %w", name, fs.ErrNotExist)
	}
	return nil
}

func (f *fake) PruneContainers(context.Context) (api.PrunedContainers, error) {
	f.note("container prune")
	if f.stuck {
		return api.PrunedContainers{Names: []string{"old"}, Failed: []string{"remove container stuck: it does not go", "remove container other: nor does it"}, Bytes: 1000}, nil
	}
	return api.PrunedContainers{Names: []string{"old", "older"}, Bytes: 3000}, nil
}

func (f *fake) ExecContainer(_ context.Context, name string, opt api.ExecOptions) (api.Exit, error) {
	if _, err := f.find(name); err != nil {
		return api.Exit{}, err
	}
	run, err := f.program(opt.Args)
	if err != nil {
		return api.Exit{}, err
	}
	p := newProcess(opt.Args, opt.Stdio)
	if opt.Detach {
		f.note("detached tty=%v id=%v size=%v", opt.Terminal, opt.ID != "", opt.Size)
		go func() {
			defer p.close()
			f.detached <- run(p)
		}()
		return api.Exit{}, nil
	}
	defer p.close()
	return run(p), nil
}

func (f *fake) AttachContainer(_ context.Context, name string, opt api.AttachOptions) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	if opt.Stdio.Stdin != nil && !c.Terminal && !c.OpenStdin {
		return fmt.Errorf("attach stdin: %w", fs.ErrInvalid)
	}
	f.note("attach stdin=%v", opt.Stdio.Stdin != nil)
	if opt.Replay {
		fmt.Fprint(opt.Stdio.Stdout, "earlier\n")
	}
	out, err := ipc.Dup(opt.Stdio.Stdout)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprint(out, "attached\n")
	f.attached <- struct{}{}
	<-c.done
	fmt.Fprint(out, "last words\n")
	return nil
}

// The root of a fake container is the directory f.root.

func (f *fake) ResizeContainer(_ context.Context, name, _ string, size api.Size) error {
	c, err := f.find(name)
	if err == nil {
		c.p.sizes <- size
	}
	return err
}

func (f *fake) ContainerLogs(_ context.Context, _ string, opt api.LogOptions, emit func(api.LogEntry) error) error {
	f.mu.Lock()
	f.logOptions = opt
	f.mu.Unlock()
	for _, l := range f.logs {
		if err := emit(l); err != nil {
			return err
		}
	}
	return nil
}

// Events gives one event to a call, and then the engine dies, until there are no
// more.
func (f *fake) Events(_ context.Context, opt api.EventOptions) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		f.mu.Lock()
		f.eventCalls = append(f.eventCalls, opt)
		var next []api.Event
		if len(f.events) > 0 {
			next, f.events = f.events[:1], f.events[1:]
		}
		left := len(f.events)
		f.mu.Unlock()
		for _, ev := range next {
			if !yield(ev, nil) {
				return
			}
		}
		if left > 0 {
			time.Sleep(20 * time.Millisecond) // for what was sent to be read
			f.hangUp()
			yield(api.Event{}, context.Canceled)
		}
	}
}

func (f *fake) ListContainers(_ context.Context, opt api.ListOptions) ([]api.Container, error) {
	f.note("ps %v %q", opt.All, opt.Filters)
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []api.Container
	for _, c := range f.containers {
		if opt.All || c.State == api.StateRunning {
			list = append(list, c.Container)
		}
	}
	return list, nil
}

func (f *fake) InspectContainer(_ context.Context, name string) (api.Container, error) {
	c, err := f.find(name)
	if err != nil {
		return api.Container{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return c.Container, nil
}

func (f *fake) CheckSystem(context.Context) ([]api.Check, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.checks), nil
}

func (f *fake) Info(context.Context) (api.Info, error) {
	return api.Info{Tag: "abcdef", Storage: "zfs", Running: 1, Warnings: []string{"no pf"}}, nil
}

func (f *fake) Version(context.Context) (api.Version, error) {
	return api.Version{Version: "1.2.3", Revision: 1, Go: "go1.26", Platform: "freebsd/amd64"}, nil
}

// result is what one command line has done.
type result struct {
	code        int
	out, errout string
}

// app makes an xc with files as its streams.
func (f *fake) app(t *testing.T, stdin string) (*cli.App, func(code int) result) {
	t.Helper()
	file := func(content string) *os.File {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		if _, err := file.WriteString(content); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		return file
	}
	a := &cli.App{
		Dial: f.dial, Lost: lost, Socket: "/run/test.sock", Version: "0.9",
		Stdin: file(stdin), Stdout: file(""), Stderr: file(""),
	}
	return a, func(code int) result {
		f.sync()
		out, _ := os.ReadFile(a.Stdout.Name())
		errout, _ := os.ReadFile(a.Stderr.Name())
		return result{code, string(out), string(errout)}
	}
}

func lost(err error) bool {
	return errors.Is(err, ipc.ErrLost) || ipc.CodeOf(err) == ipc.CodeClosed || ipc.CodeOf(err) == ipc.CodeCanceled
}

// xc runs one command line.
func (f *fake) xc(t *testing.T, args ...string) result {
	t.Helper()
	a, done := f.app(t, "")
	return done(a.Run(t.Context(), args))
}
