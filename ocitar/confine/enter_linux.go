package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// attributes puts the child into namespaces of its own: from its first thread on, as a
// Go program cannot do later. Who is not root gets a user namespace to do it in, where
// all files belong to one user.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	return a
}

// openLower opens a lower layer as a mount that is in no namespace: even ".." of it
// leads nowhere. Without the call (before Linux 5.2) or the right the directory serves.
func openLower(dir string) (*inroot.Root, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == unix.ENOSYS || err == unix.EPERM {
		return inroot.Open(dir)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	return inroot.New(os.NewFile(uintptr(fd), dir)), nil
}

// enter makes root the world of this process, and gives up what unpacking does not need.
// overlay keeps the capability that trusted.overlay.opaque asks for.
func enter(root string, overlay bool) (*inroot.Root, error) {
	if err := pivot(root); err != nil {
		return nil, err
	}
	keep := kept[:]
	if overlay {
		keep = append(slices.Clone(keep), unix.CAP_SYS_ADMIN)
	}
	if err := drop(keep...); err != nil {
		return nil, err
	}
	return inroot.Open("/")
}

// enterHere makes the working directory the world. It may be of another mount
// namespace, from which nothing can be mounted here, so that the root is changed by
// chroot(2): without the capability for that, and without a directory open elsewhere,
// there is no way back.
func enterHere() (*inroot.Root, error) {
	if err := unix.Chroot("."); err != nil {
		return nil, os.NewSyscallError("chroot", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return nil, err
	}
	if err := drop(kept[:]...); err != nil {
		return nil, err
	}
	return inroot.Open("/")
}

// Empty leaves this process, which Command started, nothing but its open descriptors: an
// empty file system that is nowhere mounted as its root, and no capability.
func Empty() error {
	if err := emptyRoot(); err != nil {
		return fmt.Errorf("empty root: %w", err)
	}
	return drop()
}

func emptyRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private (is this a mount namespace of its own?): %w", err)
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	if err := unix.Fchdir(m); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

func pivot(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private (is this a mount namespace of its own?): %w", err)
	}
	// A bind of the directory alone: what is mounted below it is not there.
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// pivot_root(2), NOTES: "." for both, and the old root, now on top, unmounted.
	err := unix.PivotRoot(".", ".")
	switch err {
	case nil:
		err = unix.Unmount(".", unix.MNT_DETACH)
	case unix.EINVAL: // the old root is the initial ramfs, which cannot be left
		if err = unix.Mount(".", "/", "", unix.MS_MOVE, ""); err == nil {
			err = unix.Chroot(".")
		}
	}
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return unix.Chdir("/")
}

// kept are the capabilities that restoring owners, modes, devices and attributes needs.
var kept = [...]uint{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID,
	unix.CAP_MKNOD, unix.CAP_SETFCAP,
}

// drop gives up all capabilities but these, in all threads. A program with cgo (the race
// detector) has no means for that, and keeps them; its world is the root all the same.
func drop(but ...uint) error {
	keep := uint64(0)
	for _, c := range but {
		keep |= 1 << c
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errors.Is(err, syscall.ENOTSUP) {
		return nil
	} else if err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		if err := everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil && err != syscall.EINVAL { // an older kernel has fewer
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, data [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range data {
		k := uint32(keep>>(32*i)) & have[i].Permitted
		data[i] = unix.CapUserData{Effective: k, Permitted: k}
	}
	if err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

func everyThread(trap, a, b, c uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a, b, c); errno != 0 {
		return errno
	}
	return nil
}
