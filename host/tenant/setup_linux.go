package tenant

import (
	"errors"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/linux/ns"
	"golang.org/x/sys/unix"
)

// setup furnishes the namespaces the stub was born into. sources are the
// detached trees of the mounts, in order, then the files of cgroups to join,
// then the network namespace.
func (k *keeper) setup(c *setupRequest, sources []int) error {
	if c.network && len(sources) > 0 {
		last := len(sources) - 1
		if err := unix.Setns(sources[last], unix.CLONE_NEWNET); err != nil {
			return newError("setns", "network namespace", err)
		}
		sources = sources[:last]
	}
	if len(sources) != len(c.mounts)+c.join {
		return &Error{Op: "setup", Errno: unix.EBADF}
	}
	sources, err := k.keepGroups(c, sources)
	if err != nil {
		return err
	}
	if c.cgroup && !k.apart {
		// Here and not at clone(2): the namespace's root is then the group the
		// stub was born into, not the run loop's.
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return newError("unshare", "cgroup namespace", err)
		}
	}
	// Away from the session keyring of whoever started the engine: root in the
	// tenant would have it.
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil && !errors.Is(err, unix.ENOSYS) {
		return newError("keyctl", "session keyring", err)
	}
	if err := enterRoot(c); err != nil {
		return err
	}
	if err := k.made.furnish(c, sources); err != nil {
		return err
	}
	if c.hostname != "" {
		if err := ns.Hostname(c.hostname); err != nil {
			return newError("hostname", c.hostname, err)
		}
	}
	k.filter = []byte(c.filter)
	return k.prepare()
}

// keepGroups keeps the files of cgroups that processes are to join, and returns
// the other descriptors.
func (k *keeper) keepGroups(c *setupRequest, sources []int) ([]int, error) {
	mounts, join := sources[:len(c.mounts)], sources[len(c.mounts):]
	for _, fd := range join {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, newError("keep", "cgroup", err)
		}
		k.join = append(k.join, own)
	}
	k.apart = c.limited || c.join > 0
	return mounts, nil
}

// enterRoot makes the root file system the root.
func enterRoot(c *setupRequest) error {
	if err := ns.Private(); err != nil {
		return newError("root", "", err)
	}
	root, err := OpenRoot(c.root)
	if err != nil {
		return newError("root", c.root.Dir, err)
	}
	defer root.Close()
	if err := root.Pivot(); err != nil {
		return newError("root", c.root.Dir, err)
	}
	return nil
}

// OpenRoot makes the mount of a root, attached nowhere yet. See ns.Overlay about the
// mount namespace that it needs.
func OpenRoot(r Root) (*ns.Tree, error) {
	if r.Kind == Overlay {
		return ns.Overlay(ns.Layers{Lower: r.Lower, Upper: r.Upper, Work: r.Work, Volatile: r.Volatile}, ns.NoDev)
	}
	t, err := ns.Clone(unix.AT_FDCWD, r.Dir)
	if err != nil {
		return nil, err
	}
	if err := t.Set(ns.NoDev); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// furniture is what every root gets, attached nowhere yet.
type furniture struct {
	proc *ns.Tree
	dev  *ns.Devices
	err  error
}

func makeFurniture() furniture {
	proc, err := ns.Proc()
	if err != nil {
		return furniture{err: err}
	}
	dev, err := ns.Dev(ns.DevOptions{})
	return furniture{proc, dev, err}
}

// place puts the furniture where it belongs, in the root the stub has pivoted to.
func (f *furniture) place(shmSize int) error {
	if f.err != nil {
		return f.err
	}
	if shmSize > 0 {
		dev, err := ns.Dev(ns.DevOptions{ShmSize: int64(shmSize)})
		if err != nil {
			return err
		}
		if err := f.dev.Close(); err != nil {
			return err
		}
		f.dev = dev
	}
	sys, err := ns.Sys() // of the network namespace, which the stub is in by now
	if err != nil {
		return err
	}
	return errors.Join(f.proc.Place("/proc"), sys.Place("/sys"), f.dev.Place("/dev"),
		f.proc.Close(), sys.Close(), f.dev.Close())
}

// furnish mounts what a container expects, then the volumes, and hides last
// what must not be seen.
func (f *furniture) furnish(c *setupRequest, sources []int) error {
	if err := f.place(c.shmSize); err != nil {
		return newError("root", "", err)
	}
	for i, destination := range c.mounts {
		if err := attach(sources[i], destination); err != nil {
			return newError("mount", destination, err)
		}
	}
	if err := errors.Join(ns.Mask(ns.MaskedPaths()...), ns.ReadOnly(ns.ReadOnlyPaths()...)); err != nil {
		return newError("root", "", err)
	}
	if !c.readOnly {
		return nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return newError("root", "read-only", err)
	}
	return nil
}

// attach mounts the tree on destination, made when missing, in the root the
// stub has pivoted to. Links are followed, but not to /proc: what the stub and
// others read there must be the kernel's.
func attach(tree int, destination string) error {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	fd, err := mountPoint(destination, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return &Error{Op: "mount", Object: destination, Errno: unix.EPERM, Msg: "it leads into /proc"}
	}
	return unix.MoveMount(tree, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// mountPoint opens what is to be mounted on, and makes it first when missing.
func mountPoint(name string, dir bool) (int, error) {
	root, err := inroot.Open("/")
	if err != nil {
		return -1, err
	}
	defer root.Close()
	if dir {
		err = root.MkdirAll(name, 0o755)
	} else if _, serr := root.Stat(name); errors.Is(serr, unix.ENOENT) {
		err = root.Touch(name, 0o644)
	}
	if err != nil {
		return -1, err
	}
	return unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// prepare works out once what all starts need.
func (k *keeper) prepare() (err error) {
	if k.root, err = inroot.Open("/"); err != nil {
		return newError("root", "/", err)
	}
	has, err := ns.Bounding()
	if err != nil {
		return newError("capabilities", "", err)
	}
	own, err := ns.Permitted()
	if err != nil {
		return newError("capabilities", "", err)
	}
	k.keep = ns.DefaultCaps & has & own
	for n := range 64 {
		if (has &^ k.keep).Has(n) {
			k.drop = append(k.drop, n)
		}
	}
	return nil
}

// openPty opens a terminal of the tenant's own devpts, whose name is then good
// inside: the master and the tty. It goes by /dev/pts, which only the stub has
// mounted, and by no name in the root.
func openPty() ([]int, error) {
	m, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, newError("open", "/dev/pts/ptmx", err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(m)
		return nil, newError("unlock", "terminal", err)
	}
	t, err := openPeer(m)
	if err != nil {
		unix.Close(m)
		return nil, newError("open", "tty", err)
	}
	return []int{m, t}, nil
}

// openPeer opens the tty of a master; ioctl_tty(2), TIOCGPTPEER.
func openPeer(master int) (int, error) {
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}
