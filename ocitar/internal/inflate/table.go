package inflate

import "math/bits"

// An entry of a decoding table says what the next bits of the stream mean. All that is
// needed comes with one look-up:
//
//	bits 0-5    how many bits it takes: the code's in this table, and the extra ones
//	bits 8-11   how many of the bits are the code's; of a link: the bits of its subtable
//	bits 12-15  flags
//	bits 16-31  a literal; the least length or distance; of a link: where in the table its
//	            subtable starts
type entry uint32

const (
	entryLiteral entry = 1 << 15
	entryOther   entry = 1 << 12 // none of literal, length and distance: see below
	entryLink    entry = entryOther | 1<<13
	entryEnd     entry = entryOther | 1<<14
	entryBad     entry = entryOther // a code that means nothing

	codeShift  = 8
	valueShift = 16
)

const (
	maxBits  = 15 // of a code, RFC 1951, 3.2.7
	litBits  = 11 // that index the first level of a table
	distBits = 8
	lenBits  = 7 // all that codes of code lengths have: one level

	litMask  = 1<<litBits - 1
	distMask = 1<<distBits - 1
)

// Tables are sized so that a mask spares the check of an index. A subtable of s bits holds
// a complete code of at least s+1 symbols, so that the largest are the worst: 286 symbols
// make at most 57 of 16 entries behind 2048, 30 make 3 of 128 and one of 32 behind 256.
type (
	litTable  [4096]entry
	distTable [1024]entry
	lenTable  [1 << lenBits]entry
)

// symbol is an entry without the length of its code.
func symbol(base, extra int) entry { return entry(base)<<valueShift | entry(extra) }

// size is how many bits e takes, at most 63.
func (e entry) size() uint { return uint(e) & 63 }

// value is what e stands for, extra bits included; bits begin with its code.
func (e entry) value(bits uint64) int {
	return int(e>>valueShift) + int(bits&(1<<e.size()-1)>>(e>>codeShift&15))
}

// link is where e's subtable says what the code is; bits begin behind e.
func (e entry) link(bits uint64) uint64 {
	return uint64(e>>valueShift) + bits&(1<<(e>>codeShift&15)-1)
}

var litSymbols, distSymbols, lenSymbols = symbols()

// symbols makes what the symbols of the three alphabets mean, RFC 1951, 3.2.5 and 3.2.7.
func symbols() (lit [288]entry, dist [32]entry, lens [19]entry) {
	for i := range 256 {
		lit[i] = entryLiteral | symbol(i, 0)
	}
	lit[256] = entryEnd
	base := 3
	for i := 257; i < 285; i++ { // four lengths for each number of extra bits, the first eight have none
		extra := max(0, (i-257)/4-1)
		lit[i] = symbol(base, extra)
		base += 1 << extra
	}
	lit[285] = symbol(258, 0)
	lit[286], lit[287] = entryBad, entryBad // of the fixed code; they never occur
	base = 1
	for i := range 30 {
		extra := max(0, i/2-1)
		dist[i] = symbol(base, extra)
		base += 1 << extra
	}
	dist[30], dist[31] = entryBad, entryBad
	for i := range lens {
		lens[i] = symbol(i, 0)
	}
	return lit, dist, lens
}

// build makes the table of the canonical code in which symbol i has lens[i] bits, RFC 1951,
// 3.2.2. The first level has root bits. It is false if that is no code: over-subscribed, or
// incomplete. Like zlib it takes a code of one symbol with one bit, and of none: whatever
// uses what is not there fails.
func build(table []entry, root int, lens []uint8, symbols []entry) bool {
	var c canon
	switch complete, over := c.count(lens); {
	case over:
		return false
	case complete:
		c.sort(lens)
		c.fill(table, root, symbols)
		return true
	}
	if c.used > 1 || c.used == 1 && c.lens[1] == 0 {
		return false
	}
	for i := range table[:1<<root] {
		table[i] = entryBad.coded(1)
	}
	for s, l := range lens {
		for i := 0; l == 1 && i < 1<<root; i += 2 {
			table[i] = symbols[s].coded(1)
		}
	}
	return true
}

// coded is e with a code of l bits.
func (e entry) coded(l int) entry { return e + entry(l) + entry(l)<<codeShift }

// A canon is a canonical code.
type canon struct {
	lens   [maxBits + 1]int // how many codes there are of each length
	used   int              // how many there are
	sorted [288]uint16      // the symbols in the order of their codes
}

// count tells whether each string of bits begins with a code, and whether with two.
func (c *canon) count(lens []uint8) (complete, over bool) {
	for _, l := range lens {
		c.lens[l&maxBits]++
	}
	c.used, c.lens[0] = len(lens)-c.lens[0], 0
	left := 1 // codes that no symbol has
	for _, n := range c.lens[1:] {
		if left = left<<1 - n; left < 0 {
			return false, true
		}
	}
	return left == 0, false
}

func (c *canon) sort(lens []uint8) {
	var next [maxBits + 2]int
	for l, n := range c.lens {
		next[l+1] = next[l] + n
	}
	for s, l := range lens {
		if l != 0 {
			c.sorted[next[l&maxBits]] = uint16(s)
			next[l&maxBits]++
		}
	}
}

// fill makes the table of a complete code. Huffman codes come with their first bit low
// (3.1.1): here they are reversed. A table of l bits becomes one of l+1 by being there
// twice; what shorter codes leave open longer ones fill, or links.
func (c *canon) fill(table []entry, root int, symbols []entry) {
	code, sorted := 0, c.sorted[:c.used]
	for l := 1; l <= root; l++ {
		half := 1 << (l - 1)
		copy(table[half:2*half], table[:half])
		for _, s := range sorted[:c.lens[l]] {
			table[code] = symbols[s].coded(l)
			code = increment(code, l)
		}
		sorted = sorted[c.lens[l]:]
	}
	end, start, width := 1<<root, 0, 0 // of the table, and of the subtable for prefix
	for l, prefix := root+1, -1; len(sorted) > 0; l++ {
		for ; c.lens[l] > 0; c.lens[l]-- {
			if p := code & (1<<root - 1); p != prefix {
				prefix, start, width = p, end, c.width(l, root)
				end += 1 << width
				table[p] = entryLink | entry(root) | entry(width)<<codeShift | entry(start)<<valueShift
			}
			for i := code >> root; i < 1<<width; i += 1 << (l - root) {
				table[start+i] = symbols[sorted[0]].coded(l - root)
			}
			sorted, code = sorted[1:], increment(code, l)
		}
	}
}

// width tells how many bits index the subtable that starts with the next of c.lens[l] codes
// of l bits: so many that the codes which share its prefix fill it.
func (c *canon) width(l, root int) int {
	for space := 1 << (l - root); ; space <<= 1 {
		if space -= c.lens[l]; space <= 0 || l == maxBits {
			return l - root
		}
		l++
	}
}

// increment gives the code that comes after one of l bits, both reversed; after the last
// one 0.
func increment(code, l int) int {
	zeros := ^code & (1<<l - 1)
	if zeros == 0 {
		return 0
	}
	bit := 1 << (bits.Len(uint(zeros)) - 1)
	return code&(bit-1) | bit
}
