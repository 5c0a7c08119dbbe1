// Package ocitar reads and writes OCI image layers: tar archives, plain or
// compressed, that say what one layer adds to and removes from the ones below.
//
// The zero values are ready to use:
//
//	var u ocitar.Unpacker
//	sum, err := u.Unpack(ctx, "/layers/7", blob)       // applies the layer to a root
//
//	var p ocitar.Packer
//	sum, err := p.Pack(ctx, out, "/jails/web", ocitar.Compare("/layers/7", "/jails/web"))
//
// Both compute the diff id and the blob digest while streaming, in one pass.
//
// # Words
//
// A layer is the stream, an entry one file in it. A whiteout is an entry named
// ".wh.NAME": NAME of a lower layer is gone. An opaque marker is the entry
// ".wh..wh..opq": all that lower layers have in its directory is gone, wherever in
// the stream the marker stands; what this layer itself has there stays. The diff
// id is the digest of the plain tar stream, the digest that of the stream as it is
// stored (image-spec, layer.md).
//
// # Always inside the root
//
// A layer is hostile input, and a process may be running in the root. Names are
// resolved through package inroot: links on the way to an entry are followed as if
// the root were "/", also absolute ones, and what is done is done relative to a
// directory's descriptor. Leading slashes are dropped; a name with a component ".."
// is refused, and so is what no honest archiver writes: NUL in a name, a negative
// size, a key twice in one pax header, something after the end of the archive.
// Every such error is an *Error, which names the entry and its offset.
//
// # Formats
//
// v7, ustar, pax, GNU and star headers, long names, base-256 numbers, and sparse
// files (old GNU, pax 0.0, 0.1 and 1.0). gzip of several members and zstd of several
// frames are recognised by content. Owners, modes with setuid, times to the
// nanosecond, extended attributes, access control lists and FreeBSD file flags are
// restored and packed.
//
// Access control lists are text in a layer (SCHILY.acl.access, default and ace, as star
// and libarchive have them), POSIX.1e's with the ids that Linux keeps as an attribute
// (system.posix_acl_*), which is read as well. Names in them that no number follows, as
// GNU tar writes them, are those of the root's own etc/passwd and etc/group.
//
// What is in a layer and is not restored, because the system, the privileges at
// hand or this package cannot, is a [Note] of the [Summary], never silence.
package ocitar

import (
	"errors"
	"fmt"
	"time"
)

// Compression is how a layer is compressed. The zero value is none.
type Compression int

// The compressions of the image specification.
const (
	None Compression = iota
	Gzip
	Zstd
)

// String is the compression's name: none, gzip or zstd.
func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", int(c))
}

// MediaType is the media type of an OCI layer so compressed.
func (c Compression) MediaType() string {
	const tar = "application/vnd.oci.image.layer.v1.tar"
	if c == None {
		return tar
	}
	return tar + "+" + c.String()
}

// MarshalText is String, UnmarshalText its reverse.
func (c Compression) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads none, gzip or zstd.
func (c *Compression) UnmarshalText(text []byte) error {
	for _, k := range []Compression{None, Gzip, Zstd} {
		if k.String() == string(text) {
			*c = k
			return nil
		}
	}
	return fmt.Errorf("compression %q: %w", text, errors.ErrUnsupported)
}

// A Summary tells what was read or written. Digests are "sha256:" and hex.
type Summary struct {
	DiffID      string      `json:"diffID"`  // of the plain tar stream
	Digest      string      `json:"digest"`  // of the stream as it is stored
	Size        int64       `json:"size"`    // bytes, as it is stored
	TarSize     int64       `json:"tarSize"` // bytes of the plain tar stream
	Compression Compression `json:"compression"`
	MediaType   string      `json:"mediaType"`

	Entries   int64 `json:"entries"`   // all of the following, and what was skipped
	Files     int64 `json:"files"`     // regular ones
	Dirs      int64 `json:"dirs"`      // without those that have no entry
	Links     int64 `json:"links"`     // hard links
	Symlinks  int64 `json:"symlinks"`  //
	Specials  int64 `json:"specials"`  // devices and fifos
	Whiteouts int64 `json:"whiteouts"` // and opaque markers
	Bytes     int64 `json:"bytes"`     // of the files' content, holes included

	Notes        []Note `json:"notes,omitempty"`        // the first maxNotes
	NotesDropped int64  `json:"notesDropped,omitempty"` // how many more there were
}

// A Note is something about an entry that could not be restored or packed as it is.
type Note struct {
	Entry string `json:"entry"`
	Text  string `json:"text"`
}

// maxNotes bounds what a hostile layer can have us remember.
const maxNotes = 100

func (s *Summary) note(entry, format string, args ...any) {
	if len(s.Notes) == maxNotes {
		s.NotesDropped++
		return
	}
	s.Notes = append(s.Notes, Note{entry, fmt.Sprintf(format, args...)})
}

// Error is what is wrong with a layer, or what failed while it was unpacked.
type Error struct {
	Entry  string // name of the entry as the archive has it; "" where there is none
	Offset int64  // where its first header starts, in bytes of the plain tar stream
	Err    error
}

func (e *Error) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("layer at offset %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("layer entry %.200q at offset %d: %v", e.Entry, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The causes that an Error wraps, besides those of the system.
var (
	ErrFormat = errors.New("malformed archive")
	ErrLimit  = errors.New("limit exceeded")        // one of Limits
	ErrName   = errors.New("name refused")          // it would leave the root, or is none
	ErrData   = errors.New("corrupt or incomplete") // compressed data that does not decode
)

// Limits bound what a layer may make. Zero means the default, negative no limit.
type Limits struct {
	Bytes   int64 // of plain tar stream, and of files with their holes; default 256 GiB
	Entries int64 // and of directories that have none, which names imply; default 8 Mi
	Ratio   int64 // plain bytes per compressed byte, from 256 MiB on; default 500
	Window  int64 // bytes of a zstd frame's window; default 128 MiB
	Depth   int   // components of a name; default 512
}

func (l Limits) bytes() int64   { return orDefault(l.Bytes, 256<<30) }
func (l Limits) entries() int64 { return orDefault(l.Entries, 8<<20) }
func (l Limits) ratio() int64   { return orDefault(l.Ratio, 500) }
func (l Limits) window() int64  { return orDefault(l.Window, 128<<20) }
func (l Limits) depth() int     { return int(orDefault(int64(l.Depth), 512)) }

// orDefault returns v, def for zero, and for less a number nothing reaches.
func orDefault(v, def int64) int64 {
	switch {
	case v < 0:
		return 1<<63 - 1
	case v == 0:
		return def
	}
	return v
}

// Type is the kind of an entry: the typeflag byte that POSIX.1 gives it.
type Type byte

// The types an Entry can have.
const (
	Regular Type = '0'
	Link    Type = '1' // a hard link to Entry.Linkname
	Symlink Type = '2'
	Char    Type = '3'
	Block   Type = '4'
	Dir     Type = '5'
	Fifo    Type = '6'
)

// Entry is one file of a layer, its extended headers merged in.
type Entry struct {
	Name     string            `json:"name"` // as the archive has it
	Type     Type              `json:"type"`
	Linkname string            `json:"linkname,omitempty"`
	Mode     uint32            `json:"mode"` // permission, setuid, setgid and sticky bits
	UID      int64             `json:"uid"`
	GID      int64             `json:"gid"`
	Uname    string            `json:"uname,omitempty"`
	Gname    string            `json:"gname,omitempty"`
	Size     int64             `json:"size"` // bytes of the file, holes included
	ModTime  time.Time         `json:"mtime"`
	Major    uint32            `json:"major,omitempty"` // of a device
	Minor    uint32            `json:"minor,omitempty"`
	Xattrs   map[string]string `json:"xattrs,omitempty"` // by name, namespace included
	ACLs     map[string]string `json:"acls,omitempty"`   // access, default, ace: their text
	Flags    string            `json:"flags,omitempty"`  // "schg,nodump"
	Offset   int64             `json:"offset"`           // of the first header, in the plain stream
	Data     int64             `json:"data"`             // offset of what is stored of the content
	Stored   int64             `json:"stored"`           // bytes of it: less than Size where there are holes

	Spans  []Span `json:"spans,omitempty"` // where the stored bytes go, if the file is sparse
	sparse bool
}

// Letter is the type as ls(1) shows it: - h l c b d p, and ? for another.
func (t Type) Letter() byte {
	if t < Regular || t > Fifo {
		return '?'
	}
	return "-hlcbdp"[t-Regular]
}

// String is the type's name: file, link, symlink, char, block, dir or fifo.
func (t Type) String() string {
	if t < Regular || t > Fifo {
		return fmt.Sprintf("type %q", byte(t))
	}
	return [...]string{"file", "link", "symlink", "char", "block", "dir", "fifo"}[t-Regular]
}

// MarshalText is String.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (t *Type) UnmarshalText(text []byte) error {
	for k := Regular; k <= Fifo; k++ {
		if k.String() == string(text) {
			*t = k
			return nil
		}
	}
	var b byte
	if n, err := fmt.Sscanf(string(text), "type %q", &b); n != 1 || err != nil {
		return fmt.Errorf("type %.40q: %w", text, ErrFormat)
	}
	*t = Type(b)
	return nil
}
