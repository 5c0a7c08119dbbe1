package inflate

// block reads the header of a block, RFC 1951, 3.2.3.
func (r *Reader) block() error {
	if r.final {
		r.final, r.state = false, atEnd
		return nil
	}
	head, err := r.in.take(3)
	if err != nil {
		return err
	}
	r.final = head&1 != 0
	switch head >> 1 {
	case 0:
		return r.storedHeader()
	case 1:
		if !r.fixed { // a block can be of 10 bits: copying tables for each would be long
			r.lit, r.dist, r.fixed = fixedLit, fixedDist, true
		}
		r.state = inCoded
		return nil
	case 2:
		return r.codes()
	}
	return r.bad("unknown type of block")
}

// The codes of 3.2.6.
var fixedLit, fixedDist = fixed()

func fixed() (lit litTable, dist distTable) {
	var lens [288]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	build(lit[:], litBits, lens[:], litSymbols[:])
	for i := range lens[:32] {
		lens[i] = 5
	}
	build(dist[:], distBits, lens[:32], distSymbols[:])
	return lit, dist
}

// storedHeader is 3.2.4.
func (r *Reader) storedHeader() error {
	r.in.align()
	v, err := r.in.take(32)
	if err != nil {
		return err
	}
	if uint16(v) != ^uint16(v>>16) {
		return r.bad("length of a stored block contradicts itself")
	}
	r.stored, r.state = int(uint16(v)), inStored
	return nil
}

func (r *Reader) copyStored(w *window) error {
	for r.stored > 0 {
		if w.pos == len(w.buf) {
			return nil
		}
		b := r.in.read(min(r.stored, len(w.buf)-w.pos))
		if len(b) == 0 {
			return r.in.ended()
		}
		w.pos += copy(w.buf[w.pos:], b)
		r.stored -= len(b)
	}
	r.state = atBlock
	return nil
}

// lenOrder is the order in which the lengths of the code length code come, 3.2.7.
var lenOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codes reads the codes of a block, 3.2.7.
func (r *Reader) codes() error {
	v, err := r.in.take(14)
	if err != nil {
		return err
	}
	lits, dists, n := int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4
	if lits > 286 || dists > 30 {
		return r.bad("too many symbols")
	}
	var code [19]uint8
	for _, i := range lenOrder[:n] {
		v, err := r.in.take(3)
		if err != nil {
			return err
		}
		code[i] = uint8(v)
	}
	if !build(r.lens[:], lenBits, code[:], lenSymbols[:]) {
		return r.bad("code of code lengths is none")
	}
	var lens [286 + 30]uint8
	if err := r.lengths(lens[:lits+dists]); err != nil {
		return err
	}
	r.fixed = false
	switch {
	case lens[256] == 0:
		return r.bad("block without an end")
	case !build(r.lit[:], litBits, lens[:lits], litSymbols[:]):
		return r.bad("code of literals and lengths is none")
	case !build(r.dist[:], distBits, lens[lits:lits+dists], distSymbols[:]):
		return r.bad("code of distances is none")
	}
	r.state = inCoded
	return nil
}

// lengths reads the lengths of the codes of literals and distances, which are one sequence.
func (r *Reader) lengths(lens []uint8) error {
	in := &r.in
	for i := 0; i < len(lens); {
		in.fill() // for a code and the extra bits
		e := r.lens[in.bits&(1<<lenBits-1)]
		if e.size() > in.n {
			return in.ended()
		}
		if e&entryOther != 0 {
			return r.bad("unknown code length")
		}
		in.drop(uint(e & 63))
		s := uint8(e >> valueShift)
		if s < 16 {
			lens[i] = s
			i++
			continue
		}
		again, least, value := uint(7), 11, uint8(0) // 18
		switch s {
		case 16:
			if i == 0 {
				return r.bad("no code length to repeat")
			}
			again, least, value = 2, 3, lens[i-1]
		case 17:
			again, least = 3, 3
		}
		more, err := in.take(again)
		if err != nil {
			return err
		}
		least += int(more)
		if least > len(lens)-i {
			return r.bad("too many code lengths")
		}
		for range least {
			lens[i] = value
			i++
		}
	}
	return nil
}
