package ns

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// place makes sure that path is a directory, and no symlink: a root must not
// choose where its /proc is.
func place(path string) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Mkdir(path, 0o755)
		st.Mode = unix.S_IFDIR
	}
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("mount point %s: %w", path, err)
	}
	return nil
}

// Place attaches the tree at path, a directory, which is made when missing. It
// is not followed when it is a symlink, but refused.
func (t *Tree) Place(path string) error {
	if err := place(path); err != nil {
		return err
	}
	return t.Attach(path)
}

const quiet = NoSUID | NoDev | NoExec

// newTree makes a file system of a kind that needs no device. Options without a
// value are flags.
func newTree(kind string, a Attr, options ...[2]string) (*Tree, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen %s: %w", kind, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if o[1] == "" {
			err = unix.FsconfigSetFlag(fs, o[0])
		} else {
			err = unix.FsconfigSetString(fs, o[0], o[1])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: option %s: %w", kind, o[0], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make %s: %w%s", kind, err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(a))
	if err != nil {
		return nil, fmt.Errorf("fsmount %s: %w", kind, err)
	}
	return &Tree{fd}, nil
}

// Proc makes a tree of the processes of the caller's pid namespace, for /proc.
func Proc() (*Tree, error) { return newTree("proc", quiet) }

// Sys makes a tree of the kernel's objects, read-only, for /sys. The caller must
// be in the network namespace that it is to show, and have made it or be root of
// its owner.
func Sys() (*Tree, error) { return newTree("sysfs", quiet|MountReadOnly) }

// Devices is a /dev in the making.
type Devices struct {
	dev   *Tree
	below []named
}

type named struct {
	name string
	tree *Tree
}

// Dev makes a /dev with the devices every program may expect and no other, an
// instance of its own of the pseudo-terminals, and /dev/shm and, of the caller's
// ipc namespace, /dev/mqueue. It needs a umask of 0 and CAP_MKNOD.
func Dev(o DevOptions) (*Devices, error) {
	dev, err := newTree("tmpfs", NoSUID|NoExec, [2]string{"mode", "755"}, [2]string{"size", "65536k"})
	if err != nil {
		return nil, err
	}
	d := &Devices{dev: dev}
	if err := errors.Join(devNodes(dev.fd), d.mounts(o)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// devNodes makes what is in /dev itself.
func devNodes(dir int) error {
	for _, d := range Nodes() {
		if err := unix.Mknodat(dir, d.Name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
			return fmt.Errorf("mknod /dev/%s: %w", d.Name, err)
		}
	}
	// The console is the first terminal that is opened in this instance.
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}, {"pts/0", "console"},
	} {
		if err := unix.Symlinkat(l[0], dir, l[1]); err != nil {
			return fmt.Errorf("symlink /dev/%s: %w", l[1], err)
		}
	}
	return nil
}

// mounts makes what is mounted below /dev.
func (d *Devices) mounts(o DevOptions) error {
	size := o.ShmSize
	if size <= 0 {
		size = 64 << 20
	}
	for _, m := range []struct {
		name, kind string
		attr       Attr
		options    [][2]string
	}{
		// Group 5 is tty where there is one: glibc's grantpt(3) wants it so.
		{"pts", "devpts", NoSUID | NoExec, [][2]string{{"newinstance"}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}}},
		{"shm", "tmpfs", quiet, [][2]string{{"mode", "1777"}, {"size", strconv.FormatInt(size, 10)}}},
		{"mqueue", "mqueue", quiet, nil},
	} {
		if err := unix.Mkdirat(d.dev.fd, m.name, 0o755); err != nil {
			return fmt.Errorf("mkdir /dev/%s: %w", m.name, err)
		}
		t, err := newTree(m.kind, m.attr, m.options...)
		if err != nil {
			return fmt.Errorf("/dev/%s: %w", m.name, err)
		}
		d.below = append(d.below, named{m.name, t})
	}
	return nil
}

// Place attaches the devices at path, "/dev", as [Tree.Place] does.
func (d *Devices) Place(path string) error {
	if err := d.dev.Place(path); err != nil {
		return err
	}
	for _, m := range d.below {
		// By the descriptor: nobody but the maker of the tree chooses where.
		if err := unix.MoveMount(m.tree.fd, "", d.dev.fd, m.name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount to %s/%s: %w", path, m.name, err)
		}
	}
	return nil
}

// Close closes the descriptors; devices that were not placed are gone then.
func (d *Devices) Close() error {
	err := d.dev.Close()
	for _, m := range d.below {
		err = errors.Join(err, m.tree.Close())
	}
	return err
}

// ReadOnly makes the files and directories read-only, whatever is written in
// their modes. Those that do not exist are skipped.
func ReadOnly(paths ...string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	for _, p := range paths {
		err := unix.Mount(p, p, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.MountSetattr(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_RECURSIVE, &attr)
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	return nil
}

// Mask hides files behind /dev/null and directories behind an empty one. Those
// that do not exist are skipped.
func Mask(paths ...string) error {
	empty := "" // where there is an empty directory that hides another
	for _, p := range paths {
		// Looked at first: a bind that is refused costs the kernel a grace period.
		var st unix.Stat_t
		err := unix.Lstat(p, &st)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue
		case err != nil:
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			err = unix.Mount("/dev/null", p, "", unix.MS_BIND, "")
		default:
			if err = cover(empty, p); empty == "" {
				empty = p
			}
		}
		if err != nil {
			return fmt.Errorf("mask %s: %w", p, err)
		}
	}
	return nil
}

// cover mounts at path a copy of the empty directory, or the first one. A tree
// that is attached nowhere can only be copied since Linux 6.15.
func cover(empty, path string) error {
	var t *Tree
	var err error
	if empty == "" {
		t, err = emptyDir()
	} else {
		t, err = Clone(unix.AT_FDCWD, empty)
	}
	if err != nil {
		return err
	}
	return errors.Join(t.Attach(path), t.Close())
}

// emptyDir is a read-only file system with nothing in it.
func emptyDir() (*Tree, error) {
	return newTree("tmpfs", MountReadOnly|quiet, [2]string{"mode", "0555"}, [2]string{"nr_inodes", "1"})
}
