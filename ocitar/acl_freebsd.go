package ocitar

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

var aclTypes = map[string]uintptr{listAccess: 2, listDefault: 3, listNFSv4: 4} // ACL_TYPE_*, sys/acl.h

const oEmptyPath = 0x02000000 // O_EMPTY_PATH, sys/fcntl.h (FreeBSD 13.1)

// setACL gives fd a list. The call does not take what was opened with O_PATH (getvnode
// in sys/kern/vfs_acl.c): a fifo is opened once more, which for reading does not block;
// a link and a device cannot be.
func setACL(fd int, opath bool, list string, a acl) error {
	kind, ok := aclTypes[list]
	if !ok {
		return errors.ErrUnsupported
	}
	if opath {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if typeOf(uint32(st.Mode)) != Fifo {
			return fmt.Errorf("of a link or device: %w", errors.ErrUnsupported)
		}
		n, err := unix.Openat(fd, "", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|oEmptyPath, 0)
		if err != nil {
			return err
		}
		defer unix.Close(n)
		fd = n
	}
	var k kernelACL
	if err := k.put(a); err != nil {
		return err
	}
	return aclCall(unix.SYS___ACL_SET_FD, fd, kind, &k)
}

func aclCall(trap uintptr, fd int, kind uintptr, k *kernelACL) error {
	if _, _, errno := unix.Syscall(trap, uintptr(fd), kind, uintptr(unsafe.Pointer(k))); errno != 0 {
		return errno
	}
	return nil
}

func getACL(fd int, list string) (acl, error) {
	var k kernelACL
	k.clear()
	err := aclCall(unix.SYS___ACL_GET_FD, fd, aclTypes[list], &k)
	if err == unix.EINVAL || err == unix.EOPNOTSUPP { // another brand than the file system's, or none
		return nil, nil
	}
	return k.get(), err
}

// readACLs returns the lists of fd that say more than its mode.
func readACLs(fd int, st *unix.Stat_t, _ map[string]string) (map[string]acl, error) {
	var lists map[string]acl
	names := []string{listNFSv4, listAccess, listDefault}
	if typeOf(uint32(st.Mode)) != Dir {
		names = names[:2]
	}
	for _, list := range names {
		a, err := getACL(fd, list)
		if err != nil {
			return nil, err
		}
		if len(a) == 0 || a.trivial(list, uint32(st.Mode)) {
			if len(a) > 0 && list == listNFSv4 {
				break // the file system has no others
			}
			continue
		}
		if lists == nil {
			lists = map[string]acl{}
		}
		lists[list] = a
	}
	return lists, nil
}

// stripACLs removes lists from the directory fd, which has them.
func stripACLs(fd int, st *unix.Stat_t, lists map[string]acl) error {
	for list, a := range lists {
		var err error
		switch list {
		case listNFSv4:
			err = setACL(fd, false, list, nfs4Trivial(uint32(st.Mode)))
		case listDefault:
			err = deleteDefault(fd)
		case listAccess:
			var three acl
			for _, e := range a {
				if e.tag == aclUserObj || e.tag == aclGroupObj || e.tag == aclOther {
					three = append(three, e)
				}
			}
			err = setACL(fd, false, list, three)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func deleteDefault(fd int) error {
	if _, _, errno := unix.Syscall(unix.SYS___ACL_DELETE_FD, uintptr(fd), aclTypes[listDefault], 0); errno != 0 {
		return errno
	}
	return nil
}

// liftInheritance has the directory fd, until its lists are set again, give nothing to
// what is made in it, and returns them.
func liftInheritance(fd int, st *unix.Stat_t) (map[string]acl, error) {
	a, err := getACL(fd, listNFSv4)
	if err != nil {
		return nil, err
	}
	if len(a) > 0 {
		own, differs := a.withoutInheritance()
		if !differs {
			return nil, nil
		}
		if len(own) == 0 {
			own = nfs4Trivial(uint32(st.Mode))
		}
		return map[string]acl{listNFSv4: a}, setACL(fd, false, listNFSv4, own)
	}
	if a, err = getACL(fd, listDefault); err != nil || len(a) == 0 {
		return nil, err
	}
	return map[string]acl{listDefault: a}, deleteDefault(fd)
}
