package host

import (
	"fmt"
	"io/fs"
	"runtime"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/site/control"
)

// Limits are what a container may use. Zero is no limit.
type Limits struct {
	Memory int64            // bytes, of all its processes together
	CPUs   float64          // processors, whose time they share
	Pids   int64            // processes and threads
	Each   []control.Ulimit // what each process has for itself
}

// Bounds of what makes sense.
const (
	minMemory = 6 << 20 // as with Docker: less does not start a program
	minCPUs   = 0.01    // less than the kernels' granularity
	maxPids   = 1 << 22 // PID_MAX_LIMIT of Linux
)

// CheckLimits tells which limits make no sense, or cannot be enforced on this
// host, and what would have to be done for that.
func (h *Host) CheckLimits(l Limits) error {
	switch {
	case l.Memory != 0 && l.Memory < minMemory:
		return fmt.Errorf("memory limit of %d bytes: %w: the least is %d (6m)", l.Memory, fs.ErrInvalid, minMemory)
	case l.CPUs != 0 && !(l.CPUs >= minCPUs): // also what is not a number
		return fmt.Errorf("limit of %v cpus: %w: the least is %v", l.CPUs, fs.ErrInvalid, minCPUs)
	case l.CPUs > float64(runtime.NumCPU()):
		return fmt.Errorf("limit of %v cpus: %w: this host has %d", l.CPUs, fs.ErrInvalid, runtime.NumCPU())
	case l.Pids < 0 || l.Pids > maxPids:
		return fmt.Errorf("limit of %d processes: %w: the least is 1, the most %d", l.Pids, fs.ErrInvalid, maxPids)
	}
	if err := h.canLimit(l); err != nil {
		return err
	}
	return tenant.CheckUlimits(l.Each)
}
