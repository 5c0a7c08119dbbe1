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

func mount(fs, path string, flags uintptr, data string) error {
	if err := place(path); err != nil {
		return err
	}
	if err := unix.Mount(fs, path, fs, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", fs, path, err)
	}
	return nil
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// Proc mounts the processes of the caller's pid namespace at /proc.
func Proc() error { return mount("proc", "/proc", quiet, "") }

// Sys mounts sysfs at /sys, read-only. The caller must be in the network
// namespace that it is to show, and have made it or be root of its owner.
func Sys() error { return mount("sysfs", "/sys", quiet|unix.MS_RDONLY, "") }

// Dev mounts a /dev with the devices every program may expect and no other, an
// instance of its own of the pseudo-terminals, and /dev/shm and /dev/mqueue. It
// needs a umask of 0 and CAP_MKNOD.
func Dev(o DevOptions) error {
	if err := mount("tmpfs", "/dev", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=65536k"); err != nil {
		return err
	}
	// The kernel's admin-guide/devices.txt.
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{
		{"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7},
		{"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
	} {
		if err := unix.Mknod(d.name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("mknod %s: %w", d.name, err)
		}
	}
	// The console is the first terminal that is opened in this instance.
	for _, l := range [][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}, {"pts/0", "/dev/console"},
	} {
		if err := unix.Symlink(l[0], l[1]); err != nil {
			return fmt.Errorf("symlink %s: %w", l[1], err)
		}
	}
	size := o.ShmSize
	if size <= 0 {
		size = 64 << 20
	}
	return errors.Join(
		// Group 5 is tty where there is one: glibc's grantpt(3) wants it so.
		mount("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
		mount("tmpfs", "/dev/shm", quiet, "mode=1777,size="+strconv.FormatInt(size, 10)),
		mount("mqueue", "/dev/mqueue", quiet, ""))
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
	empty := -1
	defer func() {
		if empty >= 0 {
			unix.Close(empty)
		}
	}()
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
			if empty < 0 {
				empty, err = emptyDir()
			}
			if err == nil {
				err = cover(empty, p)
			}
		}
		if err != nil {
			return fmt.Errorf("mask %s: %w", p, err)
		}
	}
	return nil
}

// cover mounts a copy of the tree at path.
func cover(tree int, path string) error {
	fd, err := unix.OpenTree(tree, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// emptyDir is a read-only file system with nothing in it.
func emptyDir() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, kv := range [][2]string{{"mode", "0555"}, {"nr_inodes", "1"}} {
		if err := unix.FsconfigSetString(fs, kv[0], kv[1]); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(MountReadOnly|NoSUID|NoDev|NoExec))
}
