package ocitar

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxPax bounds one extended header, in bytes. An extended attribute has up to 64 KiB.
const maxPax = 4 << 20

// pax has the records of one extended header (pax(1) of POSIX.1, "pax Extended Header").
type pax struct {
	values map[string]string
	sparse []Span // GNU.sparse.offset and .numbytes, which come many times (format 0.0)
}

// parsePax splits "LENGTH KEY=VALUE\n" records. A key twice is refused: readers
// differ in which one holds, so somebody is to be misled.
func parsePax(b []byte) (pax, error) {
	p := pax{values: map[string]string{}}
	for len(b) > 0 {
		i := bytes.IndexByte(b, ' ')
		if i < 1 || i > 10 {
			return p, fmt.Errorf("pax record without length: %w", ErrFormat)
		}
		n, err := strconv.ParseUint(string(b[:i]), 10, 31)
		if err != nil || int(n) < i+3 || int(n) > len(b) || b[n-1] != '\n' {
			return p, fmt.Errorf("pax record of wrong length %.10q: %w", b[:i], ErrFormat)
		}
		key, value, ok := strings.Cut(string(b[i+1:n-1]), "=")
		if !ok || key == "" {
			return p, fmt.Errorf("pax record without key: %w", ErrFormat)
		}
		b = b[n:]
		if key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes" {
			if err := p.addSpan(key, value); err != nil {
				return p, err
			}
			continue
		}
		if _, dup := p.values[key]; dup {
			return p, fmt.Errorf("pax key %.40q twice: %w", key, ErrFormat)
		}
		p.values[key] = value
	}
	return p, nil
}

func (p *pax) addSpan(key, value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%s %.40q: %w", key, value, ErrFormat)
	}
	if key == "GNU.sparse.offset" {
		p.sparse = append(p.sparse, Span{Off: n, N: -1})
		return nil
	}
	if len(p.sparse) == 0 || p.sparse[len(p.sparse)-1].N >= 0 {
		return fmt.Errorf("%s without offset: %w", key, ErrFormat)
	}
	p.sparse[len(p.sparse)-1].N = n
	return nil
}

// apply overrides the header's fields. size is that of the stored data. An empty
// value means that the header's own field holds.
func (p *pax) apply(e *Entry, size *int64) error {
	for key, v := range p.values {
		if v == "" && !strings.Contains(key, "xattr.") {
			continue
		}
		if err := applyRecord(e, size, key, v); err != nil {
			return err
		}
	}
	return nil
}

func applyRecord(e *Entry, size *int64, key, v string) (err error) {
	switch key {
	case "path":
		e.Name = v
	case "linkpath":
		e.Linkname = v
	case "uname":
		e.Uname = v
	case "gname":
		e.Gname = v
	case "size":
		*size, err = paxInt(key, v)
	case "uid":
		e.UID, err = paxInt(key, v)
	case "gid":
		e.GID, err = paxInt(key, v)
	case "mtime":
		e.ModTime, err = parseTime(v)
	case "SCHILY.fflags":
		e.Flags = v
	case "SCHILY.devmajor":
		e.Major, err = paxDev(key, v)
	case "SCHILY.devminor":
		e.Minor, err = paxDev(key, v)
	default:
		return applyAttr(e, key, v)
	}
	return err
}

// applyAttr takes the keys that have a name in them; all others say nothing to us.
func applyAttr(e *Entry, key, v string) error {
	if name, ok := strings.CutPrefix(key, "SCHILY.acl."); ok {
		return addACL(e, name, v, true)
	}
	name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
	if !ok {
		// libarchive's own form: the name URL-encoded, the value in base64 without padding.
		if name, ok = strings.CutPrefix(key, "LIBARCHIVE.xattr."); !ok {
			return nil
		}
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
		if err != nil {
			return fmt.Errorf("%.80s: %v: %w", key, err, ErrFormat)
		}
		if name, err = url.PathUnescape(name); err != nil {
			return fmt.Errorf("%.80s: %v: %w", key, err, ErrFormat)
		}
		v = string(raw)
		if _, both := e.Xattrs[name]; both { // it writes both forms; SCHILY's holds
			return nil
		}
	}
	if name == "" {
		return fmt.Errorf("attribute without name: %w", ErrFormat)
	}
	if list, ok := strings.CutPrefix(name, aclAttrPrefix); ok {
		if a, err := parseACLAttr(v); err == nil { // else it is noted as an attribute that cannot be
			return addACL(e, list, a.text(list), false)
		}
	}
	if e.Xattrs == nil {
		e.Xattrs = map[string]string{}
	}
	e.Xattrs[name] = v
	return nil
}

// addACL keeps a list: the text that an archiver wrote for others holds before the
// attribute that is Linux's form of the same.
func addACL(e *Entry, list, text string, holds bool) error {
	if _, both := e.ACLs[list]; both && !holds {
		return nil
	}
	if e.ACLs == nil {
		e.ACLs = map[string]string{}
	}
	e.ACLs[list] = text
	return nil
}

func paxInt(key, v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %.40q: %w", key, v, ErrFormat)
	}
	return n, nil
}

func paxDev(key, v string) (uint32, error) {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s %.40q: %w", key, v, ErrFormat)
	}
	return uint32(n), nil
}

// paxRecord appends "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
func paxRecord(b []byte, key, value string) []byte {
	n := len(key) + len(value) + 3
	size := n + len(strconv.Itoa(n))
	if len(strconv.Itoa(size)) > len(strconv.Itoa(n)) {
		size = n + len(strconv.Itoa(size))
	}
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(append(append(b, ' '), key...), '=')
	return append(append(b, value...), '\n')
}
