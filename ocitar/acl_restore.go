package ocitar

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// maxNameFile bounds etc/passwd and etc/group, in bytes.
const maxNameFile = 1 << 20

// parsedACLs are the lists of e, of which named have names without numbers in them. A
// list that does not make sense is noted.
func (x *unpack) parsedACLs(e *Entry) (lists, named map[string]acl, err error) {
	for _, list := range slices.Sorted(maps.Keys(e.ACLs)) {
		a, err := parseACL(list, e.ACLs[list])
		if err == nil && len(a) == 0 {
			continue
		}
		if err == nil {
			err = x.mapACL(a)
		}
		if err != nil {
			if err := x.tolerate(e.Name, "access control list "+list, err); err != nil {
				return nil, nil, err
			}
			continue
		}
		to := &lists
		if slices.ContainsFunc(a, func(e ace) bool { return e.name != "" }) {
			to = &named
		}
		if *to == nil {
			*to = map[string]acl{}
		}
		(*to)[list] = a
	}
	return lists, named, nil
}

func (x *unpack) mapACL(a acl) error {
	for i := range a {
		if err := x.mapACE(&a[i]); err != nil {
			return err
		}
	}
	return nil
}

func (x *unpack) mapACE(e *ace) error {
	ranges := x.u.UIDs
	switch {
	case e.name != "" || e.tag != aclUser && e.tag != aclGroup:
		return nil
	case e.tag == aclGroup:
		ranges = x.u.GIDs
	}
	id, err := mapID(ranges, int64(e.id))
	e.id = uint32(id)
	return err
}

// setACLs gives a file its lists: after its mode, which on ZFS takes them away (aclmode,
// zfsprops(7)), and which they agree with.
func (x *unpack) setACLs(fd int, opath bool, name string, lists map[string]acl) error {
	for _, list := range slices.Sorted(maps.Keys(lists)) {
		err := setACL(fd, opath, list, lists[list])
		if err := x.tolerate(name, "access control list "+list, err); err != nil {
			return err
		}
	}
	return nil
}

// strip takes from a directory of lower layers what this layer's entry for it does not
// have: an entry is all there is to say of its file.
func (x *unpack) strip(fd int, name string, keep map[string]string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	attrs, err := readXattrs(fd, false)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, errCapMode) {
		attrs, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	packable(attrs)
	lists, err := readACLs(fd, &st, attrs)
	if err == nil && len(lists) > 0 {
		err = stripACLs(fd, &st, lists)
	}
	if err := x.tolerate(name, "removal of access control lists", err); err != nil {
		return err
	}
	for attr := range attrs {
		if _, kept := keep[attr]; kept {
			continue
		}
		if err := x.tolerate(name, "removal of attribute "+attr, removeXattr(fd, attr)); err != nil {
			return err
		}
	}
	return nil
}

// lift has a directory give nothing of its lists to what is made in it.
func (x *unpack) lift(d *dir, st *unix.Stat_t, l *late) error {
	f, err := openDirAt(d.fd(), ".")
	if errors.Is(err, fs.ErrPermission) { // not ours to read: so its lists are not ours to change
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	l.lists, err = liftInheritance(int(f.Fd()), st)
	return x.tolerate(d.path, "inheritance of access control lists lifted", err)
}

// An idTable has the numbers of names, as the files of a root tell them (passwd(5)).
type idTable map[string]uint32

// resolve gives the entries with names their numbers: those of the root's own users, and
// of the layers' below, where the layer is alone.
func (x *unpack) resolve(lists map[string]acl) error {
	for _, a := range lists {
		for i := range a {
			e := &a[i]
			if e.name == "" {
				continue
			}
			file, table := "etc/passwd", &x.users
			if e.tag == aclGroup {
				file, table = "etc/group", &x.groups
			}
			if *table == nil {
				*table = x.readIDs(file)
			}
			id, ok := (*table)[e.name]
			if !ok {
				return fmt.Errorf("%.80q is not in the root's %s: %w", e.name, file, unix.EINVAL)
			}
			e.id, e.name = id, ""
			if err := x.mapACE(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *unpack) readIDs(file string) idTable {
	ids := idTable{}
	for _, r := range append([]*inroot.Root{x.root}, x.u.Lower...) {
		data, err := r.ReadFile(file, maxNameFile)
		if err != nil { // none, or none that can be read: then it says nothing
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.SplitN(line, ":", 4)
			if len(f) < 4 {
				continue
			}
			if n, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				if _, twice := ids[f[0]]; !twice { // the first counts: getpwnam(3)
					ids[f[0]] = uint32(n)
				}
			}
		}
		break
	}
	return ids
}
