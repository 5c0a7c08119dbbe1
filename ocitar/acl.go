package ocitar

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The access control lists a file can have, by the names that pax keys give them
// (SCHILY.acl.NAME): of POSIX.1e two, of NFSv4 one.
const (
	listAccess  = "access"
	listDefault = "default" // what a directory gives to what is made in it
	listNFSv4   = "ace"
)

// An ace is one entry of an access control list. Its numbers are those of FreeBSD's
// sys/acl.h; for POSIX.1e Linux has the same (linux/posix_acl.h).
type ace struct {
	tag   uint32
	id    uint32 // of aclUser and aclGroup
	name  string // the same as text, where the archive has no number
	perm  uint32
	kind  uint16 // of NFSv4: allow, deny, audit or alarm
	flags uint16 // of NFSv4: inheritance
}

type acl []ace

// Tags.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
	aclEveryone = 0x40
)

// maxACL is how many entries a list may have: ACL_MAX_ENTRIES, sys/acl.h. Linux
// sets no bound but that of an attribute.
const maxACL = 254

// A letter of an NFSv4 permission or flag (setfacl(1), NFSv4 ACL ENTRIES).
type letter struct {
	c   byte
	bit uint32
}

var (
	posixLetters = []letter{{'r', 4}, {'w', 2}, {'x', 1}}
	nfs4Letters  = []letter{
		{'r', 0x8}, {'w', 0x10}, {'x', 0x1}, {'p', 0x20}, {'D', 0x100}, {'d', 0x800}, {'a', 0x200},
		{'A', 0x400}, {'R', 0x40}, {'W', 0x80}, {'c', 0x1000}, {'C', 0x2000}, {'o', 0x4000}, {'s', 0x8000},
	}
	flagLetters = []letter{
		{'f', inheritFile}, {'d', inheritDir}, {'i', inheritOnly}, {'n', 0x4}, {'S', 0x10}, {'F', 0x20}, {'I', 0x80},
	}
	nfs4Kinds = []string{8: "allow", 9: "deny", 10: "audit", 11: "alarm"} // by bit
)

// Flags of an NFSv4 entry.
const (
	inheritFile = 0x1
	inheritDir  = 0x2
	inheritOnly = 0x8
)

const nfs4Allow, nfs4Deny = 1 << 8, 1 << 9

// parseACL reads the text form of a list: entries between commas or line ends, as star,
// libarchive and GNU tar write them, maybe with an id after each.
func parseACL(list, text string) (acl, error) {
	var a acl
	for entry := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		entry, _, _ = strings.Cut(entry, "#")
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if len(a) == maxACL {
			return nil, fmt.Errorf("more than %d entries: %w", maxACL, ErrLimit)
		}
		parse := parsePosix
		if list == listNFSv4 {
			parse = parseNFSv4
		}
		e, err := parse(strings.Split(entry, ":"))
		if err != nil {
			return nil, fmt.Errorf("entry %.80q: %w", entry, err)
		}
		a = append(a, e)
	}
	if list != listNFSv4 { // the kernels want them in this order
		slices.SortStableFunc(a, func(x, y ace) int { return cmp.Or(cmp.Compare(x.tag, y.tag), cmp.Compare(x.id, y.id)) })
	}
	return a, nil
}

// parsePosix reads tag, qualifier, permissions, id. Mask and other may come without
// the qualifier, which is empty.
func parsePosix(f []string) (e ace, err error) {
	tags := map[string]uint32{
		"u": aclUserObj, "user": aclUserObj, "g": aclGroupObj, "group": aclGroupObj,
		"m": aclMask, "mask": aclMask, "o": aclOther, "other": aclOther,
	}
	e.tag = tags[f[0]]
	if e.tag >= aclMask && len(f) == 2 {
		f = []string{f[0], "", f[1]}
	}
	if e.tag == 0 || len(f) < 3 || len(f) > 4 {
		return e, ErrFormat
	}
	if e.tag < aclMask && f[1] != "" {
		e.tag <<= 1 // of a named user or group
		if err := e.qualify(f[1], f[3:]); err != nil {
			return e, err
		}
	}
	e.perm, err = parseLetters(f[2], posixLetters)
	return e, err
}

// parseNFSv4 reads tag, qualifier, permissions, flags, type, id.
func parseNFSv4(f []string) (e ace, err error) {
	switch f[0] {
	case "owner@":
		e.tag = aclUserObj
	case "group@":
		e.tag = aclGroupObj
	case "everyone@":
		e.tag = aclEveryone
	case "user", "u":
		e.tag = aclUser
	case "group", "g":
		e.tag = aclGroup
	default:
		return e, ErrFormat
	}
	if e.tag == aclUser || e.tag == aclGroup {
		if len(f) < 5 || len(f) > 6 {
			return e, ErrFormat
		}
		if err := e.qualify(f[1], f[5:]); err != nil {
			return e, err
		}
		f = f[1:5]
	}
	if len(f) != 4 {
		return e, ErrFormat
	}
	if e.perm, err = parseLetters(f[1], nfs4Letters); err != nil {
		return e, err
	}
	flags, err := parseLetters(f[2], flagLetters)
	if err != nil {
		return e, err
	}
	bit := slices.Index(nfs4Kinds, f[3])
	if f[3] == "" || bit < 0 {
		return e, ErrFormat
	}
	e.flags, e.kind = uint16(flags), 1<<bit
	return e, nil
}

// qualify takes the id of a named entry: the number after it, or the name as one.
func (e *ace) qualify(name string, id []string) error {
	text := name
	if len(id) > 0 && id[0] != "" {
		text = id[0]
	}
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err == nil && n < 1<<32-1:
		e.id = uint32(n)
	case text != name || name == "":
		return ErrFormat
	default:
		e.name = name
	}
	return nil
}

func parseLetters(s string, letters []letter) (bits uint32, err error) {
next:
	for i := range len(s) {
		for _, l := range letters {
			if s[i] == l.c {
				bits |= l.bit
				continue next
			}
		}
		if s[i] != '-' {
			return 0, fmt.Errorf("%q: %w", s[i], ErrFormat)
		}
	}
	return bits, nil
}

func formatLetters(b []byte, bits uint32, letters []letter) []byte {
	for _, l := range letters {
		if bits&l.bit != 0 {
			b = append(b, l.c)
		} else {
			b = append(b, '-')
		}
	}
	return b
}

// text is the reverse of parseACL, with ids for names.
func (a acl) text(list string) string {
	var b []byte
	for i, e := range a {
		if i > 0 {
			b = append(b, ',')
		}
		if list == listNFSv4 {
			b = e.nfs4(b)
		} else {
			b = e.posix(b)
		}
	}
	return string(b)
}

func (e *ace) posix(b []byte) []byte {
	switch e.tag {
	case aclUserObj:
		b = append(b, "user::"...)
	case aclUser:
		b = fmt.Appendf(b, "user:%d:", e.id)
	case aclGroupObj:
		b = append(b, "group::"...)
	case aclGroup:
		b = fmt.Appendf(b, "group:%d:", e.id)
	case aclMask:
		b = append(b, "mask::"...)
	case aclOther:
		b = append(b, "other::"...)
	}
	return formatLetters(b, e.perm, posixLetters)
}

func (e *ace) nfs4(b []byte) []byte {
	switch e.tag {
	case aclUserObj:
		b = append(b, "owner@:"...)
	case aclUser:
		b = fmt.Appendf(b, "user:%d:", e.id)
	case aclGroupObj:
		b = append(b, "group@:"...)
	case aclGroup:
		b = fmt.Appendf(b, "group:%d:", e.id)
	case aclEveryone:
		b = append(b, "everyone@:"...)
	}
	b = append(formatLetters(b, e.perm, nfs4Letters), ':')
	b = append(formatLetters(b, uint32(e.flags), flagLetters), ':')
	for bit, name := range nfs4Kinds {
		if e.kind == 1<<bit {
			b = append(b, name...)
		}
	}
	return b
}

// trivial says that the list says no more than the mode: every file of a file system
// with NFSv4 lists has one.
func (a acl) trivial(list string, mode uint32) bool {
	switch list {
	case listAccess:
		return len(a) <= 3
	case listNFSv4:
		return slices.Equal(a, nfs4Trivial(mode))
	}
	return len(a) == 0
}

// nfs4Trivial is the list that stands for a mode (acl_nfs4_trivial_from_mode in
// sys/kern/subr_acl_nfs4.c).
func nfs4Trivial(mode uint32) acl {
	const always = 0x1000 | 0x200 | 0x40 | 0x8000 // read lists and attributes, synchronize
	allow := func(rwx uint32) uint32 {
		return always | rwx&4*(0x8/4) | rwx&2*(0x30/2) | rwx&1
	}
	user := allow(mode>>6) | 0x2000 | 0x4000 | 0x400 | 0x80 // write them
	group, everyone := allow(mode>>3), allow(mode)
	userDeny := (group | everyone) &^ user
	groupDeny := everyone &^ group
	first := groupDeny &^ userDeny
	var a acl
	for _, e := range []ace{
		{tag: aclUserObj, perm: first, kind: nfs4Allow},
		{tag: aclUserObj, perm: userDeny, kind: nfs4Deny},
		{tag: aclGroupObj, perm: groupDeny, kind: nfs4Deny},
	} {
		if e.perm != 0 {
			a = append(a, e)
		}
	}
	return append(a, ace{tag: aclUserObj, perm: user, kind: nfs4Allow},
		ace{tag: aclGroupObj, perm: group, kind: nfs4Allow}, ace{tag: aclEveryone, perm: everyone, kind: nfs4Allow})
}

// withoutInheritance is the list that holds for the directory itself alone, and
// whether that is another one.
func (a acl) withoutInheritance() (own acl, differs bool) {
	for _, e := range a {
		if e.flags&(inheritFile|inheritDir) != 0 {
			differs = true
			if e.flags&inheritOnly != 0 {
				continue
			}
			e.flags = 0
		}
		own = append(own, e)
	}
	return own, differs
}
