package host

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/joyboyid/xc/freebsd/rctl"
)

// Usage is what the kernel has counted for a container's jail. Where it does not
// count, it is what main's tree, whose processes are pids, uses at the moment.
func (h *Host) Usage(s Spec, pids []int) (Usage, error) {
	var u Usage
	for _, pid := range pids {
		if err := u.add(pid); err != nil {
			return u, err
		}
	}
	if !rctl.Enabled() {
		u.missing("io", fmt.Errorf("%w: the kernel does not count what jails use: put kern.racct.enable=1 into /boot/loader.conf and reboot", errors.ErrUnsupported))
		return u, nil
	}
	r, err := rctl.Usage(rctl.Jail(h.jailName(s.ID)))
	if err != nil {
		return u, err
	}
	// Whole seconds, and with what has ended: the larger of both is nearer.
	u.CPU = max(u.CPU, time.Duration(r["cputime"])*time.Second)
	u.Memory = max(u.Memory, int64(r["memoryuse"])) // looked at once a second
	u.Processes, u.Threads = int(r["maxproc"]), int(r["nthr"])
	// The kernel guesses of processes that have just begun (racct_getpcpu of
	// sys/kern/kern_racct.c), and adds the guesses up.
	share := min(float64(r["pcpu"]), 100*float64(runtime.NumCPU()))
	u.Rates = &Rates{CPU: share, Read: int64(r["readbps"]), Written: int64(r["writebps"])}
	return u, nil
}
