package inflate

import "encoding/binary"

// room is what a round of the fast loop may write, in bytes, with some to spare: two literals
// and a match, copied in words of 16.
const room = 2 + 258 + 32 + 8

// far is what a round may load of the input: two words, the second up to 7 bytes on.
const far = 16

// decode decodes a block with Huffman codes, until it ends or w has no more room.
func (r *Reader) decode(w *window) error {
	for r.state == inCoded && w.pos <= len(w.buf)-room {
		if len(r.in.data)-r.in.pos >= far {
			if err := r.fast(w); err != nil {
				return err
			}
			continue
		}
		if err := r.careful(w); err != nil {
			return err
		}
	}
	return nil
}

// fast decodes as long as there is so much input and room that neither has to be looked at
// for each symbol. Its state is in variables of its own, which the compiler keeps in
// registers where it can. e is always the entry of the next code, looked up as early as may
// be: the processor gets on with it while it copies.
func (r *Reader) fast(w *window) error {
	in, out := r.in.data, w.buf
	op := w.pos
	reason := ""
	inEnd, outEnd, floor := len(in)-far, len(out)-room, w.floor
	bits, n, ip := refill(in, r.in.pos, r.in.bits, r.in.n)
	e := r.lit[bits&litMask]
	for ip <= inEnd && op <= outEnd {
		if e&entryLiteral != 0 { // up to three, for which there are bits
			o := (*[3]byte)(out[op : op+3])
			o[0] = byte(e >> valueShift)
			op++
			bits, n = drop(bits, n, e)
			e = r.lit[bits&litMask]
			if e&entryLiteral != 0 {
				o[1] = byte(e >> valueShift)
				op++
				bits, n = drop(bits, n, e)
				e = r.lit[bits&litMask]
				if e&entryLiteral != 0 {
					o[2] = byte(e >> valueShift)
					op++
					bits, n = drop(bits, n, e)
					bits, n, ip = refill(in, ip, bits, n)
					e = r.lit[bits&litMask]
					continue
				}
			}
			bits, n, ip = refill(in, ip, bits, n)
		}
		if e&entryOther != 0 {
			if e&entryLink == entryLink {
				bits, n = drop(bits, n, e)
				e = r.lit[e.link(bits)%uint64(len(r.lit))]
			}
			if e&entryLiteral != 0 {
				out[op] = byte(e >> valueShift)
				op++
				bits, n = drop(bits, n, e)
				bits, n, ip = refill(in, ip, bits, n)
				e = r.lit[bits&litMask]
				continue
			}
			if e&entryEnd == entryEnd {
				bits, n = drop(bits, n, e)
				r.state = atBlock
				break
			}
			if e&entryOther != 0 {
				reason = badLength
				break
			}
		}
		length := e.value(bits)
		bits, n = drop(bits, n, e)

		e = r.dist[bits&distMask]
		if e&entryLink == entryLink {
			bits, n = drop(bits, n, e)
			e = r.dist[e.link(bits)%uint64(len(r.dist))]
		}
		if e&entryOther != 0 {
			reason = badDistance
			break
		}
		dist := e.value(bits)
		bits, n = drop(bits, n, e)
		if dist > op-floor {
			reason = badHistory
			break
		}
		bits, n, ip = refill(in, ip, bits, n)
		e = r.lit[bits&litMask]

		end := op + length
		if dist < 16 {
			overlap(out, op, dist, end)
			op = end
			continue
		}
		*(*[16]byte)(out[op : op+16]) = *(*[16]byte)(out[op-dist : op-dist+16])
		*(*[16]byte)(out[op+16 : op+32]) = *(*[16]byte)(out[op-dist+16 : op-dist+32])
		for op += 32; op < end; op += 16 {
			*(*[16]byte)(out[op : op+16]) = *(*[16]byte)(out[op-dist : op-dist+16])
		}
		op = end
	}
	r.in.bits, r.in.n, r.in.pos, w.pos = bits, n&63, ip, op
	if reason != "" {
		return r.bad(reason)
	}
	return nil
}

const (
	badLength   = "unknown length"
	badDistance = "unknown distance"
	badHistory  = "distance reaches before the start"
)

// refill gets at least 56 bits: the 8 bytes at ip are put behind the n bits that there are,
// and of those that fit in whole is ip moved past. Of n only the low 6 bits count.
func refill(in []byte, ip int, bits uint64, n uint) (uint64, uint, int) {
	return bits | binary.LittleEndian.Uint64(in[ip:ip+8])<<(n&63), n | 56, ip + int(^n>>3)&7
}

// drop is for the bits that e takes. It leaves in n what else is in e, above those bits
// that count: that spares an instruction.
func drop(bits uint64, n uint, e entry) (uint64, uint) { return bits >> e.size(), n - uint(e) }

// overlap fills out from op to end with what is dist before, less than 16 bytes. It copies
// words. One that reaches into itself is right as far as dist, and there the next one goes;
// the last may go up to 7 bytes too far.
func overlap(out []byte, op, dist, end int) {
	if dist == 1 {
		for word := uint64(out[op-1]) * 0x0101010101010101; op < end; op += 8 {
			binary.LittleEndian.PutUint64(out[op:op+8], word)
		}
	}
	for step := min(dist, 8); op < end; op += step {
		binary.LittleEndian.PutUint64(out[op:op+8], binary.LittleEndian.Uint64(out[op-dist:op-dist+8]))
	}
}

// careful decodes one symbol, or a length and its distance, however little input there is.
func (r *Reader) careful(w *window) error {
	e, length, err := r.in.symbol(r.lit[:], litMask)
	switch {
	case err != nil:
		return err
	case e&entryEnd == entryEnd:
		r.state = atBlock
		return nil
	case e&entryOther != 0:
		return r.bad(badLength)
	case e&entryLiteral != 0:
		w.buf[w.pos] = byte(e >> valueShift)
		w.pos++
		return nil
	}
	e, dist, err := r.in.symbol(r.dist[:], distMask)
	switch {
	case err != nil:
		return err
	case e&entryOther != 0:
		return r.bad(badDistance)
	case w.pos-dist < w.floor:
		return r.bad(badHistory)
	}
	for ; length > 0; length-- {
		w.buf[w.pos] = w.buf[w.pos-dist]
		w.pos++
	}
	return nil
}

// symbol looks the next code up in a table whose first level mask indexes, and gives its
// entry and, of a length or distance, its value with the extra bits. One that is bad stays.
func (in *input) symbol(table []entry, mask uint64) (e entry, v int, err error) {
	in.fill()
	e = table[in.bits&mask]
	if e&entryLink == entryLink && e.size() <= in.n {
		in.drop(e.size())
		e = table[e.link(in.bits)]
	}
	if e.size() > in.n {
		return 0, 0, in.ended()
	}
	if e&(entryOther|entryEnd) == entryOther {
		return e, 0, nil
	}
	v = e.value(in.bits)
	in.drop(e.size())
	return e, v, nil
}
