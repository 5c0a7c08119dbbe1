package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/linux/pidfd"
	"github.com/joyboyid/xc/linux/spawn"
	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// space is a tenant of Linux: the run loop's side of a stub.
type space struct {
	id      string
	base    string // directory for the groups of trees; empty without cgroup2
	limited string // where they are instead, when they are limited
	guard   *guard
	pid     int // of the stub, on the host
	stub    *pidfd.Handle
	wire    *wire
	dead    chan error    // that the stub was waited for
	gone    chan struct{} // closed when the stub has said its last word

	mu      sync.Mutex
	trees   map[int]*tree // by pid in the tenant, until main's status is known
	all     map[*tree]bool
	groups  map[string]*cgroup.Group // made and not removed
	serial  int
	reaped  chan struct{} // closed and replaced when a process was reaped
	closing sync.Once
	closed  error
}

// startStub starts this program again as pid 1 of new namespaces.
func startStub(c *Config) (*space, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	w, err := newWire(ours)
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	s := &space{
		id: c.ID, base: c.Cgroup, wire: w, dead: make(chan error, 1), gone: make(chan struct{}), reaped: make(chan struct{}),
		trees: map[int]*tree{}, all: map[*tree]bool{}, groups: map[string]*cgroup.Group{},
	}
	o := spawn.Options{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	if c.Cgroup != "" {
		g, err := cgroup.Open(c.Cgroup)
		if err != nil {
			return nil, errors.Join(err, ours.Close())
		}
		defer g.Close()
		o.Cgroup = g.FD()
	}
	started := make(chan error)
	go s.attend(o, int(theirs.Fd()), started)
	if err := <-started; err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	go s.listen()
	return s, nil
}

// attend starts the stub and waits for its end, on a thread that lives as long:
// the signal of a parent's death is sent when the thread ends that was the
// parent (prctl(2), PR_SET_PDEATHSIG), and threads of the runtime may end.
func (s *space) attend(o spawn.Options, socket int, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var p spawn.Program
	p.Call("setsid", unix.SYS_SETSID)
	// The stub also sees the socket close, unless it is stopped or starved.
	p.Call("parent death signal", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	p.Call("dup3", unix.SYS_DUP3, uintptr(socket), stubSocket, 0)
	p.Call("dup3", unix.SYS_DUP3, 2, 1, 0)
	pid, fd, err := p.Start(o, "/proc/self/exe", []string{stubName}, stubEnv)
	if err != nil {
		started <- err
		return
	}
	s.pid = pid
	if s.stub, err = pidfd.New(fd); err != nil {
		err = errors.Join(err, unix.Kill(pid, unix.SIGKILL))
	}
	started <- err
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err != unix.EINTR {
			s.dead <- err
			return
		}
	}
}

// stubEnv gives each of the stub's two goroutines a processor of its own, so
// that neither waits for the runtime to take one back from the other's system call.
var stubEnv = []string{"GOMAXPROCS=2"}

// socketPair makes the socket; the second end is above the standard descriptors.
func socketPair() (ours, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if p[1] <= 2 {
		high, err := unix.FcntlInt(uintptr(p[1]), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			closeAll(p[:])
			return nil, nil, err
		}
		unix.Close(p[1])
		p[1] = high
	}
	// To be told the pids of processes, translated.
	err = errors.Join(unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1), unix.SetNonblock(p[0], true))
	if err != nil {
		closeAll(p[:])
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "stub"), os.NewFile(uintptr(p[1]), "run loop"), nil
}

// listen takes what the stub says until it ends.
func (s *space) listen() {
	defer close(s.gone)
	for {
		m, r, err := s.wire.read()
		if err != nil {
			s.wire.fail(err)
			return
		}
		if m.answer {
			if m.pid != 0 {
				s.register(m.pid) // before a report that follows it is read
			}
			s.wire.answers <- answer{m, r}
			continue
		}
		closeAll(r.fds)
		s.report(m)
	}
}

// register notes a start.
func (s *space) register(pid int) {
	t := s.wire.starting.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trees[pid] = t
	s.all[t] = true
}

// report notes who has ended.
func (s *space) report(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range m.exits {
		if t := s.trees[e.pid]; t != nil {
			delete(s.trees, e.pid)
			t.status = e.status
			close(t.exited)
		}
	}
	if m.none {
		for t := range s.all {
			t.none = true
		}
		clear(s.all)
	}
	close(s.reaped)
	s.reaped = make(chan struct{})
}

// Kill sends SIGKILL to every process of the tenant but its pid 1.
func (s *space) Kill() error {
	if _, err := s.wire.call(request{killAll: true}, nil, nil); err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("kill tenant %s: %w", s.id, err)
	}
	return nil
}

// Terminal opens a pseudo-terminal of the tenant, whose name is good inside.
// Without one, the tty of a [runloop.Process] may be any other of the host.
func (s *space) Terminal() (pty, tty *os.File, err error) {
	a, err := s.wire.call(request{pty: true}, nil, nil)
	fds := a.r.fds
	if err != nil {
		return nil, nil, fmt.Errorf("terminal of tenant %s: %w", s.id, err)
	}
	if len(fds) != 2 {
		closeAll(fds)
		return nil, nil, fmt.Errorf("terminal of tenant %s: %w", s.id, unix.EBADF)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // for the runtime's poller
		closeAll(fds)
		return nil, nil, fmt.Errorf("terminal of tenant %s: %w", s.id, err)
	}
	return os.NewFile(uintptr(fds[0]), "ptmx"), os.NewFile(uintptr(fds[1]), "tty"), nil
}

// closeTime bounds how long the groups of dead processes may take to be gone.
const closeTime = 10 * time.Second

// Close ends the tenant. Closing twice returns what the first time did.
func (s *space) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *space) close() error {
	// The pid may be nobody's once the stub was waited for, which happens
	// elsewhere; that is told apart by the pidfd.
	err := s.stub.Signal(unix.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	// The kernel lets pid 1 be waited for when all in its namespace are gone.
	err = errors.Join(err, <-s.dead)
	err = errors.Join(err, s.wire.file.Close(), s.stub.Close())
	<-s.gone
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, g := range s.groups {
		err = errors.Join(err, g.Remove(ctx), g.Close())
		delete(s.groups, name)
	}
	if err != nil {
		return fmt.Errorf("close tenant %s: %w", s.id, err)
	}
	return nil
}

// makeGroup makes the group for a tree, or none without cgroup2.
func (s *space) makeGroup() (string, *cgroup.Group, error) {
	if s.base == "" {
		return "", nil, nil
	}
	s.mu.Lock()
	s.serial++
	name := filepath.Join(cmp.Or(s.limited, s.base), "t"+strconv.Itoa(s.serial))
	s.mu.Unlock()
	g, err := cgroup.Make(name)
	if err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[name] = g
	return name, g, nil
}

// Start starts p as a tree of its own.
func (s *space) Start(p *runloop.Process) (runloop.Tree, error) {
	if err := s.guard.allow(p.Files[:]); err != nil {
		return nil, fmt.Errorf("start %s: %w", programName(p), err)
	}
	name, g, err := s.makeGroup()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", programName(p), err)
	}
	t := &tree{space: s, group: g, name: name, exited: make(chan struct{})}
	files := make([]int, 0, 4)
	for _, f := range p.Files {
		files = append(files, int(f.Fd()))
	}
	if g != nil {
		files = append(files, g.FD())
	}
	q := request{start: &startRequest{args: p.Args, env: p.Env, dir: p.Dir, user: p.User, terminal: p.Terminal, ulimits: p.Ulimits}}
	pid, fds, err := s.wire.start(q, files, t)
	runtime.KeepAlive(p)
	if err == nil && len(fds) != 1 {
		closeAll(fds)
		err = unix.EBADF
	}
	if err != nil {
		return nil, errors.Join(err, t.forget())
	}
	t.pid = pid
	if t.handle, err = pidfd.New(fds[0]); err != nil {
		return nil, errors.Join(err, t.forget())
	}
	return t, nil
}

func programName(p *runloop.Process) string {
	if len(p.Args) == 0 {
		return "nothing"
	}
	return p.Args[0]
}
