package ocitar

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setACL gives fd a list. NFSv4's are not known to Linux's own file systems.
func setACL(fd int, opath bool, list string, a acl) error {
	if list != listAccess && list != listDefault {
		return errors.ErrUnsupported
	}
	return setXattr(fd, opath, aclAttrPrefix+list, a.attr())
}

// readACLs takes the lists out of attrs, which are those of fd: here they are attributes.
func readACLs(_ int, _ *unix.Stat_t, attrs map[string]string) (map[string]acl, error) {
	var lists map[string]acl
	for _, list := range []string{listAccess, listDefault} {
		v, ok := attrs[aclAttrPrefix+list]
		if !ok {
			continue
		}
		a, err := parseACLAttr(v)
		if err != nil {
			return nil, err
		}
		delete(attrs, aclAttrPrefix+list)
		if lists == nil {
			lists = map[string]acl{}
		}
		lists[list] = a
	}
	return lists, nil
}

// stripACLs removes the lists, which attrs has as well, from the directory fd.
func stripACLs(fd int, _ *unix.Stat_t, lists map[string]acl) error {
	for list := range lists {
		if err := unix.Fremovexattr(fd, aclAttrPrefix+list); err != nil && err != unix.ENODATA {
			return err
		}
	}
	return nil
}

// liftInheritance has the directory fd, until its lists are set again, give nothing to
// what is made in it, and returns them.
func liftInheritance(fd int, _ *unix.Stat_t) (map[string]acl, error) {
	const name = aclAttrPrefix + listDefault
	v, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := parseACLAttr(string(v))
	if err != nil {
		return nil, err
	}
	return map[string]acl{listDefault: a}, unix.Fremovexattr(fd, name)
}
