package tenant

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/linux/ns"
	"golang.org/x/sys/unix"
)

// Devices are those that the processes of a tenant may open: of their /dev, and
// terminals. The kernel's admin-guide/devices.txt.
func Devices() cgroup.Devices {
	list := cgroup.Devices{{Major: 5, Minor: 2}, {Major: 136, Minor: cgroup.AnyMinor}} // ptmx and what it makes
	for _, n := range ns.Nodes() {
		list = append(list, cgroup.Device{Major: n.Major, Minor: n.Minor})
	}
	return list
}

// guard is the list of devices of a tenant, if there is one.
type guard struct {
	filtered []string // groups of version 2 that have a filter
	one      string   // group of version 1 that has the list

	mu   sync.Mutex
	list cgroup.Devices
}

func (c *Config) guard() *guard {
	g := &guard{one: c.DeviceGroup, list: Devices()}
	if c.Filtered {
		g.filtered = []string{c.Cgroup}
		if c.Limited != "" {
			g.filtered = append(g.filtered, c.Limited)
		}
	}
	return g
}

// allow adds the devices that a process is given as streams, such as the console
// of a host without a graphics card: programs open /dev/stdout, which is to open
// the device anew.
func (g *guard) allow(files []*os.File) error {
	if len(g.filtered) == 0 && g.one == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	more := slices.Clone(g.list)
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		d := cgroup.Device{Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev))}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && !more.Has(d) {
			more = append(more, d)
		}
	}
	if len(more) == len(g.list) {
		return nil
	}
	if err := g.widen(more); err != nil {
		return fmt.Errorf("device of a stream: %w", err)
	}
	g.list = more
	return nil
}

// widen puts a longer list in the place of the one that there is.
func (g *guard) widen(more cgroup.Devices) error {
	if g.one != "" {
		for _, d := range more[len(g.list):] {
			if err := d.Allow(g.one); err != nil {
				return err
			}
		}
		return nil
	}
	f, err := more.Load()
	if err != nil {
		return err
	}
	for _, dir := range g.filtered {
		group, oerr := cgroup.Open(dir)
		if err = errors.Join(err, oerr); oerr == nil {
			err = errors.Join(err, f.Attach(group), group.Close())
		}
	}
	return errors.Join(err, f.Close())
}
