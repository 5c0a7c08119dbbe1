package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/linux/seccomp"
	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// Open makes a tenant. The descriptors that the configuration names are closed
// when it returns. The process that calls it must be root, and must be a
// program whose main begins with [Main].
func Open(config json.RawMessage) (runloop.Tenant, error) {
	c, err := parse(config)
	if err != nil {
		return nil, err
	}
	s, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", c.ID, err)
	}
	return s, nil
}

func open(c *Config) (*space, error) {
	fds, err := openSources(c)
	if err != nil {
		return nil, err
	}
	defer func() { closeAll(fds) }()
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := startStub(c)
	if err != nil {
		return nil, fmt.Errorf("start pid 1: %w", err)
	}
	s.configure(c)
	// What follows is done while the stub starts.
	setup := c.setup()
	if !c.Unconfined {
		if setup.filter, err = defaultFilter(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if fds, err = openJoin(c, fds); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if c.Network == "none" {
		net, err := newNetwork()
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		fds = append(fds, net)
		if err := connect(net, c.ID, c.Interfaces); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if _, err := s.wire.call(request{setup: setup}, fds, nil); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// configure takes what the run loop's side needs to know.
func (s *space) configure(c *Config) {
	s.id, s.limited, s.guard = c.ID, c.Limited, c.guard()
}

// setup is what the stub needs to know, but for the filter.
func (c *Config) setup() *setupRequest {
	s := &setupRequest{
		root: c.Root, readOnly: c.ReadOnly, hostname: c.Hostname,
		network: c.Network == "none", cgroup: c.Cgroup != "", shmSize: int(c.ShmSize),
		join: len(c.Join), limited: c.Limited != "",
	}
	for _, m := range c.Mounts {
		s.mounts = append(s.mounts, m.Destination)
	}
	return s
}

// defaultFilter is the filter of system calls as the kernel takes it.
func defaultFilter() (string, error) {
	p, err := seccomp.Default()
	if err != nil {
		return "", err
	}
	f, err := p.Compile()
	if err != nil {
		return "", err
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(&f[0])), len(f)*filterInstruction)), nil
}

// filterInstruction is the size of a seccomp.Instruction, in bytes.
const filterInstruction = int(unsafe.Sizeof(seccomp.Instruction{}))

// openSources clones the trees that are to be mounted, which has to be done in
// the mount namespace they are from. Inherited descriptors are closed.
func openSources(c *Config) ([]int, error) {
	var out []int
	var failed error
	for _, m := range c.Mounts {
		tree, err := openSource(m)
		if m.FD > 0 {
			unix.Close(m.FD)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("mount on %s: %w", m.Destination, err))
			continue
		}
		out = append(out, tree.FD())
	}
	if failed != nil {
		closeAll(out)
		return nil, failed
	}
	return out, nil
}

// openJoin opens the files that processes join groups by, after the descriptors
// that are there.
func openJoin(c *Config, fds []int) ([]int, error) {
	for _, path := range c.Join {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fds, &os.PathError{Op: "open", Path: path, Err: err}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func openSource(m Mount) (*ns.Tree, error) {
	attr := ns.NoDev
	for set, a := range map[ns.Attr]bool{ns.MountReadOnly: m.ReadOnly, ns.NoSUID: m.NoSUID, ns.NoExec: m.NoExec} {
		if a {
			attr |= set
		}
	}
	if t := m.Tmpfs; t != nil {
		return ns.Tmpfs(ns.TmpfsOptions{Size: t.Size, Mode: t.Mode, UID: t.UID, GID: t.GID}, attr)
	}
	dir, path := unix.AT_FDCWD, m.Source
	if m.FD > 0 {
		dir, path = m.FD, ""
	} else if path == "" {
		return nil, unix.ENOENT
	}
	t, err := ns.Clone(dir, path)
	if err != nil {
		return nil, err
	}
	if err := t.Set(attr); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}
