package ns

import (
	"fmt"
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
