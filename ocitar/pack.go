package ocitar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// ChangeKind says what happened to a path.
type ChangeKind int

const (
	// Put is a file as it now is, new or changed: without what is in it, if it is a directory.
	Put ChangeKind = iota
	// Gone is a file or a whole directory of lower layers that is no more.
	Gone
	// Opaque is a directory that shows nothing of what lower layers have in it.
	Opaque
)

// A Change is one path of a layer to be packed. Path is relative to the root and
// slash-separated; "." is the root itself. A rename is Gone and Put. Gone and Put
// of one directory make it Opaque.
type Change struct {
	Path string
	Kind ChangeKind
}

// A Packer writes layers. The zero value packs all there is, uncompressed.
//
// Equal input gives equal bytes: entries are sorted, owners numeric, nothing says
// when or where the layer was made. Where holes of sparse files are is input.
type Packer struct {
	Compression Compression
	Level       int // of the compressor: gzip 1 to 9; zstd 1 to 22, zero being 1

	// Epoch is the latest time an entry may have: SOURCE_DATE_EPOCH. Zero: as it is.
	Epoch time.Time
	// UIDs and GIDs map owners back, from Outside to Inside. Empty means as they are.
	UIDs, GIDs []IDMap
	// NoSparse packs holes as zeros.
	NoSparse bool
	// Name gives a path of the tree its name in the archive; nil: the same.
	Name func(path string) string
	// Plain is of an archive that is no layer: a name that begins with ".wh." is one
	// like others.
	Plain bool
}

// Pack writes the changes of the tree root to w. Their order does not matter.
func (p *Packer) Pack(ctx context.Context, w io.Writer, root string, changes iter.Seq2[Change, error]) (Summary, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return Summary{}, err
	}
	defer r.Close()
	return p.PackFrom(ctx, w, r, changes)
}

// PackFrom is Pack of a root that is open.
func (p *Packer) PackFrom(ctx context.Context, w io.Writer, root *inroot.Root, changes iter.Seq2[Change, error]) (sum Summary, err error) {
	items, err := p.order(changes)
	if err != nil {
		return Summary{}, err
	}
	out, err := newSink(w, p.Compression, p.Level)
	if err != nil {
		return Summary{}, err
	}
	pk := &pack{p: p, root: root, out: out, first: map[inode]string{}}
	defer pk.closeDir()
	for _, it := range items {
		if err = ctx.Err(); err != nil {
			err = context.Cause(ctx)
			break
		}
		if err = pk.item(it); err != nil {
			err = fmt.Errorf("pack %.200q: %w", it.name, err)
			break
		}
	}
	if err == nil {
		err = out.zeros(2 * recordSize)
	}
	cerr := out.close(&pk.sum)
	if cerr != nil { // the cause, where the sink is what failed
		err = cerr
	}
	return pk.sum, err
}

// An item is an entry to be written.
type item struct {
	name string // in the archive; directories get their slash when known to be
	path string // in the tree; "" for a whiteout
}

// order turns changes into items, sorted by name: a directory before what is in it.
func (p *Packer) order(changes iter.Seq2[Change, error]) ([]item, error) {
	kinds := map[string]uint8{}
	for c, err := range changes {
		if err != nil {
			return nil, err
		}
		file := path.Clean(c.Path)
		if file == ".." || strings.HasPrefix(file, "../") || path.IsAbs(file) || strings.IndexByte(file, 0) >= 0 {
			return nil, fmt.Errorf("change of %.200q: %w", c.Path, ErrName)
		}
		if !p.Plain && strings.HasPrefix(path.Base(file), whiteoutPrefix) {
			return nil, fmt.Errorf("change of %.200q: would read as a whiteout: %w", c.Path, ErrName)
		}
		kinds[file] |= 1 << c.Kind
	}
	items := make([]item, 0, len(kinds))
	for file, k := range kinds {
		name := file
		if p.Name != nil {
			name = p.Name(file)
		}
		put := k&(1<<Put|1<<Opaque) != 0
		switch {
		case put:
			items = append(items, item{name, file})
		case file == ".":
			return nil, fmt.Errorf("the root is gone: %w", ErrName)
		default:
			items = append(items, item{path.Join(path.Dir(name), whiteoutPrefix+path.Base(name)), ""})
		}
		if put && k&(1<<Gone|1<<Opaque) != 0 {
			items = append(items, item{path.Join(name, opaqueMarker), ""})
		}
	}
	for _, it := range items {
		if err := checkLength(it.name); err != nil {
			return nil, fmt.Errorf("change of %.200q: %w", it.name, err)
		}
	}
	slices.SortFunc(items, func(a, b item) int { return comparePaths(a.name, b.name) })
	return items, nil
}

// maxBase is the longest file name, in bytes: NAME_MAX, on FreeBSD as on Linux.
const maxBase = 255

// checkLength refuses a name that no file can have, nor have had.
func checkLength(name string) error {
	if len(name) > inroot.MaxName {
		return unix.ENAMETOOLONG
	}
	for c := range strings.SplitSeq(name, "/") {
		if len(strings.TrimPrefix(c, whiteoutPrefix)) > maxBase {
			return unix.ENAMETOOLONG
		}
	}
	return nil
}

// comparePaths sorts the slash before all else, and the root before all.
func comparePaths(a, b string) int {
	if a == "." || b == "." {
		return cmp.Compare(b2i(a != "."), b2i(b != "."))
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if x, y := a[i], b[i]; x != y {
			return cmp.Compare(b2i(x != '/')*(int(x)+1), b2i(y != '/')*(int(y)+1))
		}
	}
	return cmp.Compare(len(a), len(b))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

type inode struct{ dev, ino uint64 }

// pack is one layer being packed.
type pack struct {
	p     *Packer
	root  *inroot.Root
	out   *sink
	sum   Summary
	first map[inode]string // names of files that have more than one

	dir     *dir // the directory of the last item
	dirName string
	notDir  string // the last path that was Put and is no directory
}

func (pk *pack) item(it item) error {
	if it.path == "" {
		if strings.HasSuffix(it.name, "/"+opaqueMarker) && strings.TrimSuffix(it.name, "/"+opaqueMarker) == pk.notDir {
			return nil // a file hides what is below by itself
		}
		pk.sum.Entries++
		pk.sum.Whiteouts++
		return pk.header(&Entry{Name: it.name, Type: Regular, Mode: 0o644, ModTime: time.Unix(0, 0)})
	}
	d, err := pk.open(path.Dir(it.path))
	if err != nil {
		return err
	}
	base := path.Base(it.path)
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd(), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	e := &Entry{Name: it.name, Type: typeOf(uint32(st.Mode))}
	if e.Type == Dir {
		e.Name += "/"
	} else {
		pk.notDir = it.path
	}
	if e.Type == 0 {
		pk.sum.note(it.name, "skipped: a socket")
		return nil
	}
	pk.sum.Entries++
	return pk.file(d, base, e, &st)
}

// open opens the directory name, which must be that, not a link to it.
func (pk *pack) open(name string) (*dir, error) {
	if pk.dir != nil && pk.dirName == name {
		return pk.dir, nil
	}
	f, p, err := pk.root.OpenDir(name, nil)
	if err != nil {
		return nil, cause(err)
	}
	if p != path.Join("/", name) {
		f.Close()
		return nil, fmt.Errorf("%.200q leads to %.200q: %w", name, p, ErrName)
	}
	pk.closeDir()
	pk.dir, pk.dirName = &dir{f, p}, name
	return pk.dir, nil
}

func (pk *pack) closeDir() {
	if pk.dir != nil {
		pk.dir.file.Close() // opened for look-ups
		pk.dir = nil
	}
}

// file packs one file. It is opened first, and all said about it is of what was opened.
func (pk *pack) file(d *dir, base string, e *Entry, st *unix.Stat_t) error {
	flags := unix.O_NOFOLLOW | unix.O_CLOEXEC
	opath := e.Type != Regular && e.Type != Dir
	if opath {
		flags |= oPath
	} else {
		flags |= unix.O_RDONLY | unix.O_NONBLOCK
	}
	fd, err := unix.Openat(d.fd(), base, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	was := typeOf(uint32(st.Mode))
	if err := unix.Fstat(fd, st); err != nil {
		return err
	}
	if typeOf(uint32(st.Mode)) != was {
		return fmt.Errorf("changed its type while being packed: %w", fs.ErrInvalid)
	}
	if st.Nlink > 1 && e.Type != Dir {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := pk.first[id]; ok {
			pk.sum.Links++
			e.Type, e.Linkname = Link, first
			pk.stat(e, st, false)
			if err := pk.owners(e); err != nil {
				return err
			}
			return pk.header(e)
		}
		pk.first[id] = e.Name
	}
	e.Xattrs, err = readXattrs(fd, opath)
	if errors.Is(err, errors.ErrUnsupported) {
		pk.sum.note(e.Name, "attributes not read: %v", err)
	} else if err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	packable(e.Xattrs)
	lists, err := readACLs(fd, st, e.Xattrs)
	if err != nil {
		return fmt.Errorf("read access control lists: %w", err)
	}
	pk.stat(e, st, true)
	if err := pk.owners(e); err != nil {
		return err
	}
	if err := pk.lists(e, lists); err != nil {
		return err
	}
	switch e.Type {
	case Regular:
		return pk.regular(fd, e, st)
	case Dir:
		pk.sum.Dirs++
	case Symlink:
		pk.sum.Symlinks++
		if e.Linkname, err = readLink(fd, st.Size); err != nil {
			return err
		}
	default:
		pk.sum.Specials++
	}
	return pk.header(e)
}

// packable drops the attributes that are of this host, or of the mount it is in.
func packable(attrs map[string]string) {
	for name := range attrs {
		switch {
		case strings.Contains(name, ".overlay."), name == "security.selinux", name == "security.ima", name == "security.evm":
			delete(attrs, name)
		}
	}
}

// stat copies what stat(2) says of a file into e.
func (pk *pack) stat(e *Entry, st *unix.Stat_t, full bool) {
	e.Mode, e.UID, e.GID = uint32(st.Mode)&0o7777, int64(st.Uid), int64(st.Gid)
	e.ModTime = pk.time(modTime(st))
	if full && (e.Type == Char || e.Type == Block) {
		e.Major, e.Minor = devNumbers(st)
	}
	if full {
		e.Flags = formatFlags(statFlags(st))
	}
}

func (pk *pack) time(t time.Time) time.Time {
	if !pk.p.Epoch.IsZero() && t.After(pk.p.Epoch) {
		return pk.p.Epoch
	}
	return t
}

func (pk *pack) owners(e *Entry) (err error) {
	if e.UID, err = unmapID(pk.p.UIDs, e.UID); err != nil {
		return fmt.Errorf("uid %w", err)
	}
	if e.GID, err = unmapID(pk.p.GIDs, e.GID); err != nil {
		return fmt.Errorf("gid %w", err)
	}
	return nil
}

// lists puts access control lists into e as text, with ids for names.
func (pk *pack) lists(e *Entry, lists map[string]acl) error {
	if len(lists) == 0 {
		return nil
	}
	e.ACLs = map[string]string{}
	for list, a := range lists {
		for i := range a {
			ranges := pk.p.UIDs
			switch a[i].tag {
			case aclUser:
			case aclGroup:
				ranges = pk.p.GIDs
			default:
				continue
			}
			id, err := unmapID(ranges, int64(a[i].id))
			if err != nil {
				return fmt.Errorf("access control list %s: %w", list, err)
			}
			a[i].id = uint32(id)
		}
		e.ACLs[list] = a.text(list)
	}
	return nil
}

func unmapID(ranges []IDMap, id int64) (int64, error) {
	back := make([]IDMap, len(ranges))
	for i, m := range ranges {
		back[i] = IDMap{Inside: m.Outside, Outside: m.Inside, Size: m.Size}
	}
	n, err := mapID(back, id)
	return int64(n), err
}

func readLink(fd int, size int64) (string, error) {
	buf := make([]byte, max(size, inroot.MaxName)+1)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
