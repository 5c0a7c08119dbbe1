package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// resources are the limits of setrlimit(2), as limits(1) calls them where
// Docker has no name; sys/resource.h.
func resources() map[string]int {
	return map[string]int{
		"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "memlock": 6, "nproc": 7, "nofile": 8,
		"sbsize": 9, "as": 10, "npts": 11, "swap": 12, "kqueues": 13, "umtxp": 14,
	}
}

// ceiling is the most that a hard limit may be, and what says so. The kernel
// would lower what is above it, and say nothing (kern_proc_setrlimit of
// kern_resource.c). Root may raise its hard limits.
func ceiling(u control.Ulimit, _ int) (int64, string, error) {
	if u.Name == "nproc" && u.Soft == 0 {
		return 0, "", fmt.Errorf("%w: the kernel makes 1 of 0", fs.ErrInvalid)
	}
	ctl := map[string]string{
		"nofile": "kern.maxfilesperproc", "nproc": "kern.maxprocperuid", "data": "kern.maxdsiz", "stack": "kern.maxssiz",
	}[u.Name]
	if ctl == "" {
		return noLimit, "", nil
	}
	if u.Name == "data" || u.Name == "stack" {
		n, err := unix.SysctlUint64(ctl)
		return int64(n), "the sysctl " + ctl, err
	}
	n, err := unix.SysctlUint32(ctl)
	return int64(n), "the sysctl " + ctl, err
}

// Limited is the first argument of this program as the helper that limits
// itself, goes into a jail and becomes the program it is for: os/exec has no
// limits, and those of the run loop are its own. The others are the jail's number,
// uid, gid, groups, the directory, the limits, the program's path, and its
// arguments. A run loop may have been started by an older release than the one
// that is in its place by now, so this does not change.
const Limited = "@limited"

// fixedArgs is how many come before the program's own.
const fixedArgs = 9

// fdReport is where the helper tells, as an Error in JSON, what went wrong. It
// is closed by execve(2).
const fdReport = 3

// limited is the command that starts what cmd would, with limits. The report
// is the caller's to read and close.
func limited(cmd *exec.Cmd, list []control.Ulimit) (report *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	names := resources()
	var limits []string
	for _, u := range list {
		n, ok := names[u.Name]
		if !ok {
			return nil, &Error{Op: "ulimit", Object: u.Name, Msg: errUlimit.Error()}
		}
		limits = append(limits, fmt.Sprintf("%d=%d:%d", n, u.Soft, u.Hard))
	}
	attr := cmd.SysProcAttr
	var groups []string
	for _, g := range attr.Credential.Groups {
		groups = append(groups, strconv.FormatUint(uint64(g), 10))
	}
	cmd.Args = append([]string{self, Limited, strconv.Itoa(attr.Jail),
		strconv.FormatUint(uint64(attr.Credential.Uid), 10), strconv.FormatUint(uint64(attr.Credential.Gid), 10),
		strings.Join(groups, ","), cmd.Dir, strings.Join(limits, ","), cmd.Path}, cmd.Args...)
	cmd.Path, cmd.Dir, attr.Jail, attr.Credential = self, "/", 0, nil
	report, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	return report, nil
}

// startLimited starts p with its limits.
func (c *cell) startLimited(cmd *exec.Cmd, to *target, p *runloop.Process) (runloop.Tree, error) {
	report, err := limited(cmd, p.Ulimits)
	if err != nil {
		return nil, err
	}
	defer report.Close()
	t, err := c.track(cmd)
	err = errors.Join(err, cmd.ExtraFiles[0].Close())
	if err != nil {
		return nil, c.startError(to, err)
	}
	said, err := io.ReadAll(report)
	if err == nil && len(said) == 0 {
		return t, nil // it is the program now
	}
	<-t.empty // it ends by itself
	var e Error
	if err = errors.Join(err, json.Unmarshal(said, &e)); err != nil {
		return nil, fmt.Errorf("start %s with limits: %w", to.path, err)
	}
	if e.Op == "exec" {
		return nil, c.startError(to, e.Errno)
	}
	return nil, &e
}

// becomeLimited is the helper. It does not return when it was asked for.
func becomeLimited() bool {
	if len(os.Args) <= fixedArgs || os.Args[1] != Limited {
		return false
	}
	unix.CloseOnExec(fdReport)
	e := become(os.Args[2:])
	b, err := json.Marshal(e)
	if err == nil {
		_, err = os.NewFile(fdReport, "report").Write(b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, e)
	}
	os.Exit(1)
	return true
}

// become returns why it did not become the program.
func become(args []string) *Error {
	ids := make([]int, 3) // jail, uid, gid
	var err error
	for i := range ids {
		if ids[i], err = strconv.Atoi(args[i]); err != nil {
			return newError("start", args[i], err)
		}
	}
	groups := []int{}
	for f := range strings.SplitSeq(args[3], ",") {
		g, err := strconv.Atoi(f)
		if err != nil {
			return newError("start", args[3], err)
		}
		groups = append(groups, g)
	}
	dir, limits, path := args[4], args[5], args[6]
	debug.SetGCPercent(-1) // memory may be short from here on
	if err := jail.ID(ids[0]).Attach(); err != nil {
		return &Error{Op: "start " + path + " in jail", Msg: err.Error()}
	}
	if e := setLimits(limits); e != nil {
		return e
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(ids[2]), syscall.Setuid(ids[1])); err != nil {
		return newError("user", args[1], err)
	}
	if err := os.Chdir(dir); err != nil {
		return newError("working directory", dir, err)
	}
	// It gives the soft limit of open files back, which the Go runtime raised,
	// unless one was set here.
	return newError("exec", path, syscall.Exec(path, args[7:], os.Environ()))
}

// setLimits sets limits as the kernel numbers them: 8=64:128,4=0:0.
func setLimits(list string) *Error {
	for f := range strings.SplitSeq(list, ",") {
		var resource int
		var lim syscall.Rlimit
		if _, err := fmt.Sscanf(f, "%d=%d:%d", &resource, &lim.Cur, &lim.Max); err != nil {
			return newError("ulimit", f, err)
		}
		for _, n := range []*int64{&lim.Cur, &lim.Max} {
			if *n == noLimit {
				*n = math.MaxInt64 // RLIM_INFINITY
			}
		}
		if err := syscall.Setrlimit(resource, &lim); err != nil {
			return newError("ulimit", resourceName(resource), err)
		}
	}
	return nil
}

func resourceName(n int) string {
	for name, resource := range resources() {
		if resource == n {
			return name
		}
	}
	return strconv.Itoa(n)
}
