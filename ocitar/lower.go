package ocitar

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// lowFile is what the lower layers, seen as one, have at a path.
type lowFile struct {
	root *inroot.Root
	path string
	st   unix.Stat_t
	link string // target, if it is a symlink
}

// lower looks path, which has no links in it, up in Lower as overlayfs would: a layer
// hides what is below its files, its whiteouts and its opaque directories. It returns
// nil where there is nothing.
func (x *unpack) lower(path string) (*lowFile, error) {
	layers := x.u.Lower
	var found *lowFile
	for end := 1; len(layers) > 0; end++ {
		if i := strings.IndexByte(path[end:], '/'); i >= 0 {
			end += i
		} else {
			end = len(path)
		}
		var err error
		if found, layers, err = merged(layers, path[:end]); err != nil || found == nil {
			return nil, err
		}
		if end == len(path) {
			return found, nil
		}
		if typeOf(uint32(found.st.Mode)) != Dir {
			return nil, nil
		}
	}
	return nil, nil
}

// merged finds path in the layers, whose directories above it are merged already,
// and the layers whose directories it merges itself.
func merged(layers []*inroot.Root, path string) (found *lowFile, below []*inroot.Root, err error) {
	for _, r := range layers {
		f := &lowFile{root: r, path: path}
		f.st, err = r.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		switch t := typeOf(uint32(f.st.Mode)); {
		case whiteoutStat(&f.st) || t != Dir && found != nil:
			return found, below, nil
		case t == Symlink:
			f.link, err = r.Readlink(path)
			return f, nil, err
		case t != Dir:
			return f, nil, nil
		}
		if found == nil {
			found = f
		}
		below = append(below, r)
		if opaque, err := f.opaque(); err != nil || opaque {
			return found, below, err
		}
	}
	return found, below, nil
}

// open opens the file for reading its attributes.
func (f *lowFile) open() (*dir, error) {
	parent, base, err := f.root.Parent(f.path)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	d, err := openDirAt(int(parent.Fd()), base)
	if err != nil {
		return nil, err
	}
	return &dir{d, f.path}, nil
}

func (f *lowFile) opaque() (bool, error) {
	d, err := f.open()
	if err != nil {
		return false, err
	}
	defer d.file.Close()
	attrs, err := readXattrs(d.fd(), false)
	return attrs["trusted.overlay.opaque"] == "y" || attrs["user.overlay.opaque"] == "y", err
}

// copyAttributes gives the directory fd the owner and attributes of a lower one, and
// returns its access control lists, which come when it is filled.
func (x *unpack) copyAttributes(fd int, low *lowFile) (map[string]acl, error) {
	if x.chown {
		if err := chown(fd, false, int(low.st.Uid), int(low.st.Gid)); err != nil {
			return nil, err
		}
	}
	d, err := low.open()
	if err != nil {
		return nil, err
	}
	defer d.file.Close()
	attrs, err := readXattrs(d.fd(), false)
	if err != nil {
		return nil, err
	}
	lists, err := readACLs(d.fd(), &low.st, attrs)
	if err != nil {
		return nil, err
	}
	return lists, x.extended(fd, false, &Entry{Name: low.path, Xattrs: attrs})
}
