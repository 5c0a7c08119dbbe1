// Package mount mounts, lists and unmounts file systems of FreeBSD by nmount(2),
// getfsstat(2) and unmount(2). It runs no program and reads no fstab(5).
//
// # Words
//
// A mount has a type ("zfs", "nullfs", "devfs", "tmpfs", "fdescfs", "procfs",
// "linprocfs", "linsysfs"), what is mounted (a dataset, a directory, or the type
// again where there is nothing to name), the directory it covers, and options as
// mount(8) takes them after -o. [Status.ID] names a mount for as long as the
// machine is up, whatever happens to its path.
//
//	err := mount.Mount(mount.Entry{Type: "zfs", From: "tank/c1", Path: "/jails/c1"})
//	err = mount.Mount(mount.Entry{Type: "devfs", From: "devfs", Path: "/jails/c1/dev", Options: []string{"ruleset=100"}})
//
// nmount(2) takes a path and follows the links in it. A path inside a root that
// others can write to has to be resolved and checked by the caller, before and
// after. Unmount such mounts by ID.
//
// nullfs mounts a directory on a directory or a file on a file, and cannot be
// changed afterwards: "ro" must be right the first time.
//
// On other systems every call returns [errors.ErrUnsupported].
package mount

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Entry is something to mount, like a line of fstab(5).
type Entry struct {
	Type    string   // of the file system
	From    string   // what to mount; Type if ""
	Path    string   // the directory, or for nullfs the file, to cover: absolute
	Options []string // "ro", "nosuid", "ruleset=4": as mount(8) takes them
}

// Status is something that is mounted.
type Status struct {
	Entry // Options are those that all file systems have
	ID    FSID
}

// FSID is the number of a mount, fsid_t.
type FSID [2]int32

// String is the form that unmount(2) takes with MNT_BYFSID.
func (id FSID) String() string { return fmt.Sprintf("FSID:%d:%d", id[0], id[1]) }

// bytes are an fsid_t in memory.
func (id FSID) bytes() []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(id[0]))
	return binary.NativeEndian.AppendUint32(b, uint32(id[1]))
}

// Error is a mount that failed, or an unmount.
type Error struct {
	Op    string // "mount", "unmount", "statfs"
	Path  string
	Errno syscall.Errno
	Msg   string // the kernel's sentence, if it gave one
}

func (e *Error) Error() string {
	s := e.Op + " " + e.Path + ": "
	if e.Msg != "" {
		s += e.Msg + ": "
	}
	return s + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// flagNames are the options that a mount reports as bits: sys/sys/mount.h.
var flagNames = []struct {
	bit  uint64
	name string
}{
	{0x1, "ro"},
	{0x2, "sync"},
	{0x4, "noexec"},
	{0x8, "nosuid"},
	{0x10, "nfsv4acls"},
	{0x20, "union"},
	{0x40, "async"},
	{0x400000, "nosymfollow"},
	{0x8000000, "acls"},
	{0x10000000, "noatime"},
}

func options(flags uint64) []string {
	var names []string
	for _, f := range flagNames {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// pair is one of the names with values that nmount(2) takes. A nil value is none.
type pair struct {
	name  string
	value []byte
}

// encode makes the arguments for nmount(2).
func (e Entry) encode() ([]pair, error) {
	bad := func(why string) error { return &Error{Op: "mount", Path: e.Path, Errno: syscall.EINVAL, Msg: why} }
	switch {
	case e.Type == "":
		return nil, bad("no type")
	case !strings.HasPrefix(e.Path, "/"):
		return nil, bad("not an absolute path")
	}
	from := e.From
	if from == "" {
		from = e.Type
	}
	pairs := []pair{{"fstype", text(e.Type)}, {"fspath", text(e.Path)}, {"from", text(from)}}
	for _, o := range e.Options {
		name, value, has := strings.Cut(o, "=")
		switch name {
		case "", "fstype", "fspath", "from", "errmsg", "export":
			return nil, bad(fmt.Sprintf("option %q", o))
		}
		p := pair{name: name}
		if has {
			p.value = text(value)
		}
		pairs = append(pairs, p)
	}
	for _, p := range pairs {
		if strings.ContainsRune(p.name, 0) || strings.Count(string(p.value), "\x00") > 1 {
			return nil, bad("a NUL byte")
		}
	}
	return pairs, nil
}

func text(s string) []byte { return append([]byte(s), 0) }

// Mount mounts e. What may go wrong is in the errno: ENOENT for a missing
// directory, dataset or device, EBUSY for a dataset that is mounted already,
// EINVAL ("Invalid fstype") for a type whose module cannot be loaded.
func Mount(e Entry) error {
	pairs, err := e.encode()
	if err != nil {
		return err
	}
	return nmount(e.Path, pairs)
}

// Unmount unmounts what is mounted on path. With force processes that use it do
// not keep it. fs.ErrNotExist says that nothing is mounted there.
func Unmount(path string, force bool) error {
	if !strings.HasPrefix(path, "/") {
		return &Error{Op: "unmount", Path: path, Errno: syscall.EINVAL, Msg: "not an absolute path"}
	}
	return unmount(path, force)
}

// Unmount unmounts this mount, wherever its path leads by now.
func (s Status) Unmount(force bool) error {
	err := unmount(s.ID.String(), force)
	var e *Error
	if errors.As(err, &e) {
		e.Path = s.Path
	}
	return err
}

// Update gives this mount other options, as mount -u does: flags that are not named
// are taken away, but for "ro", which ends with "rw". It is found by its path, and
// fs.ErrNotExist says that this leads to another mount by now (vfs_mount.c,
// vfs_domount_update). EINVAL says that there is none, or that the kernel or the type
// has no such option.
func (s Status) Update(options ...string) error {
	e := s.Entry
	e.Options = options
	pairs, err := e.encode()
	if err != nil {
		return err
	}
	return nmount(e.Path, append(pairs, pair{"update", nil}, pair{"fsid", s.ID.bytes()}))
}

// List returns what is mounted, oldest first: unmount in reverse. In a jail it
// is what enforce_statfs lets be seen.
func List() ([]Status, error) { return list() }

// At returns what is mounted on path, and fs.ErrNotExist if that is no mount
// point. The path must be the one it was mounted on.
func At(path string) (Status, error) {
	s, err := stat(path)
	if err == nil && s.Path != path {
		err = &Error{Op: "statfs", Path: path, Errno: syscall.ENOENT, Msg: "not a mount point"}
	}
	return s, err
}
