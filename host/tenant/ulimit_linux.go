package tenant

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/linux/spawn"
	"github.com/joyboyid/xc/site/control"
	"golang.org/x/sys/unix"
)

// resources are the limits of getrlimit(2), as limits.conf(5) and Docker call them.
func resources() map[string]int {
	return map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
		"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}
}

// ceiling is the most that a hard limit may be, and what says so.
func ceiling(u control.Ulimit, resource int) (int64, string, error) {
	own, err := ns.Permitted()
	if err != nil {
		return 0, "", err
	}
	if own.Has(unix.CAP_SYS_RESOURCE) {
		if u.Name != "nofile" {
			return noLimit, "", nil
		}
		b, err := os.ReadFile("/proc/sys/fs/nr_open")
		if err != nil {
			return 0, "", err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n, "the sysctl fs.nr_open", err
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(resource, &lim); err != nil {
		return 0, "", os.NewSyscallError("getrlimit", err)
	}
	return fromKernel(lim.Max), "the hard limit that the engine was started with", nil
}

func fromKernel(n uint64) int64 {
	if n > 1<<63-1 {
		return noLimit
	}
	return int64(n)
}

// ulimitCall begins the name of the call that sets a limit.
const ulimitCall = "ulimit "

// limit sets the limits of a process. It comes before the process loses the
// right to raise them.
func limit(p *spawn.Program, list []control.Ulimit) error {
	names := resources()
	for _, u := range list {
		resource, ok := names[u.Name]
		if !ok {
			return newError("ulimit", u.Name, fmt.Errorf("%w", errUlimit))
		}
		lim := &unix.Rlimit{Cur: uint64(u.Soft), Max: uint64(u.Hard)} // -1 is RLIM_INFINITY
		p.Call(ulimitCall+u.Name, unix.SYS_PRLIMIT64, 0, uintptr(resource), p.Pointer(ptr(lim)), 0)
	}
	return nil
}
