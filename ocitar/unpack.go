package ocitar

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// Whiteouts says what becomes of whiteouts and opaque markers.
type Whiteouts int

const (
	// Remove applies them: the root holds the lower layers, and loses what they name.
	Remove Whiteouts = iota
	// Overlay keeps them as overlayfs has them, for a root that holds this layer
	// only: a character device 0:0, and trusted.overlay.opaque on a directory
	// (Linux, Documentation/filesystems/overlayfs.rst).
	Overlay
	// OverlayUser is Overlay with user.overlay.opaque, as mounts with userxattr have it.
	OverlayUser
)

// Devices says what becomes of device nodes.
type Devices int

const (
	// MakeDevices makes them, and notes those that the system does not allow us.
	MakeDevices Devices = iota
	// SkipDevices makes none, and notes each.
	SkipDevices
	// RefuseDevices fails at the first.
	RefuseDevices
)

// IDMap gives Size owner ids from Inside on, as the layer has them, the ids from
// Outside on, as on the host.
type IDMap struct{ Inside, Outside, Size uint32 }

// An Unpacker applies layers. The zero value restores all that it may.
type Unpacker struct {
	Limits    Limits
	Whiteouts Whiteouts
	Devices   Devices

	// NoOwner leaves files to who unpacks them; so it is for all but root.
	NoOwner bool
	// UIDs and GIDs map owners; an id in none of the ranges is an error. Empty
	// means ids as they are.
	UIDs, GIDs []IDMap

	// Into is a directory of the root that the names are relative to; "" is the root.
	Into string
	// Plain is of an archive that is no layer: a name that begins with ".wh." is one
	// like others, and where owners are not restored, files lose the setuid and setgid
	// bits and the capabilities (security.capability) that were for those.
	Plain bool
	// Merge refuses an entry that would put another file in the place of a directory,
	// or a directory in that of another file: the error matches fs.ErrExist.
	Merge bool

	// Lower are the layers below, newest first, where the root holds this layer
	// only (Overlay): a directory that the layer uses without having an entry for
	// it is copied from there, a link on the way is followed there, and a hard
	// link's target is copied up. They are only read, and stay the caller's.
	Lower []*inroot.Root
}

// Unpack applies layer to the directory root. On an error the root is left half
// done, and a Read of layer may be under way still: close it, do not use it again.
func (u *Unpacker) Unpack(ctx context.Context, root string, layer io.Reader) (Summary, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return Summary{}, err
	}
	defer r.Close()
	return u.UnpackTo(ctx, r, layer)
}

// UnpackTo is Unpack into a root that is open.
func (u *Unpacker) UnpackTo(ctx context.Context, root *inroot.Root, layer io.Reader) (Summary, error) {
	s, err := openStream(ctx, layer, u.Limits)
	if err != nil {
		return Summary{}, err
	}
	defer s.close()
	x := &unpack{
		u: u, r: reader{s: s}, root: root,
		chown: !u.NoOwner && os.Geteuid() == 0,
		own:   map[uint64]struct{}{}, seed: maphash.MakeSeed(),
		dirs: map[string]*dir{}, places: map[uint64]*place{},
	}
	defer x.closeStale()
	defer x.forget()
	if err := x.all(); err != nil {
		return x.sum, err
	}
	err = s.finish(&x.sum)
	return x.sum, err
}

// unpack is one layer being unpacked.
type unpack struct {
	u     *Unpacker
	r     reader
	root  *inroot.Root
	sum   Summary
	chown bool

	// own has a hash of each path this layer made, so that an opaque marker and a
	// whiteout hide only what is below. The seed is secret: nobody can have paths collide.
	own  map[uint64]struct{}
	seed maphash.Seed

	dirs   map[string]*dir   // open directories, by the parent's name in the archive
	stale  []*dir            // no longer in dirs, not closed yet
	places map[uint64]*place // of directories that get something at the end, by a hash as in own
	locks  []*place          // of those that get file flags
	links  []*lateLink       // hard links whose target is still to come
	files  []lateFile        // what other files get at the end

	users, groups idTable // of the root, once they were asked for
}

func (x *unpack) all() error {
	for {
		e, err := x.r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		x.sum.Entries++
		x.closeStale()
		if err := x.entry(e); err != nil {
			return &Error{Entry: e.Name, Offset: e.Offset, Err: noEOF(err)}
		}
	}
	if err := x.lateLinks(); err != nil {
		return err
	}
	return x.finish()
}

// A name of the archive, cleaned: without empty components and ".".
type entryName struct{ dir, base string }

func (x *unpack) clean(name string) (entryName, error) {
	if x.u.Into != "" {
		name = x.u.Into + "/" + name
	}
	return cleanName(name, x.u.Limits.depth())
}

func cleanName(name string, depth int) (entryName, error) {
	if len(name) > inroot.MaxName {
		return entryName{}, unix.ENAMETOOLONG
	}
	comps := make([]string, 0, 8)
	for c := range strings.SplitSeq(name, "/") {
		switch c {
		case "", ".":
		case "..":
			return entryName{}, fmt.Errorf("..: %w", ErrName)
		default:
			comps = append(comps, c)
		}
	}
	if len(comps) > depth {
		return entryName{}, fmt.Errorf("more than %d components: %w", depth, ErrLimit)
	}
	if len(comps) == 0 {
		return entryName{}, nil
	}
	last := len(comps) - 1
	return entryName{strings.Join(comps[:last], "/"), comps[last]}, nil
}

func (x *unpack) entry(e *Entry) error {
	n, err := x.clean(e.Name)
	if err != nil {
		return err
	}
	if n.base == "" {
		return x.rootEntry(e)
	}
	if !x.u.Plain && strings.Contains("/"+n.dir+"/"+n.base, "/"+whiteoutPrefix) {
		return x.whiteout(e, n)
	}
	switch e.Type {
	case Regular, Link, Symlink, Char, Block, Dir, Fifo:
	default:
		x.sum.note(e.Name, "skipped: entries of type %q are not known", byte(e.Type))
		return nil
	}
	if skip, err := x.skipDevice(e); skip || err != nil {
		return err
	}
	if x.u.Plain && !x.chown && e.Type != Dir {
		e.Mode &^= 0o6000
		delete(e.Xattrs, "security.capability")
	}
	d, err := x.parent(n.dir, e)
	if err != nil {
		return err
	}
	if err := x.put(d, n, e); err != nil {
		return err
	}
	x.own[x.hash(d.path, n.base)] = struct{}{}
	return nil
}

// put makes the entry in d.
func (x *unpack) put(d *dir, n entryName, e *Entry) error {
	switch e.Type {
	case Regular:
		x.sum.Files++
		x.sum.Bytes += e.Size
		return x.file(d, n.base, e)
	case Link:
		x.sum.Links++
		return x.link(d, n.base, e)
	case Symlink:
		x.sum.Symlinks++
		if e.Linkname == "" {
			return fmt.Errorf("symlink without target: %w", ErrFormat)
		}
		return x.special(d, n.base, e, func() error { return unix.Symlinkat(e.Linkname, d.fd(), n.base) })
	case Dir:
		x.sum.Dirs++
		return x.dir(d, n, e)
	}
	x.sum.Specials++
	kind := map[Type]uint32{Fifo: unix.S_IFIFO, Char: unix.S_IFCHR, Block: unix.S_IFBLK}[e.Type]
	return x.special(d, n.base, e, func() error { return mknodat(d.fd(), n.base, kind|0o600, e.Major, e.Minor) })
}

// skipDevice applies Devices. A character device 0:0 would be a whiteout.
func (x *unpack) skipDevice(e *Entry) (bool, error) {
	if e.Type != Char && e.Type != Block {
		return false, nil
	}
	if x.u.Whiteouts != Remove && e.Type == Char && e.Major == 0 && e.Minor == 0 {
		x.sum.note(e.Name, "skipped: overlayfs would take the device 0:0 for a whiteout")
		return true, nil
	}
	switch x.u.Devices {
	case SkipDevices:
		x.sum.note(e.Name, "skipped: no devices are to be made")
		return true, nil
	case RefuseDevices:
		return false, fmt.Errorf("device %d:%d: %w", e.Major, e.Minor, fs.ErrPermission)
	}
	return false, nil
}

// file makes a regular file: new, so that no link of the old one changes with it.
func (x *unpack) file(d *dir, base string, e *Entry) error {
	fd := -1
	err := x.replace(d, base, false, func() (err error) {
		fd, err = unix.Openat(d.fd(), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	if err := x.fill(fd, e); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	named, err := x.attributes(fd, false, e)
	if err == nil {
		err = x.leaveLate(d, base, fd, e, named)
	}
	return errors.Join(err, unix.Close(fd))
}

// fill writes the content. Holes stay holes.
func (x *unpack) fill(fd int, e *Entry) error {
	var at int64
	err := x.r.content(e, func(b []byte, off int64) error {
		if off != at {
			if _, err := unix.Seek(fd, off, io.SeekStart); err != nil {
				return err
			}
		}
		at = off + int64(len(b))
		return writeAll(fd, b)
	})
	if err != nil {
		return err
	}
	if e.sparse && at < e.Size {
		return unix.Ftruncate(fd, e.Size)
	}
	return nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// special makes a link, a device or a fifo, and opens it without opening what it
// stands for.
func (x *unpack) special(d *dir, base string, e *Entry, create func() error) error {
	err := x.replace(d, base, false, create)
	if (e.Type == Char || e.Type == Block) && denied(err) {
		x.sum.note(e.Name, "skipped: device %d:%d: %v", e.Major, e.Minor, err)
		return nil
	}
	if err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd(), base, oPath|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if typeOf(uint32(st.Mode)) != e.Type {
		return fmt.Errorf("another file took its place: %w", fs.ErrExist)
	}
	named, err := x.attributes(fd, true, e)
	if err != nil {
		return err
	}
	return x.leaveLate(d, base, fd, e, named)
}

// denied says that the system does not let us do it, whatever it is done to.
func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, errCapMode)
}

func typeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Regular
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFCHR:
		return Char
	case unix.S_IFBLK:
		return Block
	case unix.S_IFIFO:
		return Fifo
	}
	return 0
}

// hash is that of the path of base in the directory path.
func (x *unpack) hash(path, base string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteString(path)
	h.WriteByte('/')
	h.WriteString(base)
	return h.Sum64()
}
