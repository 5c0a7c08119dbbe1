package inflate

import "hash/crc32"

// The flags of a member, RFC 1952, 2.3.1.
const (
	flagText = 1 << iota
	flagHeaderSum
	flagExtra
	flagName
	flagComment
	flagReserved // and all above
)

// header reads what is before the data of a member; io.EOF if there is no member.
func (r *Reader) header() error {
	if r.in.n == 0 && !r.in.more() {
		return r.in.err
	}
	h := headerReader{in: &r.in}
	switch {
	case h.uint16() != 0x8b1f:
		return h.or(r.bad("no gzip header"))
	case h.byte() != 8:
		return h.or(r.bad("unknown gzip method"))
	}
	flags := h.byte()
	h.skip(6) // time, extra flags, system
	if flags >= flagReserved {
		return h.or(r.bad("reserved gzip flag"))
	}
	if flags&flagExtra != 0 {
		h.skip(int(h.uint16()))
	}
	for _, f := range []byte{flagName, flagComment} {
		for flags&f != 0 && h.byte() != 0 { // as long as it may be: it is not kept
		}
	}
	if flags&flagHeaderSum != 0 {
		if sum := uint16(h.crc); h.uint16() != sum {
			return h.or(r.bad("wrong checksum of a gzip header"))
		}
	}
	r.crc, r.size, r.state = 0, 0, atBlock
	return h.err
}

// trailer compares what the member says of its data, RFC 1952, 2.3.1.
func (r *Reader) trailer(w *window) error {
	r.sum(w)
	r.in.align()
	crc, err := r.in.take(32)
	if err != nil {
		return err
	}
	size, err := r.in.take(32)
	switch {
	case err != nil:
		return err
	case crc != r.crc:
		return r.bad("wrong checksum of gzip data")
	case size != r.size:
		return r.bad("wrong size of gzip data")
	}
	r.state = atMember
	return nil
}

// A headerReader reads bytes and sums them up; after the first error it gives zeros.
type headerReader struct {
	in  *input
	crc uint32
	err error
}

func (h *headerReader) byte() byte {
	if h.err != nil {
		return 0
	}
	var b uint32
	b, h.err = h.in.take(8)
	h.crc = crc32.Update(h.crc, crc32.IEEETable, []byte{byte(b)})
	return byte(b)
}

func (h *headerReader) uint16() uint16 {
	low := h.byte()
	return uint16(low) | uint16(h.byte())<<8
}

func (h *headerReader) skip(n int) {
	for ; n > 0; n-- {
		h.byte()
	}
}

// or is err, unless it comes of what is missing.
func (h *headerReader) or(err error) error {
	if h.err != nil {
		return h.err
	}
	return err
}
