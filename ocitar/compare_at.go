package ocitar

import (
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// A Hint is a path that may be another than it was, such as zfs-diff(8) lists. Names in
// the directory it is in may have come and gone, and in itself, if it is one.
type Hint struct {
	Path string
	Deep bool // so may all that is under it: a directory that was renamed
}

// CompareAt is Compare where it is known what may differ: the work is proportional to
// that, not to the trees. A hint too many costs time, one that is missing a change. Only
// where a file with several names has changed, and the hints have not all of them, is
// the whole new tree searched for the others.
func CompareAt(old, new string, hints iter.Seq2[Hint, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		s := scope{list: map[string]bool{"": true}, deep: map[string]bool{}, kids: map[string][]string{}}
		for h, err := range hints {
			if err == nil {
				err = s.add(h)
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
		}
		compare(old, new, &s, yield)
	}
}

// A scope is which parts of two trees to compare. The root's path is "".
type scope struct {
	list map[string]bool     // directories whose names are compared
	deep map[string]bool     // and those with all that is under them
	kids map[string][]string // by directory, the names that lead to one of them
}

func (s *scope) add(h Hint) error {
	p := path.Clean("/" + h.Path)[1:]
	if path.Clean(h.Path) != p && p != "" {
		return fmt.Errorf("hint %.200q: %w", h.Path, ErrName)
	}
	s.list[p] = true
	if h.Deep {
		s.deep[p] = true
	}
	for first := true; p != ""; first = false {
		dir, base := path.Split(p)
		dir = path.Clean("/" + dir)[1:]
		if first {
			s.list[dir] = true
		}
		if slices.Contains(s.kids[dir], base) {
			break
		}
		s.kids[dir] = append(s.kids[dir], base)
		p = dir
	}
	return nil
}

// leads says whether anything in the directory name is to be compared.
func (s *scope) leads(name string) bool {
	return s.list[name] || s.deep[name] || len(s.kids[name]) > 0
}

// names are those of a directory to be compared.
func (c *comparer) names(fd int, name string) ([]string, error) {
	if c.scope == nil || c.whole > 0 || c.scope.list[name] {
		return sortedNames(fd)
	}
	var names []string
	for _, base := range c.scope.kids[name] {
		var st unix.Stat_t
		err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, base)
	}
	slices.Sort(names)
	return names, nil
}

// missingNames finds the names of changed files that the scope has left out.
func (c *comparer) missingNames(root *inroot.Root) error {
	missing := map[inode]*linked{}
	for id, l := range c.links {
		if l.changed && uint64(len(l.names)) < l.nlink {
			missing[id] = l
			l.names = l.names[:0]
		}
	}
	if c.scope == nil || len(missing) == 0 {
		return nil
	}
	var failed error
	w := walker{visit: func(n *node) (bool, bool) {
		if l := missing[inode{uint64(n.st.Dev), n.st.Ino}]; l != nil && !n.isDir() {
			l.names = append(l.names, n.path)
		}
		return n.isDir(), true
	}}
	w.root(root, func(_ Change, err error) bool {
		failed = errors.Join(failed, err)
		return true
	})
	return failed
}
