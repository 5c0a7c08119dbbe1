package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// GroupEnv is the environment variable by which a run loop is told the cgroup
// of its site before it has its configuration; see [Prepare].
const GroupEnv = "XC_CGROUP"

// prepared is what does not depend on the configuration.
type prepared struct {
	space  *space
	net    int    // descriptor of a network namespace
	filter string // of system calls
	err    error
}

// Prepare begins to make a tenant before its configuration is known: pid 1, in
// the cgroup that GroupEnv names, and a network namespace. It returns the
// function that opens the tenant. Without GroupEnv that does all the work.
func Prepare() runloop.Opener {
	group := os.Getenv(GroupEnv)
	if group == "" {
		return Open
	}
	ready := make(chan prepared, 1)
	go func() {
		var p prepared
		p.net = -1
		if p.space, p.err = startStub(&Config{Cgroup: group}); p.err == nil {
			p.net, p.err = newNetwork()
		}
		if p.err == nil {
			p.filter, p.err = defaultFilter()
		}
		_, _ = parse(json.RawMessage(`{}`)) // encoding/json learns the type
		ready <- p
	}()
	return func(config json.RawMessage) (runloop.Tenant, error) {
		c, err := parse(config)
		p := <-ready
		if err == nil && c.Cgroup != group {
			err = fmt.Errorf("tenant %s: it was prepared in cgroup %s, and is to be in %s", c.ID, group, c.Cgroup)
		}
		if err = errors.Join(err, p.err); err != nil {
			return nil, errors.Join(err, p.close())
		}
		if err := p.setup(c); err != nil {
			return nil, errors.Join(fmt.Errorf("tenant %s: %w", c.ID, err), p.close())
		}
		return p.space, nil
	}
}

// setup is what open does after the stub was started.
func (p *prepared) setup(c *Config) error {
	fds, err := openSources(c)
	if err != nil {
		return err
	}
	defer func() { closeAll(fds) }()
	if err := c.check(); err != nil {
		return err
	}
	if fds, err = openJoin(c, fds); err != nil {
		return err
	}
	if c.Network == "none" {
		if err := connect(p.net, c.ID, c.Interfaces); err != nil {
			return err
		}
		fds, p.net = append(fds, p.net), -1
	}
	p.space.configure(c)
	setup := c.setup()
	if !c.Unconfined {
		setup.filter = p.filter
	}
	if _, err := p.space.wire.call(request{setup: setup}, fds, nil); err != nil {
		return err
	}
	return p.closeNet()
}

// closeNet closes a network namespace that was not asked for.
func (p *prepared) closeNet() error {
	if p.net < 0 {
		return nil
	}
	fd := p.net
	p.net = -1
	return unix.Close(fd)
}

func (p *prepared) close() error {
	err := p.closeNet()
	if p.space != nil {
		err = errors.Join(err, p.space.Close())
	}
	return err
}
