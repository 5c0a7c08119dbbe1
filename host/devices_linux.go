package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site"
)

// devices is how the processes of containers are kept to their devices: what is
// behind all else that keeps them from others (no CAP_MKNOD, roots mounted nodev).
// At the most one of the fields is set.
type devices struct {
	filter *cgroup.DeviceFilter // of the groups of version 2
	one    string               // the hierarchy of version 1 that has the controller
	lacks  error                // why there is neither
}

// openDevices finds what this host has. Only a filter that was attached once is
// known to be allowed here.
func (h *Host) openDevices() error {
	var err error
	if h.devices.filter, err = h.loadFilter(); err == nil || !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	where, oneErr := cgroup.Controller("devices")
	switch {
	case oneErr == nil:
		h.devices.one = where.Dir
	case errors.Is(oneErr, errors.ErrUnsupported):
		h.devices.lacks = errors.Join(err, oneErr)
	default:
		return oneErr
	}
	return nil
}

// probeID is not an id that a container can have.
const probeID = "devices"

func (h *Host) loadFilter() (*cgroup.DeviceFilter, error) {
	if h.cgroups == "" {
		return nil, errors.ErrUnsupported
	}
	f, err := tenant.Devices().Load()
	if err != nil {
		return nil, err
	}
	if err := h.dropGroup(probeID); err != nil { // of one that was killed
		return nil, errors.Join(err, f.Close())
	}
	g, err := cgroup.Make(h.cgroup(probeID))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = f.Attach(g)
	if errors.Is(err, os.ErrPermission) { // a group above does not let it
		err = errors.Join(errors.ErrUnsupported, err)
	}
	if err = errors.Join(err, g.Close(), h.dropGroup(probeID)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// guard puts a new group under the list.
func (d *devices) guard(g *cgroup.Group) error {
	if d.filter == nil {
		return nil
	}
	return d.filter.Attach(g)
}

func (d *devices) close() error {
	if d.filter == nil {
		return nil
	}
	return d.filter.Close()
}

// deviceSteps make the group of version 1 that keeps a container's processes to
// their devices, where that is how it is done, and tell the tenant how.
func (h *Host) deviceSteps(id string, t *tenant.Config) []site.Step {
	t.Filtered = h.devices.filter != nil
	if h.devices.one == "" {
		return nil
	}
	path := filepath.Join(h.devices.one, h.groupName(id))
	t.DeviceGroup = path
	t.Join = append(t.Join, filepath.Join(path, "cgroup.procs"))
	return []site.Step{step(kindCgroupOne, thing{Path: path}, func(context.Context) error {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) { // controllers may share a hierarchy
			return err
		}
		return tenant.Devices().Limit(path)
	})}
}
