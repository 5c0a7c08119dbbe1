package ocitar

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes gives the file fd its owner, extended attributes, mode, access control
// lists and time, in that order: chown(2) clears setuid bits and security.capability.
// opath says that fd was opened with O_PATH, as links, devices and fifos are.
// The access control lists that come at the end it returns.
func (x *unpack) attributes(fd int, opath bool, e *Entry) (named map[string]acl, err error) {
	if err := x.owner(fd, opath, e); err != nil {
		return nil, err
	}
	if err := x.extended(fd, opath, e); err != nil {
		return nil, err
	}
	if e.Type != Symlink || linkModes {
		if err := setMode(fd, opath, e.Mode); err != nil {
			return nil, fmt.Errorf("chmod: %w", err)
		}
	}
	if len(e.ACLs) > 0 {
		var lists map[string]acl
		if lists, named, err = x.parsedACLs(e); err != nil {
			return nil, err
		}
		if err := x.setACLs(fd, opath, e.Name, lists); err != nil {
			return nil, err
		}
	}
	if err := setTime(fd, opath, e.ModTime); err != nil {
		return nil, fmt.Errorf("set time: %w", err)
	}
	return named, nil
}

func (x *unpack) owner(fd int, opath bool, e *Entry) error {
	if !x.chown {
		if e.Mode&unix.S_ISGID == 0 {
			return nil
		}
		// On BSD a new file has the group of its directory, on Linux if that is
		// setgid: one that the user need not be in, and then may not lend (chmod(2)).
		return chown(fd, opath, -1, os.Getegid())
	}
	uid, err := mapID(x.u.UIDs, e.UID)
	if err != nil {
		return fmt.Errorf("uid %w", err)
	}
	gid, err := mapID(x.u.GIDs, e.GID)
	if err != nil {
		return fmt.Errorf("gid %w", err)
	}
	return chown(fd, opath, uid, gid)
}

func chown(fd int, opath bool, uid, gid int) error {
	var err error
	if opath {
		err = unix.Fchownat(fd, "", uid, gid, atEmptyPath)
	} else {
		err = unix.Fchown(fd, uid, gid)
	}
	if err != nil {
		return fmt.Errorf("chown to %d:%d: %w", uid, gid, err)
	}
	return nil
}

func mapID(ranges []IDMap, id int64) (int, error) {
	for _, m := range ranges {
		if id >= int64(m.Inside) && id-int64(m.Inside) < int64(m.Size) {
			return int(int64(m.Outside) + id - int64(m.Inside)), nil
		}
	}
	if len(ranges) > 0 {
		return 0, fmt.Errorf("%d is in no range of the map: %w", id, unix.EINVAL)
	}
	return int(id), nil
}

// extended restores extended attributes. What this system, file system or process
// cannot have is noted: an image made elsewhere is no error.
func (x *unpack) extended(fd int, opath bool, e *Entry) error {
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		var err error
		switch {
		case strings.Contains(name, ".overlay."):
			// overlayfs obeys these: a layer must not steer the mount it will be in.
			err = fmt.Errorf("belongs to overlayfs: %w", errors.ErrUnsupported)
		case name == "security.selinux" || name == "security.ima" || name == "security.evm":
			err = fmt.Errorf("belongs to the host's policy: %w", errors.ErrUnsupported)
		default:
			err = setXattr(fd, opath, name, e.Xattrs[name])
		}
		if err := x.tolerate(e.Name, "attribute "+name, err); err != nil {
			return err
		}
	}
	return nil
}

func (x *unpack) tolerate(entry, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case denied(err), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOSPC) && strings.HasPrefix(what, "access"), // too many entries
		errors.Is(err, ErrFormat), errors.Is(err, ErrLimit):
		x.sum.note(entry, "%.100q not restored: %v", what, err)
		return nil
	}
	return fmt.Errorf("%.100s: %w", what, err)
}

// lateFile is what something that is no directory gets at the end.
type lateFile struct {
	dir   *place
	base  string
	ino   uint64
	flags uint32         // an immutable file cannot be linked to
	lists map[string]acl // with names that etc/passwd, which may be to come, has
}

func (l *lateFile) path() string { return l.dir.path() + "/" + l.base }

// leaveLate remembers what of e is for the end.
func (x *unpack) leaveLate(d *dir, base string, fd int, e *Entry, named map[string]acl) (err error) {
	l := lateFile{dir: x.place(d.path), base: base, lists: named}
	if e.Flags != "" {
		if l.flags, _, err = x.fileFlags(e); err != nil {
			return err
		}
	}
	if l.flags == 0 && len(l.lists) == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	l.ino = st.Ino
	x.files = append(x.files, l)
	return nil
}

// fileFlags parses the entry's flags, and says whether this system has any.
func (x *unpack) fileFlags(e *Entry) (flags uint32, ok bool, err error) {
	flags, unknown := parseFlags(e.Flags)
	if len(unknown) > 0 {
		x.sum.note(e.Name, "file flags %.100q are not known", strings.Join(unknown, ","))
	}
	if !haveFlags {
		x.sum.note(e.Name, "file flags %.100q not restored: %v", e.Flags, errors.ErrUnsupported)
		return 0, false, nil
	}
	return flags, flags != 0, nil
}

func (x *unpack) finishFiles(t *trail) error {
	for i := range x.files {
		l := &x.files[i]
		if err := x.finishFile(t, l); err != nil {
			return &Error{Entry: l.path(), Offset: x.r.s.pos, Err: err}
		}
	}
	return nil
}

func (x *unpack) finishFile(t *trail, l *lateFile) error {
	if err := x.r.s.stopped(); err != nil {
		return err
	}
	dir, err := t.to(l.dir)
	if err != nil {
		return gone(err)
	}
	fd, err := unix.Openat(dir, l.base, oPath|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != l.ino {
		return err
	}
	if len(l.lists) > 0 {
		if err := x.namedACLs(dir, fd, l, &st); err != nil {
			return err
		}
	}
	if l.flags == 0 {
		return nil
	}
	return x.lock(fd, l.path(), l.flags)
}

// namedACLs sets lists with names, through a descriptor that can do it.
func (x *unpack) namedACLs(dir, fd int, l *lateFile, st *unix.Stat_t) error {
	path := l.path()
	if err := x.resolve(l.lists); err != nil {
		return x.tolerate(path, "access control list", err)
	}
	if typeOf(uint32(st.Mode)) != Regular {
		return x.setACLs(fd, true, path, l.lists)
	}
	n, err := unix.Openat(dir, l.base, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return x.tolerate(path, "access control list", err)
	}
	defer unix.Close(n)
	var now unix.Stat_t
	if err := unix.Fstat(n, &now); err != nil || now.Ino != l.ino {
		return err
	}
	return x.setACLs(n, false, path, l.lists)
}

// lock sets file flags on fd. In a jail that may not be allowed (allow.chflags).
func (x *unpack) lock(fd int, path string, flags uint32) error {
	err := setFlags(fd, flags)
	if denied(err) {
		x.sum.note(path, "file flags %s not restored: %v", formatFlags(flags), err)
		return nil
	}
	return err
}

// unlock takes away the file flags that forbid to change fd, and returns what it had.
func unlock(fd int) (flags uint32) {
	if !haveFlags {
		return 0
	}
	flags, err := getFlags(fd)
	if err != nil || flags&lockFlags == 0 || setFlags(fd, flags&^lockFlags) != nil {
		return 0 // what they forbid says so itself
	}
	return flags
}

// unlocked does act in d; where the directory's own file flags forbid it, without
// them. They come back at the end.
func (x *unpack) unlocked(d *dir, act func() error) error {
	err := act()
	if err != unix.EPERM || !haveFlags {
		return err
	}
	f, oerr := openDirAt(d.fd(), ".")
	if oerr != nil {
		return err
	}
	defer f.Close()
	flags := unlock(int(f.Fd()))
	if flags == 0 {
		return err
	}
	if l := x.place(d.path).late; l != nil && !l.lock {
		l.flags, l.lock = flags, true
	}
	return act()
}
