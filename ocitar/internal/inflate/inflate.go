// Package inflate decompresses gzip (RFC 1952) and DEFLATE (RFC 1951). It is made for
// streams of many megabytes, as the layers of images are: it takes its input in blocks as
// they come and writes its output to where it stays, so that nothing is copied but the
// 32 KiB that matches refer to. For short texts compress/gzip is just as good.
//
// What makes it fast is known from libdeflate, zlib-ng and igzip: a bit buffer of 64 bits
// that is filled with one load, tables whose entries say all about a code, several literals
// for one filling, and matches that are copied in words, too far if need be.
package inflate

import (
	"fmt"
	"hash/crc32"
	"io"
)

// History is how far a match reaches back at most, in bytes.
const History = 32 << 10

// MinBlock is how long a block that is filled must be at least, in bytes.
const MinBlock = History + 4<<10

// A Source hands out the compressed data in pieces of any size, with io.EOF at the end.
// A piece is valid until the next call; one that is empty is passed over.
type Source func() ([]byte, error)

// An Error says what is wrong with the data.
type Error struct {
	Reason string
	Offset int64 // in the compressed data: what is wrong is just before it
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// A Reader decompresses. It is for one goroutine at a time.
type Reader struct {
	in     input
	gzip   bool
	state  state
	final  bool   // the DEFLATE block is the last one
	stored int    // bytes that the stored block has left
	crc    uint32 // of the member
	size   uint32 // of the member, modulo 1<<32
	err    error  // sticky

	past [History]byte // the end of what was put out; the last have bytes count
	have int

	lit   litTable
	dist  distTable
	lens  lenTable
	fixed bool // lit and dist are those of the fixed codes
}

// A state says what comes next in the input.
type state uint8

const (
	atMember state = iota // a gzip header, or the end
	atBlock
	inStored
	inCoded // a block with Huffman codes
	atEnd   // of a DEFLATE stream
)

// NewGzip reads gzip: members, one after the other, with their checksums. No member at all
// is an empty stream; what follows the last one must be another.
func NewGzip(s Source) *Reader { return &Reader{in: input{next: s}, gzip: true} }

// NewDeflate reads one DEFLATE stream. What follows it is not looked at.
func NewDeflate(s Source) *Reader { return &Reader{in: input{next: s}, state: atBlock} }

// Fill decompresses into block[History:] and returns how many bytes that are. What is
// before is the Reader's. The end is left unused if the next match might not fit: there
// are fewer than MinBlock-History bytes of it. At the end of the stream the error is
// io.EOF, when it is cut short io.ErrUnexpectedEOF, for bad data an *Error, otherwise the
// source's; n counts then as well.
func (r *Reader) Fill(block []byte) (n int, err error) {
	if len(block) < MinBlock {
		panic("inflate: short block")
	}
	if r.err != nil {
		return 0, r.err
	}
	copy(block[History-r.have:], r.past[History-r.have:])
	w := window{buf: block, pos: History, summed: History, floor: History - r.have}
	for r.err == nil && w.pos <= len(block)-room {
		r.err = r.step(&w)
	}
	r.sum(&w)
	r.have = min(History, w.pos-w.floor)
	copy(r.past[History-r.have:], block[w.pos-r.have:w.pos])
	return w.pos - History, r.err
}

// A window is the output and what is before it.
type window struct {
	buf    []byte
	pos    int // where the next byte goes
	floor  int // before it there is nothing to refer to
	summed int // up to it the bytes are in the checksum
}

// step decompresses until something else comes, or there is no more room in w.
func (r *Reader) step(w *window) error {
	switch r.state {
	case atMember:
		w.floor = w.pos // each member starts anew
		return r.header()
	case atBlock:
		return r.block()
	case inStored:
		return r.copyStored(w)
	case inCoded:
		return r.decode(w)
	}
	if !r.gzip {
		return io.EOF
	}
	return r.trailer(w)
}

// sum brings the checksum up to date. The bytes have just been written and are near.
func (r *Reader) sum(w *window) {
	if r.gzip {
		r.crc = crc32.Update(r.crc, crc32.IEEETable, w.buf[w.summed:w.pos])
		r.size += uint32(w.pos - w.summed)
	}
	w.summed = w.pos
}

// bad is an error at the place where the input is.
func (r *Reader) bad(reason string) error { return &Error{reason, r.in.offset()} }
