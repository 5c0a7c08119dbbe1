package ns

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Tree is a mount, or a mount and all below it, held by a descriptor.
type Tree struct{ fd int }

// Adopt makes a Tree of a descriptor from elsewhere, which it takes over.
func Adopt(fd int) *Tree { return &Tree{fd} }

// FD is the tree's descriptor, close-on-exec. It stays the tree's.
func (t *Tree) FD() int { return t.fd }

// Close closes the descriptor; a tree that was attached nowhere is gone then.
func (t *Tree) Close() error { return unix.Close(t.fd) }

// Clone copies the mount at path, relative to the directory dir, and all mounts
// below it, as a bind with MS_REC would. With an empty path it is dir itself,
// which may be any file: what is bound is then the very file that was opened.
// The copy takes no part in propagation.
//
// The file must be in the mount namespace of the caller.
func Clone(dir int, path string) (*Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, path, flags)
	if err != nil {
		return nil, fmt.Errorf("open_tree %s: %w", name(dir, path), err)
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mount_setattr %s: %w", name(dir, path), err)
	}
	return &Tree{fd}, nil
}

func name(dir int, path string) string {
	if path == "" {
		return "descriptor " + strconv.Itoa(dir)
	}
	return path
}

// Set adds attributes to all mounts of the tree.
func (t *Tree) Set(a Attr) error {
	attr := unix.MountAttr{Attr_set: uint64(a)}
	if err := unix.MountSetattr(t.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// Attach mounts the tree at path, which must exist and be a directory if the
// tree's root is one. Symlinks are followed except in the last component.
func (t *Tree) Attach(path string) error {
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount to %s: %w", path, err)
	}
	return nil
}

// Pivot makes the tree the root of the caller's mount namespace, and the root
// and working directory of the process. All mounts there were before are gone
// from the namespace; descriptors of files in them stay good.
func (t *Tree) Pivot() error {
	// Over the old root: the one mount point that is certain to exist.
	if err := t.Attach("/"); err != nil {
		return err
	}
	if err := unix.Fchdir(t.fd); err != nil {
		return fmt.Errorf("fchdir to new root: %w", err)
	}
	// The old root comes to lie over the new one, from where it is taken off;
	// pivot_root(2), "pivot_root(".", ".")".
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir to new root: %w", err)
	}
	return nil
}

// Private ends the propagation of mounts between this mount namespace and others.
func Private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// Overlay makes a tree of layers.
func Overlay(l Layers, a Attr) (*Tree, error) {
	if len(l.Lower) == 0 {
		return nil, errors.New("overlay: no lower layer")
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, l); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount overlay: %w%s", err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(a))
	if err != nil {
		return nil, fmt.Errorf("fsmount overlay: %w", err)
	}
	return &Tree{fd}, nil
}

// configure names the layers one by one ("lowerdir+", Linux 6.5), so that there
// may be as many as the kernel takes (500), and names need no escapes. Before,
// the list is one option, of at most 255 bytes, and mount(2) has to do.
func configure(fs int, l Layers) error {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	set := func(key, dir string) error {
		value := dir
		if len(dir) > maxValue || !filepath.IsAbs(dir) {
			fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("overlay %s %s: %w", key, dir, err)
			}
			open = append(open, fd)
			value = "/proc/self/fd/" + strconv.Itoa(fd)
		}
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("overlay %s %s: %w%s", key, dir, err, complaint(fs))
		}
		return nil
	}
	for _, dir := range l.Lower {
		if err := set("lowerdir+", dir); err != nil {
			return err
		}
	}
	if l.Upper == "" {
		return nil
	}
	if err := set("upperdir", l.Upper); err != nil {
		return err
	}
	if err := set("workdir", l.Work); err != nil || !l.Volatile {
		return err
	}
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return fmt.Errorf("overlay volatile: %w%s", err, complaint(fs))
	}
	return nil
}

// maxValue is how long a value of fsconfig(2) may be, in bytes (fs/fsopen.c).
const maxValue = 255

// complaint returns what the file system has to say about an error; fsopen(2).
func complaint(fs int) string {
	var b [512]byte
	if n, err := unix.Read(fs, b[:]); err == nil && n > 2 {
		return " (" + string(b[2:n]) + ")"
	}
	return ""
}
