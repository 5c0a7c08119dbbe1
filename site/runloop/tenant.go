package runloop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/joyboyid/xc/site/control"
)

// Tenant is the place the processes of a site run in, as the operating
// system has it: a jail, or a set of namespaces. Package host/tenant
// implements it for this machine.
type Tenant interface {
	// Start starts p as the root of a process tree of its own. An error
	// matches fs.ErrNotExist when the program, directory or user does not
	// exist in the root, and fs.ErrPermission when the program cannot be
	// executed. The files stay the caller's to close.
	Start(p *Process) (Tree, error)
	// Kill sends SIGKILL to every process of the tenant.
	Kill() error
	// Close ends the tenant: no process of it lives when Close returns.
	Close() error
}

// Tree is a process and all its descendants.
type Tree interface {
	// Pid is the first process's pid on the host.
	Pid() int
	// Main returns the first process's status once it has exited.
	Main(ctx context.Context) (syscall.WaitStatus, error)
	// Empty returns nil once the first process and all its descendants are
	// gone: never early, and confirmed by a census.
	Empty(ctx context.Context) error
	// PIDs lists the living members on the host.
	PIDs() ([]int, error)
	// Signal signals the first process.
	Signal(sig syscall.Signal) error
	// Kill sends SIGKILL to all members.
	Kill() error
	// Close forgets the tree; its processes go on.
	Close() error
}

// Process is a process to start in a tenant. All names are resolved inside
// the tenant's root.
type Process struct {
	Args []string // Args[0] is looked up in PATH of Env unless it has a slash
	Env  []string // complete; HOME is added from the root's /etc/passwd when missing
	Dir  string   // absolute; "/" when empty
	User string   // name|uid[:group|gid]; "0:0" when empty
	// Files become descriptors 0, 1 and 2. None is nil.
	Files [3]*os.File
	// Terminal: Files[0] is the tty that becomes the controlling terminal of
	// a session of the process's own.
	Terminal bool
	// Ulimits are in force before the program's first instruction.
	Ulimits []control.Ulimit
}

// opening is a tenant that is being opened while the run loop already serves.
type opening struct {
	ready  chan struct{} // closed when tenant is set
	tenant Tenant
}

// open opens the tenant. What goes wrong Start tells the starter.
func (o *opening) open(open Opener, config json.RawMessage) {
	defer close(o.ready)
	t, err := open(config)
	if err != nil {
		t = noTenant{fmt.Errorf("open tenant: %w", err)}
	}
	o.tenant = t
}

// get waits for the tenant.
func (o *opening) get() Tenant {
	<-o.ready
	return o.tenant
}

// noTenant stands in for a tenant that could not be opened.
type noTenant struct{ err error }

func (t noTenant) Start(*Process) (Tree, error) { return nil, t.err }
func (noTenant) Kill() error                    { return nil }
func (noTenant) Close() error                   { return nil }
