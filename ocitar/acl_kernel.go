package ocitar

import (
	"encoding/binary"
	"fmt"
)

// The forms in which kernels take and give access control lists. Both are written
// and read here, so that they can be tested anywhere.

// Linux: extended attributes (struct posix_acl_xattr_header and _entry of
// linux/posix_acl_xattr.h), little-endian.
const (
	aclAttrPrefix  = "system.posix_acl_" // and the list's name
	aclAttrVersion = 2
	noID           = 1<<32 - 1
)

func (a acl) attr() string {
	b := binary.LittleEndian.AppendUint32(nil, aclAttrVersion)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag))
		b = binary.LittleEndian.AppendUint16(b, uint16(e.perm))
		id := uint32(noID)
		if e.tag == aclUser || e.tag == aclGroup {
			id = e.id
		}
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

func parseACLAttr(s string) (acl, error) {
	b := []byte(s)
	if len(b) < 4 || (len(b)-4)%8 != 0 || binary.LittleEndian.Uint32(b) != aclAttrVersion {
		return nil, fmt.Errorf("access control list as an attribute of %d bytes: %w", len(b), ErrFormat)
	}
	if len(b) > 4+8*maxACL {
		return nil, fmt.Errorf("more than %d entries: %w", maxACL, ErrLimit)
	}
	var a acl
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := ace{tag: uint32(binary.LittleEndian.Uint16(b)), perm: uint32(binary.LittleEndian.Uint16(b[2:]))}
		switch e.tag {
		case aclUser, aclGroup:
			e.id = binary.LittleEndian.Uint32(b[4:])
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		default:
			return nil, fmt.Errorf("tag %#x: %w", e.tag, ErrFormat)
		}
		if e.perm > 7 || e.id == noID {
			return nil, fmt.Errorf("permissions %#x of %d: %w", e.perm, e.id, ErrFormat)
		}
		a = append(a, e)
	}
	return a, nil
}

// FreeBSD: struct acl of sys/acl.h.
const (
	aclHead  = 24 // acl_maxcnt, acl_cnt, acl_spare[4]
	aclEntry = 16 // ae_tag, ae_id, ae_perm, ae_entry_type, ae_flags
	aclSize  = aclHead + maxACL*aclEntry
)

// A kernelACL is a struct acl, room for all its entries included.
type kernelACL [aclSize]byte

func (k *kernelACL) clear() {
	*k = kernelACL{}
	binary.NativeEndian.PutUint32(k[:], maxACL)
}

func (k *kernelACL) put(a acl) error {
	if len(a) > maxACL {
		return fmt.Errorf("more than %d entries: %w", maxACL, ErrLimit)
	}
	k.clear()
	binary.NativeEndian.PutUint32(k[4:], uint32(len(a)))
	for i, e := range a {
		id := uint32(noID)
		if e.tag == aclUser || e.tag == aclGroup {
			id = e.id
		}
		b := k[aclHead+aclEntry*i:]
		binary.NativeEndian.PutUint32(b, e.tag)
		binary.NativeEndian.PutUint32(b[4:], id)
		binary.NativeEndian.PutUint32(b[8:], e.perm)
		binary.NativeEndian.PutUint16(b[12:], e.kind)
		binary.NativeEndian.PutUint16(b[14:], e.flags)
	}
	return nil
}

func (k *kernelACL) get() acl {
	n := min(binary.NativeEndian.Uint32(k[4:]), maxACL)
	a := make(acl, n)
	for i := range a {
		b := k[aclHead+aclEntry*i:]
		a[i] = ace{
			tag:   binary.NativeEndian.Uint32(b),
			perm:  binary.NativeEndian.Uint32(b[8:]),
			kind:  binary.NativeEndian.Uint16(b[12:]),
			flags: binary.NativeEndian.Uint16(b[14:]),
		}
		if a[i].tag == aclUser || a[i].tag == aclGroup {
			a[i].id = binary.NativeEndian.Uint32(b[4:])
		}
	}
	return a
}
