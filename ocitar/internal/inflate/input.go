package inflate

import (
	"encoding/binary"
	"io"
)

// An input is the compressed data as a stream of bits, least significant bit first (RFC
// 1951, 3.1.1). The buffer may hold more bits than n says: they are those of the bytes at
// pos, which come there again.
type input struct {
	next Source
	err  error  // why there is no more, kept until something is missing
	data []byte // the source's
	pos  int
	past int64 // bytes in the pieces before data

	bits uint64
	n    uint // of them, at most 63
	one  [1]byte
}

// fill gets at least 56 bits, or all there are.
func (in *input) fill() {
	if len(in.data)-in.pos >= 8 {
		in.bits |= binary.LittleEndian.Uint64(in.data[in.pos:]) << (in.n & 63)
		in.pos += int(63-in.n) >> 3
		in.n |= 56
		return
	}
	for in.n < 56 && in.more() {
		in.bits |= uint64(in.data[in.pos]) << (in.n & 63)
		in.pos++
		in.n += 8
	}
}

// more tells whether there is a byte at pos.
func (in *input) more() bool {
	for in.pos == len(in.data) {
		if in.err != nil {
			return false
		}
		in.past += int64(len(in.data))
		in.data, in.err = in.next()
		in.pos = 0
	}
	return true
}

// ended is the error for something that is missing.
func (in *input) ended() error {
	if in.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return in.err
}

// take reads n bits, at most 32.
func (in *input) take(n uint) (uint32, error) {
	if in.n < n {
		if in.fill(); in.n < n {
			return 0, in.ended()
		}
	}
	v := uint32(in.bits & (1<<n - 1))
	in.drop(n)
	return v, nil
}

func (in *input) drop(n uint) {
	in.bits >>= n & 63
	in.n -= n
}

// align drops what is left of a byte.
func (in *input) align() { in.drop(in.n & 7) }

// read gives the next bytes, at most max, when the input is aligned; none at the end.
func (in *input) read(max int) []byte {
	if in.n > 0 { // those that are in the buffer already go one by one
		in.one[0] = byte(in.bits)
		in.drop(8)
		return in.one[:]
	}
	in.bits = 0
	if !in.more() {
		return nil
	}
	b := in.data[in.pos:min(len(in.data), in.pos+max)]
	in.pos += len(b)
	return b
}

// offset is where in the input the next bit is.
func (in *input) offset() int64 { return in.past + int64(in.pos) - int64(in.n/8) }
