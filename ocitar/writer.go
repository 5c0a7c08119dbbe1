package ocitar

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// header writes e's headers: ustar, and pax before it for what ustar has no room for.
func (pk *pack) header(e *Entry) error {
	var h [recordSize]byte
	ext := map[string]string{}
	stored := e.Stored
	var sparseMap []byte
	if e.sparse {
		sparseMap = e.sparseMap()
		stored += int64(len(sparseMap))
		ext["GNU.sparse.major"], ext["GNU.sparse.minor"] = "1", "0"
		ext["GNU.sparse.name"] = e.Name
		ext["GNU.sparse.realsize"] = strconv.FormatInt(e.Size, 10)
	}
	putName(h[:], e.Name, ext)
	putText(h[157:257], e.Linkname, "linkpath", ext)
	putInt(h[100:108], int64(e.Mode), "", ext)
	putInt(h[108:116], e.UID, "uid", ext)
	putInt(h[116:124], e.GID, "gid", ext)
	putInt(h[124:136], stored, "size", ext)
	if !putNumber(h[136:148], e.ModTime.Unix()) || e.ModTime.Nanosecond() != 0 {
		putNumber(h[136:148], max(e.ModTime.Unix(), 0))
		ext["mtime"] = formatTime(e.ModTime)
	}
	h[156] = byte(e.Type)
	copy(h[257:265], "ustar\x0000")
	putInt(h[329:337], int64(e.Major), "SCHILY.devmajor", ext)
	putInt(h[337:345], int64(e.Minor), "SCHILY.devminor", ext)
	if e.Flags != "" {
		ext["SCHILY.fflags"] = e.Flags
	}
	for list, text := range e.ACLs {
		ext["SCHILY.acl."+list] = text
	}
	for name, v := range e.Xattrs {
		ext["SCHILY.xattr."+name] = v
	}
	if err := pk.extended(&h, ext); err != nil {
		return err
	}
	sign(h[:])
	if err := pk.out.write(h[:]); err != nil {
		return err
	}
	return pk.out.write(sparseMap)
}

// extended writes a pax header with the records of ext, if any.
func (pk *pack) extended(of *[recordSize]byte, ext map[string]string) error {
	if len(ext) == 0 {
		return nil
	}
	var records []byte
	for _, k := range slices.Sorted(maps.Keys(ext)) {
		if strings.Contains(k, "=") {
			return fmt.Errorf("attribute %.200q: a pax key has no =: %w", k, ErrName)
		}
		records = paxRecord(records, k, ext[k])
	}
	if len(records) > maxPax {
		return fmt.Errorf("attributes of %d bytes: %w", len(records), ErrLimit)
	}
	h := *of // the same time, so that only the entry itself decides the bytes
	clear(h[:100])
	copy(h[:], "PaxHeader/")
	copy(h[10:100], strings.TrimRight(cstring(of[:100]), "/"))
	clear(h[157:257])
	clear(h[329:])
	copy(h[100:108], "0000644\x00")
	copy(h[108:116], "0000000\x00")
	copy(h[116:124], "0000000\x00")
	putNumber(h[124:136], int64(len(records)))
	h[156] = 'x'
	sign(h[:])
	if err := pk.out.write(h[:]); err != nil {
		return err
	}
	if err := pk.out.write(records); err != nil {
		return err
	}
	return pk.out.zeros(-len(records) & (recordSize - 1))
}

// sign puts the checksum in: six octal digits, NUL, blank.
func sign(h []byte) {
	copy(h[148:156], "        ")
	var sum int64
	for _, c := range h {
		sum += int64(c)
	}
	putNumber(h[148:155], sum)
}

func putInt(field []byte, n int64, key string, ext map[string]string) {
	if !putNumber(field, n) {
		putNumber(field, 0)
		ext[key] = strconv.FormatInt(n, 10)
	}
}

// plain says that a text can stand in a ustar header: ASCII, which all read alike.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func putText(field []byte, s, key string, ext map[string]string) {
	if len(s) <= len(field) && plain(s) {
		copy(field, s)
		return
	}
	ext[key] = s
	if !utf8.ValidString(s) {
		ext["hdrcharset"] = "BINARY"
	}
	copy(field, strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '_'
		}
		return r
	}, s[:min(len(s), len(field))]))
}

// putName splits a name over the name and prefix fields where that makes it fit.
func putName(h []byte, name string, ext map[string]string) {
	if len(name) > 100 && len(name) <= 256 && plain(name) {
		// The slash between the two is not stored, and neither part may be empty.
		for i := len(name) - 101; i <= 155 && i < len(name)-1; i++ {
			if i > 0 && name[i] == '/' {
				copy(h[345:500], name[:i])
				copy(h[:100], name[i+1:])
				return
			}
		}
	}
	putText(h[:100], name, "path", ext)
}

// sparseMap is what GNU's pax format 1.0 has before the data.
func (e *Entry) sparseMap() []byte {
	spans := e.Spans
	if len(spans) == 0 || spans[len(spans)-1].Off+spans[len(spans)-1].N < e.Size {
		spans = append(slices.Clip(spans), Span{e.Size, 0}) // marks the end, as GNU tar does
	}
	b := strconv.AppendInt(nil, int64(len(spans)), 10)
	b = append(b, '\n')
	for _, s := range spans {
		b = append(strconv.AppendInt(b, s.Off, 10), '\n')
		b = append(strconv.AppendInt(b, s.N, 10), '\n')
	}
	return append(b, make([]byte, -len(b)&(recordSize-1))...)
}
