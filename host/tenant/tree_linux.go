package tenant

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/linux/pidfd"
	"golang.org/x/sys/unix"
)

// tree is a process of a tenant and its descendants.
type tree struct {
	space  *space
	pid    int // on the host
	handle *pidfd.Handle
	exited chan struct{} // closed when main's status is known
	status syscall.WaitStatus

	// none is set under the space's mutex once the whole pid namespace was seen
	// empty after the start.
	none bool

	name  string        // of group
	group *cgroup.Group // nil without cgroup2: the tree is the pid namespace
	once  sync.Once
	done  error // of Close
}

// Pid is main's pid on the host.
func (t *tree) Pid() int { return t.pid }

// Main returns main's status.
func (t *tree) Main(ctx context.Context) (syscall.WaitStatus, error) {
	select {
	case <-t.exited:
		return t.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.space.gone:
	}
	select {
	case <-t.exited: // both were so
		return t.status, nil
	default:
		return 0, fmt.Errorf("status of process %d: %w", t.pid, errGone)
	}
}

// Empty returns once main and all its descendants are gone.
//
// What has lost its parent is a child of the stub, and so is the last process
// of the tree: the tree can only become empty when the stub reaps. The group's
// own notice, which the kernel may delay by 10 ms, covers a kernel that counts
// a process out of its group after it could be waited for.
func (t *tree) Empty(ctx context.Context) error {
	select {
	case <-t.exited:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.space.gone:
		return nil // with pid 1 the kernel has killed and reaped all
	}
	watch, stop := context.WithCancel(ctx)
	notice := make(chan error, 1)
	var watcher sync.WaitGroup
	defer watcher.Wait() // it holds descriptors until then
	defer stop()
	watching := false
	for {
		reaped, empty, err := t.census()
		if empty || err != nil {
			return err
		}
		if t.group != nil && !watching {
			watching = true
			watcher.Go(func() { notice <- t.group.WaitEmpty(watch) })
		}
		select {
		case <-reaped:
		case err := <-notice:
			watching = false
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-t.space.gone:
			return nil
		}
	}
}

// census tells whether nothing of the tree lives, and what to wait for if not.
func (t *tree) census() (reaped <-chan struct{}, empty bool, err error) {
	t.space.mu.Lock()
	reaped, none := t.space.reaped, t.none
	t.space.mu.Unlock()
	if none || t.group == nil {
		return reaped, none, nil
	}
	full, err := t.group.Populated()
	return reaped, !full, err
}

// PIDs lists the living members on the host.
func (t *tree) PIDs() ([]int, error) {
	if t.group != nil {
		return t.group.Members()
	}
	return descendants(t.space.pid)
}

// Signal signals main.
func (t *tree) Signal(sig syscall.Signal) error { return t.handle.Signal(sig) }

// Kill sends SIGKILL to all members.
func (t *tree) Kill() error {
	if t.group == nil {
		return t.space.Kill()
	}
	if err := t.group.Kill(); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return t.killEach()
}

// killEach serves a kernel without cgroup.kill. What forks meanwhile is found
// by the next round; the group is empty in the end, or a round finds nothing new.
func (t *tree) killEach() error {
	seen := map[int]bool{}
	for fresh := true; fresh; {
		pids, err := t.group.Members()
		if err != nil {
			return err
		}
		fresh = false
		for _, pid := range pids {
			if seen[pid] {
				continue
			}
			seen[pid], fresh = true, true
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
	}
	return nil
}

// Close forgets the tree.
func (t *tree) Close() error {
	t.once.Do(func() { t.done = errors.Join(t.handle.Close(), t.forget()) })
	return t.done
}

// forget removes the tree's group if it is empty; else the tenant's Close will.
func (t *tree) forget() error {
	if t.group == nil {
		return nil
	}
	s := t.space
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
	if s.groups[t.name] == nil {
		return nil // removed with the tenant
	}
	if err := unix.Rmdir(t.name); err == unix.EBUSY {
		return nil
	} else if err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove cgroup: %w", &os.PathError{Op: "rmdir", Path: t.name, Err: err})
	}
	delete(s.groups, t.name)
	return t.group.Close()
}
