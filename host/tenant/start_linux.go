package tenant

import (
	"errors"
	"io"
	"strings"
	"unsafe"

	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/linux/spawn"
	"golang.org/x/sys/unix"
)

func ptr[T any](p *T) unsafe.Pointer { return unsafe.Pointer(p) }

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) }

// softNoFile is the soft limit of open files that processes begin with. The Go
// runtime raised the stub's own to the hard limit, which programs that use
// select(2) or close all possible descriptors do not expect.
const softNoFile = 1024

// start starts a process with files for 0, 1 and 2 and, as fourth, the group
// it is born into. The mutex is held.
func (k *keeper) start(q *startRequest, files []int) (pid, pidfd int, err error) {
	if len(files) < 3 || len(files) > 4 {
		return 0, -1, &Error{Op: "start", Errno: unix.EBADF}
	}
	t, err := lookup(k.root, q.args, q.env, q.dir, q.user)
	if err != nil {
		return 0, -1, err
	}
	var p spawn.Program
	if err := k.program(&p, t, files[:3], q); err != nil {
		return 0, -1, err
	}
	o := spawn.Options{Unblocked: true}
	if len(files) == 4 {
		o.Cgroup = files[3]
	}
	pid, pidfd, err = p.Start(o, t.path, t.args, t.env)
	if err != nil {
		return 0, -1, startError(t, err)
	}
	k.started[pid] = true
	if k.idle {
		k.idle = false
		k.births <- struct{}{}
	}
	return pid, pidfd, nil
}

// startError says in the tenant's words what a call of the program failed at.
func startError(t *target, err error) error {
	var e *spawn.Error
	if !errors.As(err, &e) {
		return newError("exec", t.path, err)
	}
	switch {
	case e.Call == "execve" && e.Errno == unix.ENOENT:
		return &Error{Op: "exec", Object: t.path, Errno: e.Errno, Msg: "its interpreter or loader does not exist in the root"}
	case e.Call == "execve":
		return &Error{Op: "exec", Object: t.path, Errno: e.Errno}
	case strings.HasPrefix(e.Call, ulimitCall):
		return &Error{Op: "ulimit", Object: strings.TrimPrefix(e.Call, ulimitCall), Errno: e.Errno}
	case e.Call == "chdir":
		return &Error{Op: "working directory", Object: t.dir, Errno: e.Errno}
	}
	return &Error{Op: "start " + t.path, Object: e.Call, Errno: e.Errno}
}

// program lists what a process does before it executes. The order matters:
// descriptors while they are where they are, groups before the user, the user
// before the directory (which is entered with the user's rights), and what takes
// rights away last.
func (k *keeper) program(p *spawn.Program, t *target, files []int, q *startRequest) error {
	k.enterGroups(p)
	p.Call("setsid", unix.SYS_SETSID)
	for i, fd := range files {
		p.Call("dup3", unix.SYS_DUP3, uintptr(fd), uintptr(i), 0)
	}
	p.Call("close_range", unix.SYS_CLOSE_RANGE, 3, uintptr(^uint32(0)), 0)
	if q.terminal {
		p.Call("controlling terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
	p.Call("umask", unix.SYS_UMASK, 0o022)
	if err := limitFiles(p); err != nil {
		return err
	}
	if err := limit(p, q.ulimits); err != nil {
		return err
	}
	for _, n := range k.drop {
		p.Call("drop capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0)
	}
	p.Call("ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	groups := make([]uint32, len(t.groups)) // the first is t.gid
	for i, g := range t.groups {
		groups[i] = uint32(g)
	}
	p.Call("setgroups", unix.SYS_SETGROUPS, uintptr(len(t.groups)), p.Pointer(ptr(&groups[0])))
	gid, uid := uintptr(t.gid), uintptr(t.uid)
	p.Call("setgid", unix.SYS_SETRESGID, gid, gid, gid)
	p.Call("setuid", unix.SYS_SETRESUID, uid, uid, uid)
	caps := k.keep
	if t.uid != 0 {
		caps = 0
	}
	setCaps(p, caps)
	p.Call("chdir", unix.SYS_CHDIR, p.String(t.dir))
	p.Call("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	k.confine(p)
	return nil
}

// confine sets the filter of system calls, under which execve(2) itself is made.
func (k *keeper) confine(p *spawn.Program) {
	if len(k.filter) == 0 {
		return
	}
	prog := &unix.SockFprog{
		Len:    uint16(len(k.filter) / filterInstruction),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&k.filter[0])),
	}
	p.Call("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, p.Pointer(ptr(prog)))
}

// enterGroups has a process join the cgroups of version 1, where 0 is the one
// that writes, and live in a cgroup namespace in which its groups are the roots.
func (k *keeper) enterGroups(p *spawn.Program) {
	for _, fd := range k.join {
		p.Call("join cgroup", unix.SYS_WRITE, uintptr(fd), p.String("0"), 1)
	}
	if k.apart {
		p.Call("cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
}

// limitFiles sets the soft limit of open files; the hard limit stays.
func limitFiles(p *spawn.Program) error {
	lim := new(unix.Rlimit)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, lim); err != nil {
		return newError("getrlimit", "", err)
	}
	lim.Cur = min(lim.Max, softNoFile)
	p.Call("limit of open files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, p.Pointer(ptr(lim)), 0)
	return nil
}

// setCaps sets the permitted and effective capabilities, and none inheritable.
func setCaps(p *spawn.Program, c ns.Caps) {
	hdr := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	for i := range data {
		half := uint32(c >> (32 * i))
		data[i].Permitted, data[i].Effective = half, half
	}
	p.Call("capset", unix.SYS_CAPSET, p.Pointer(ptr(hdr)), p.Pointer(ptr(data)))
}
