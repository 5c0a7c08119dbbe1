package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/host"
)

// A container's record has two parts: plan, what it is to be, written once,
// and state, what became of it.

// plan is a ContainerSpec with everything looked up.
type plan struct {
	Spec     api.ContainerSpec `json:"spec"` // as asked for, without open files
	Name     string            `json:"name"`
	Image    string            `json:"image,omitempty"` // reference in full
	ImageID  string            `json:"image_id,omitempty"`
	Manifest string            `json:"manifest,omitempty"` // its digest
	Chain    string            `json:"chain,omitempty"`
	Linux    bool              `json:"linux,omitempty"` // programs for Linux
	Args     []string          `json:"args"`
	Env      []string          `json:"env"`
	WorkDir  string            `json:"work_dir,omitempty"`
	User     string            `json:"user,omitempty"`
	Hostname string            `json:"hostname"`
	Network  string            `json:"network"` // one of package host
	Networks []attachment      `json:"networks,omitempty"`
	Ports    []api.Port        `json:"ports,omitempty"` // to publish, each checked and complete but for what is chosen at a start
	Labels   map[string]string `json:"labels,omitempty"`
	Signal   string            `json:"signal"`  // to stop with
	Timeout  int               `json:"timeout"` // seconds

	Init          []api.Command `json:"init,omitempty"`
	Deinit        []api.Command `json:"deinit,omitempty"`
	DeinitTimeout int           `json:"deinit_timeout,omitempty"` // seconds

	Anonymous []string `json:"anonymous,omitempty"` // volumes that were made for it
}

// uses tells whether a volume is mounted into the container.
func (p *plan) uses(volume string) bool {
	return slices.ContainsFunc(p.Spec.Mounts, func(m api.Mount) bool { return m.Type == api.MountVolume && m.Source == volume })
}

// Phases of a record beside the states of package api. A record in one of
// these is finished off by recovery.
const (
	phaseCreating = "creating" // the name is taken, nothing is complete
	phaseStarting = "starting" // main may have run
	phaseRemoving = "removing"
	phaseRemoved  = "removed" // in memory only: for those who wait
)

type state struct {
	Phase   string     `json:"phase"`
	Pid     int        `json:"pid,omitempty"`
	Started time.Time  `json:"started,omitzero"`
	Ports   []api.Port `json:"ports,omitempty"` // that are published, while it runs
	Exit    *api.Exit  `json:"exit,omitempty"`
	Volumes bool       `json:"volumes,omitempty"` // being removed with its anonymous volumes
}

// container is one container in memory. The database follows it.
type container struct {
	id      string
	created time.Time
	plan    plan
	called  atomic.Pointer[string] // its name now; plan has the one it was made with

	// op is held by whoever changes what the container is made of. It is a
	// channel so that waiting for it can be given up.
	op chan struct{}
	// turn is held by a request that may take several operations: between the
	// stop and the start of a restart nobody else starts it, or removes it.
	turn chan struct{}

	// acts is shared by who does something to what runs and then tells of it,
	// and held by who records the end.
	acts sync.RWMutex

	mu          sync.Mutex
	state       state
	loop        *host.Loop    // while it runs
	init        *host.Loop    // while its init commands run
	run         *run          // while it runs
	silent      error         // why there is no loop though it runs: it does not answer
	changed     chan struct{} // closed and replaced at each change of state
	connections []connection  // while it runs
	opened      []*os.File    // mount sources as the creator opened them, until the first start
}

// run is one run of a container, for those who wait for its end: by the time
// they look, the container may run again.
type run struct {
	done chan struct{} // closed when exit is set
	exit api.Exit
}

func newContainer(id string, created time.Time, p plan, st state) *container {
	c := &container{id: id, created: created, plan: p, op: make(chan struct{}, 1), turn: make(chan struct{}, 1), changed: make(chan struct{})}
	c.called.Store(&p.Name)
	c.set(st, nil)
	return c
}

// decode makes a container of its record.
func decode(r store.Container) (*container, error) {
	var p plan
	var st state
	if err := json.Unmarshal(r.Spec, &p); err != nil {
		return nil, fmt.Errorf("record of container %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(r.State, &st); err != nil {
		return nil, fmt.Errorf("record of container %s: %w", r.ID, err)
	}
	c := newContainer(r.ID, r.Created, p, st)
	c.called.Store(&r.Name)
	return c, nil
}

// name is what the container is called.
func (c *container) name() string { return *c.called.Load() }

// get returns the state, and the channel that is closed when it changes.
func (c *container) get() (state, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.changed
}

// running returns the run loop of a container that runs, or nil.
func (c *container) running() *host.Loop {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loop
}

// absent tells why a container that runs has no run loop to ask, or nil.
func (c *container) absent() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

// notRunning tells why there is no run loop to ask.
func (c *container) notRunning() error {
	if why := c.absent(); why != nil {
		return why
	}
	return notRunningError(c.name())
}

func (c *container) setAbsent(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = why
}

func (c *container) setConnections(list []connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connections = list
}

// set changes the state in memory, and begins or ends a run.
func (c *container) set(st state, loop *host.Loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.loop = st, loop
	switch {
	case st.Phase == api.StateRunning && c.run == nil:
		c.run = &run{done: make(chan struct{})}
	case st.Phase != api.StateRunning && c.run != nil:
		if st.Exit != nil {
			c.run.exit = *st.Exit
		}
		close(c.run.done)
		c.run = nil
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// lasting tells whether a change to this phase has to survive a power cut. A
// power cut ends what runs, and a container that is to remove itself with it.
func (c *container) lasting(phase string) bool {
	return !c.plan.Spec.AutoRemove && (phase == api.StateCreated || phase == api.StateExited || phase == phaseRemoving)
}

// closeOpened closes the mount sources kept from creation.
func (c *container) closeOpened() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.opened {
		if f != nil {
			f.Close()
		}
	}
	c.opened = nil
}

// describe is the container as its users see it.
func (e *Engine) describe(c *container) api.Container {
	st, _ := c.get()
	p := c.plan
	out := api.Container{
		ID: c.id, Name: c.name(), Image: p.Image, ImageID: p.ImageID, Rootfs: p.Spec.Rootfs,
		Args: p.Args, Env: p.Env, WorkDir: p.WorkDir, User: p.User, Hostname: p.Hostname,
		Terminal: p.Spec.Terminal, OpenStdin: p.Spec.OpenStdin, Mounts: p.Spec.Mounts, Labels: p.Labels,
		ReadOnly: p.Spec.ReadOnly, Params: p.Spec.Params, Datasets: p.Spec.Datasets, Limits: p.Spec.Limits, AutoRm: p.Spec.AutoRemove, Created: c.created,
		InitCommands: p.Init, DeinitCommands: p.Deinit,
		State: st.Phase, Pid: st.Pid, Started: st.Started, Exit: st.Exit,
		LogPath: e.logPath(c.id), RootDir: e.host.RootDir(e.hostSpec(c)),
	}
	out.Network, out.Networks = describeConnections(p.Network, e.connections(c))
	if len(p.Deinit) > 0 {
		out.DeinitTimeout = p.DeinitTimeout
	}
	out.Ports = p.Ports
	switch st.Phase {
	case api.StateRunning:
		out.Ports = st.Ports
		out.JID = e.host.JID(c.id)
	case phaseCreating, phaseStarting:
		out.State = api.StateCreated
	case phaseRemoving, phaseRemoved:
		out.State = api.StateExited
	}
	return out
}
