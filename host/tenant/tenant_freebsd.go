package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/kqueue"
	"github.com/joyboyid/xc/site/runloop"
)

// Main is the helper that Limited names. FreeBSD has the reaper of procctl(2)
// and needs no stub.
func Main() bool { return becomeLimited() }

// GroupEnv is of Linux.
const GroupEnv = "XC_CGROUP"

// Prepare returns Open: everything here depends on the configuration.
func Prepare() runloop.Opener { return Open }

// cell is a tenant of FreeBSD: a jail that exists already.
type cell struct {
	id      string
	jail    int
	path    string
	tracker *kqueue.Tracker

	// starting is held while a name is looked up, a process started, or told why it
	// was not: directories are opened for that, and jail_attach(2) refuses a process
	// in which one is open.
	starting sync.Mutex

	mu    sync.Mutex
	trees map[*tree]bool // not empty yet, forgotten or not
}

// Open makes a tenant of a jail. From then on the calling process is the reaper
// of its descendants, must start none by other means, and must have no directory
// open during a Start.
func Open(config json.RawMessage) (runloop.Tenant, error) {
	c, err := parse(config)
	if err != nil {
		return nil, err
	}
	if c.Jail <= 0 || c.Path == "" {
		return nil, fmt.Errorf("tenant %s: needs the number of a jail and the path of its root", c.ID)
	}
	if c.Root.Kind != "" || len(c.Mounts) > 0 || c.Network != "" || c.Cgroup != "" || c.Hostname != "" || c.ReadOnly || c.ShmSize != 0 || c.Limited != "" || len(c.Join) > 0 {
		return nil, fmt.Errorf("tenant %s: root, mounts, network and the like belong to the jail here", c.ID)
	}
	tr, err := kqueue.NewTracker()
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", c.ID, err)
	}
	return &cell{id: c.ID, jail: c.Jail, path: c.Path, tracker: tr, trees: map[*tree]bool{}}, nil
}

// Start starts p as a tree of its own.
func (c *cell) Start(p *runloop.Process) (runloop.Tree, error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	to, err := c.lookup(p)
	if err != nil {
		return nil, err
	}
	cmd := command(to, c.jail, p)
	// As good as private: nothing else of this process makes files meanwhile.
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	if len(p.Ulimits) > 0 {
		return c.startLimited(cmd, to, p)
	}
	t, err := c.track(cmd)
	if err != nil {
		return nil, c.startError(to, err)
	}
	return t, nil
}

// track starts a command and follows it.
func (c *cell) track(cmd *exec.Cmd) (*tree, error) {
	kt, err := c.tracker.Start(cmd)
	if err != nil {
		return nil, err
	}
	t := &tree{cell: c, cmd: cmd, tree: kt, exited: make(chan struct{}), empty: make(chan struct{})}
	c.mu.Lock()
	c.trees[t] = true
	c.mu.Unlock()
	go t.follow()
	return t, nil
}

func (c *cell) lookup(p *runloop.Process) (*target, error) {
	root, err := inroot.Open(c.path)
	if err != nil {
		return nil, newError("root", c.path, err)
	}
	to, err := lookup(root, p.Args, p.Env, p.Dir, p.User)
	return to, errors.Join(err, root.Close())
}

// command is what os/exec needs to start the process; jail_attach(2) comes
// before all else, so that names are those inside.
func command(to *target, jail int, p *runloop.Process) *exec.Cmd {
	groups := make([]uint32, len(to.groups))
	for i, g := range to.groups {
		groups[i] = uint32(g)
	}
	return &exec.Cmd{
		Path: to.path, Args: to.args, Env: append([]string{}, to.env...), Dir: to.dir,
		Stdin: p.Files[0], Stdout: p.Files[1], Stderr: p.Files[2],
		SysProcAttr: &syscall.SysProcAttr{
			Jail: jail, Setsid: true, Setctty: p.Terminal,
			Credential: &syscall.Credential{Uid: uint32(to.uid), Gid: uint32(to.gid), Groups: groups},
		},
	}
}

// startError tells what execve(2) says of the program from what came before it.
func (c *cell) startError(to *target, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.ENOENT:
		return &Error{Op: "exec", Object: to.path, Errno: errno, Msg: "its interpreter or loader does not exist in the root"}
	case syscall.ENOEXEC:
		if why := c.unknownBrand(to.path); why != "" {
			return &Error{Op: "exec", Object: to.path, Errno: errno, Msg: why}
		}
	case syscall.EPERM, syscall.EINVAL:
		// Not execve(2)'s: it says EACCES and ENOEXEC. No errno, so that it is not
		// taken for a program that may not be executed.
		return &Error{Op: "start " + to.path + " in jail", Msg: err.Error()}
	}
	return newError("exec", to.path, err)
}

// unknownBrand explains why the kernel takes an ELF file for no program of any
// system it knows. Static programs for Linux do not say what they are for
// (imgact_elf.c, __elfN(get_brandinfo)).
func (c *cell) unknownBrand(path string) string {
	root, err := inroot.Open(c.path)
	if err != nil {
		return ""
	}
	defer root.Close()
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, brandSize)
	if _, err := io.ReadFull(f, head); err != nil || !unbranded(head) {
		return ""
	}
	return whyUnbranded(Linuxulator())
}

// Linuxulator tells whether the kernel runs programs for Linux of this architecture,
// by linux64.ko. The sysctls below compat.linux are there with linprocfs(5) alone.
func Linuxulator() bool {
	_, err := unix.SysctlUint32("kern.features.linux64")
	return err == nil
}

// Kill sends SIGKILL to every process that was started here and to all they
// have forked.
func (c *cell) Kill() error {
	var err error
	for _, t := range c.living() {
		err = errors.Join(err, t.Kill())
	}
	return err
}

func (c *cell) living() []*tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*tree, 0, len(c.trees))
	for t := range c.trees {
		out = append(out, t)
	}
	return out
}

// closeTime bounds how long killed processes may take to be gone.
const closeTime = 10 * time.Second

// Close kills all processes and waits until they are gone.
func (c *cell) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	c.starting.Lock()
	defer c.starting.Unlock()
	err := c.Kill()
	for _, t := range c.living() {
		err = errors.Join(err, t.Empty(ctx))
	}
	if err = errors.Join(err, c.tracker.Close()); err != nil {
		return fmt.Errorf("close tenant %s: %w", c.id, err)
	}
	return nil
}
