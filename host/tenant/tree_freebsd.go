package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/joyboyid/xc/kqueue"
)

// tree is a process of a jail and its descendants.
type tree struct {
	cell   *cell
	cmd    *exec.Cmd
	tree   *kqueue.Tree
	exited chan struct{} // closed when main's status is known
	status syscall.WaitStatus
	empty  chan struct{} // closed when nothing of the tree lives, or err is set
	err    error
}

// follow reads the tree's events until it is empty, also when nobody asks: the
// tenant's Kill and Close need to know.
func (t *tree) follow() {
	known := false
	for {
		e, err := t.tree.Next(context.Background())
		if err != nil {
			t.end(known, err)
			return
		}
		if e.Kind == kqueue.Exit && e.PID == t.cmd.Process.Pid && !known {
			t.status, known = e.Status, true
			close(t.exited)
		}
	}
}

// end notes that the tree is empty, or can no longer be followed.
func (t *tree) end(known bool, err error) {
	if !errors.Is(err, io.EOF) {
		t.err = fmt.Errorf("follow process %d: %w", t.cmd.Process.Pid, err)
	}
	if !known && t.err == nil {
		// Its exit note was lost; it was waited for all the same.
		if st := t.cmd.ProcessState; st != nil {
			t.status, known = st.Sys().(syscall.WaitStatus), true
			close(t.exited)
		}
	}
	if !known && t.err == nil {
		t.err = fmt.Errorf("status of process %d is lost", t.cmd.Process.Pid)
	}
	t.cell.mu.Lock()
	delete(t.cell.trees, t)
	t.cell.mu.Unlock()
	close(t.empty)
}

// Pid is main's pid.
func (t *tree) Pid() int { return t.cmd.Process.Pid }

// Main returns main's status.
func (t *tree) Main(ctx context.Context) (syscall.WaitStatus, error) {
	select {
	case <-t.exited:
		return t.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.empty:
	}
	select {
	case <-t.exited: // both were so
		return t.status, nil
	default:
		return 0, t.err
	}
}

// Empty returns once main and all its descendants are gone.
func (t *tree) Empty(ctx context.Context) error {
	select {
	case <-t.empty:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PIDs lists the living members.
func (t *tree) PIDs() ([]int, error) { return t.tree.PIDs(), nil }

// Signal signals main.
func (t *tree) Signal(sig syscall.Signal) error {
	select {
	case <-t.exited:
		return os.ErrProcessDone
	default:
		return t.cmd.Process.Signal(sig)
	}
}

// Kill sends SIGKILL to all members.
func (t *tree) Kill() error {
	if err := t.tree.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Close forgets the tree, which is followed on for the tenant's sake.
func (t *tree) Close() error { return nil }
