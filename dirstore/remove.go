package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxOpen bounds the directories open at a time while a tree is removed. A
// container may leave a tree of any depth: what is deeper is moved to the top
// and removed from there.
const maxOpen = 64

// remover removes a tree that somebody else made: of any depth, with immutable
// files, with directories that nobody may enter. It never follows a link and
// never enters a mount point.
type remover struct {
	top   *os.File // the tree's own directory, where deep ones are moved to
	moved int
}

// RemoveTree removes parent/name, whatever it is, if it is there. It may be
// interrupted at any point and called again.
func RemoveTree(ctx context.Context, parent, name string) error {
	// Mostly there is nothing to remove.
	err := unix.Unlink(parent + "/" + name)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	dir, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	r := &remover{}
	if err := r.entry(ctx, dir, name, 0); err != nil {
		return fmt.Errorf("remove %s/%s: %w", parent, name, err)
	}
	return nil
}

// CheckMounts tells whether RemoveTree would meet a mount point, at dir or below it:
// it would have removed a part by then. The error is EBUSY and names the mount point.
func CheckMounts(dir string) error {
	dir, err := filepath.EvalSymlinks(dir) // the kernel tells of real paths
	if err != nil {
		return absent(err)
	}
	points, err := mountPoints()
	if err != nil {
		return err
	}
	for _, p := range points {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return &fs.PathError{Op: "remove", Path: p, Err: errMounted}
		}
	}
	return nil
}

var errMounted = fmt.Errorf("it is a mount point: unmount it first: %w", unix.EBUSY)

// entry removes one name of a directory.
func (r *remover) entry(ctx context.Context, dir *os.File, name string, depth int) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return absent(&fs.PathError{Op: "stat", Path: name, Err: err})
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR { // EISDIR on Linux, EPERM on FreeBSD
		return r.dir(ctx, dir, name, depth)
	}
	if err == unix.EPERM {
		if err := clearFlags(dir, name); err != nil {
			return &fs.PathError{Op: "clear flags", Path: name, Err: err}
		}
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil {
		return absent(&fs.PathError{Op: "unlink", Path: name, Err: err})
	}
	return nil
}

// absent turns the absence of what is to be removed into success.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dir removes a directory of dir.
func (r *remover) dir(ctx context.Context, parent *os.File, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := r.enter(parent, name)
	if err != nil {
		return absent(err)
	}
	defer d.Close()
	if r.top == nil {
		r.top = d
	}
	if depth >= maxOpen {
		return r.move(parent, name)
	}
	for {
		found, err := r.children(ctx, d, depth)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		// Removing while reading may hide names: look again until there are none.
		if _, err := d.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR); err != nil {
		return absent(&fs.PathError{Op: "rmdir", Path: name, Err: err})
	}
	return nil
}

// children removes what is in a directory, as far as one reading shows it.
func (r *remover) children(ctx context.Context, d *os.File, depth int) (found bool, err error) {
	for {
		names, err := d.Readdirnames(512)
		for _, n := range names {
			found = true
			if err := r.entry(ctx, d, n, depth+1); err != nil {
				return true, err
			}
		}
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil { // ENOENT: another has removed it meanwhile
			return found, absent(err)
		}
	}
}

// enter opens a directory and makes sure that names can be removed from it.
func (r *remover) enter(parent *os.File, name string) (*os.File, error) {
	d, err := openDir(parent, name)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Fchmodat(int(parent.Fd()), name, 0o700, 0); err != nil {
			return nil, &fs.PathError{Op: "chmod", Path: name, Err: err}
		}
		d, err = openDir(parent, name)
	}
	if errors.Is(err, unix.EXDEV) {
		return nil, &fs.PathError{Op: "remove", Path: name, Err: errMounted}
	}
	if err != nil {
		return nil, err
	}
	if err := openUp(d); err != nil {
		d.Close()
		return nil, &fs.PathError{Op: "clear flags", Path: name, Err: err}
	}
	return d, nil
}

// openUp lets names be removed from a directory: no flags, and, for an owner
// who is not root, the permission.
func openUp(d *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return err
	}
	flags, err := getFlags(d, &st)
	if err != nil {
		return err
	}
	if flags != 0 {
		if err := clearFlags(d, "."); err != nil {
			return err
		}
	}
	if st.Mode&0o700 != 0o700 {
		return unix.Fchmod(int(d.Fd()), 0o700)
	}
	return nil
}

// move takes a deep directory to the top, where the next reading finds it.
func (r *remover) move(parent *os.File, name string) error {
	for {
		r.moved++
		err := unix.Renameat(int(parent.Fd()), name, int(r.top.Fd()), ".deep-"+strconv.Itoa(r.moved))
		switch err {
		case nil:
			return nil
		case unix.ENOTEMPTY, unix.EEXIST, unix.ENOTDIR: // the name is taken
		default:
			return &fs.PathError{Op: "rename", Path: name, Err: err}
		}
	}
}
