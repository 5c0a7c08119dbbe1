package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// all decompresses to the end, with blocks of n bytes.
func all(r *Reader, n int) ([]byte, error) {
	var out []byte
	block := make([]byte, n)
	for {
		copy(block, noise) // what is in it must not matter
		m, err := r.Fill(block)
		out = append(out, block[History:History+m]...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

var noise = bytes.Repeat([]byte{0xa5}, MinBlock+200_000)

// sizes of pieces, each of which ends the fast loop elsewhere.
var sizes = []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 1000, 1 << 30}

// deflated is what any Reader makes of a DEFLATE stream, whatever the sizes.
func deflated(t *testing.T, stream []byte) ([]byte, error) {
	t.Helper()
	want, wantErr := all(NewDeflate(pieces(stream, 1<<30)), MinBlock+100_000)
	for _, size := range sizes {
		for _, block := range []int{MinBlock, MinBlock + 777} {
			got, err := all(NewDeflate(pieces(stream, size)), block)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !bytes.Equal(got, want) {
				t.Fatalf("pieces of %d, blocks of %d: %d bytes, %v; whole: %d, %v", size, block, len(got), err, len(want), wantErr)
			}
		}
	}
	return want, wantErr
}

// A bitWriter writes a stream by hand.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

func (w *bitWriter) put(v uint64, n uint) *bitWriter {
	w.bits |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
	return w
}

func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		return append(w.out[:len(w.out):len(w.out)], byte(w.bits))
	}
	return w.out
}

func (w *bitWriter) stored(final uint64, b string) *bitWriter {
	w.put(final, 3)
	w.put(0, (8-w.n)&7)
	w.put(uint64(len(b)), 16).put(uint64(^uint16(len(b))), 16)
	for _, c := range []byte(b) {
		w.put(uint64(c), 8)
	}
	return w
}

// A coder writes symbols of one alphabet, with codes as RFC 1951, 3.2.2, has them.
type coder struct {
	code []uint64
	lens []uint8
}

func newCoder(lens []uint8) coder {
	c := coder{make([]uint64, len(lens)), lens}
	code := uint64(0)
	for l := uint8(1); l <= 15; l++ {
		for s, sl := range lens {
			if sl == l {
				for i := range l { // bit by bit, the first one first
					c.code[s] |= code >> (l - 1 - i) & 1 << i
				}
				code++
			}
		}
		code <<= 1
	}
	return c
}

func (w *bitWriter) symbol(c coder, s int) *bitWriter { return w.put(c.code[s], uint(c.lens[s])) }

func (w *bitWriter) text(c coder, s string) *bitWriter {
	for _, b := range []byte(s) {
		w.symbol(c, int(b))
	}
	return w
}

// lenCode is a code for code lengths: 13 of 4 bits, 6 of 5.
var lenCode = newCoder([]uint8{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5})

// dynamicHead is the header of a dynamic block up to the code lengths.
func (w *bitWriter) dynamicHead(final uint64, lits, dists int) *bitWriter {
	w.put(final|2<<1, 3).put(uint64(lits-257), 5).put(uint64(dists-1), 5).put(15, 4)
	for _, s := range lenOrder {
		w.put(uint64(lenCode.lens[s]), 3)
	}
	return w
}

func (w *bitWriter) dynamic(final uint64, lits, dists []uint8) (lit, dist coder) {
	w.dynamicHead(final, len(lits), len(dists))
	for _, l := range append(append([]uint8{}, lits...), dists...) {
		w.symbol(lenCode, int(l))
	}
	return newCoder(lits), newCoder(dists)
}

// lengths of n codes, all 0 but those that are named.
func codeLens(n int, named map[int]uint8) []uint8 {
	lens := make([]uint8, n)
	for s, l := range named {
		lens[s] = l
	}
	return lens
}

var fixedLits, fixedDists = func() (coder, coder) {
	lens := make([]uint8, 288)
	for i := range lens {
		lens[i] = 8
		if i >= 144 && i < 256 {
			lens[i] = 9
		} else if i >= 256 && i < 280 {
			lens[i] = 7
		}
	}
	return newCoder(lens), newCoder(bytes.Repeat([]byte{5}, 32))
}()

// A long code: 1 to 14 bits, and two of 15, for the symbols that are named.
func longCode(n int, symbols ...int) []uint8 {
	lens := make([]uint8, n)
	for i, s := range symbols {
		lens[s] = uint8(min(i+1, 15))
	}
	return lens
}

func TestBlocks(t *testing.T) {
	fixed := func() *bitWriter { return new(bitWriter).put(1|1<<1, 3) }
	far := strings.Repeat("0123456789abcdef", 2048)
	for _, c := range []struct {
		what   string
		stream func() *bitWriter
		want   string // or
		err    string
	}{
		{"empty stored", func() *bitWriter { return new(bitWriter).stored(1, "") }, "", ""},
		{"stored", func() *bitWriter { return new(bitWriter).stored(0, "ab").stored(0, "").stored(1, "cd") }, "abcd", ""},
		{"long stored", func() *bitWriter { return new(bitWriter).stored(1, strings.Repeat("x", 65535)) }, strings.Repeat("x", 65535), ""},
		{"stored after bits", func() *bitWriter {
			return new(bitWriter).put(1<<1, 3).text(fixedLits, "abc").symbol(fixedLits, 256).stored(1, "def")
		}, "abcdef", ""},
		{"contradiction", func() *bitWriter { return new(bitWriter).put(1, 8).put(5, 16).put(5, 16) }, "", "length of a stored block contradicts itself"},
		{"empty fixed", func() *bitWriter { return fixed().symbol(fixedLits, 256) }, "", ""},
		{"empty blocks", func() *bitWriter {
			w := new(bitWriter)
			for range 100 {
				w.put(1<<1, 3).symbol(fixedLits, 256)
			}
			return w.put(1|1<<1, 3).text(fixedLits, "x\xff").symbol(fixedLits, 256)
		}, "x\xff", ""},
		{"fixed, dynamic, fixed", func() *bitWriter {
			w := new(bitWriter).put(1<<1, 3).text(fixedLits, "ab").symbol(fixedLits, 256)
			w.put(1<<1, 3).text(fixedLits, "cd").symbol(fixedLits, 256)
			lits := codeLens(258, map[int]uint8{'e': 1, 257: 2, 256: 2})
			lit, dist := w.dynamic(0, lits, []uint8{0, 0, 0, 1})
			w.text(lit, "e").symbol(lit, 257).symbol(dist, 3).symbol(lit, 256)
			return w.put(1|1<<1, 3).text(fixedLits, "f").symbol(fixedLits, 257).symbol(fixedDists, 4).put(0, 1).symbol(fixedLits, 256)
		}, "abcdebcdfebc", ""},
		{"a distance where only the block before has one", func() *bitWriter {
			w := new(bitWriter)
			lits := codeLens(258, map[int]uint8{'a': 1, 257: 2, 256: 2})
			lit, dist := w.dynamic(0, lits, []uint8{1})
			w.text(lit, "a").symbol(lit, 257).symbol(dist, 0).symbol(lit, 256)
			lit, _ = w.dynamic(1, lits, []uint8{0})
			return w.symbol(lit, 257).put(0, 160)
		}, "", badDistance},
		{"type 3", func() *bitWriter { return new(bitWriter).put(7, 3).put(0, 64) }, "", "unknown type of block"},
		{"run", func() *bitWriter {
			return fixed().text(fixedLits, "x").symbol(fixedLits, 285).symbol(fixedDists, 0).symbol(fixedLits, 256)
		}, strings.Repeat("x", 259), ""},
		{"length 258 the other way", func() *bitWriter {
			return fixed().text(fixedLits, "x").symbol(fixedLits, 284).put(31, 5).symbol(fixedDists, 0).symbol(fixedLits, 256)
		}, strings.Repeat("x", 259), ""},
		{"greatest distance", func() *bitWriter {
			w := new(bitWriter).stored(0, far)
			return w.put(1|1<<1, 3).symbol(fixedLits, 285).symbol(fixedDists, 29).put(8191, 13).symbol(fixedLits, 256)
		}, far + far[:258], ""},
		{"distance of all", func() *bitWriter {
			return fixed().text(fixedLits, "abcde").symbol(fixedLits, 257).symbol(fixedDists, 4).put(0, 1).symbol(fixedLits, 256)
		}, "abcdeabc", ""},
		{"distance of more", func() *bitWriter {
			return fixed().text(fixedLits, "abcd").symbol(fixedLits, 257).symbol(fixedDists, 4).put(0, 1).symbol(fixedLits, 256).put(0, 160)
		}, "", badHistory},
		{"distance at the start", func() *bitWriter { return fixed().symbol(fixedLits, 257).symbol(fixedDists, 0).put(0, 160) }, "", badHistory},
		{"distance 30", func() *bitWriter {
			return fixed().text(fixedLits, "abcd").symbol(fixedLits, 257).symbol(fixedDists, 30).put(0, 160)
		}, "", badDistance},
		{"length 286", func() *bitWriter {
			return fixed().text(fixedLits, "abcd").symbol(fixedLits, 286).symbol(fixedDists, 0).put(0, 160)
		}, "", badLength},
		{"dynamic without distances", func() *bitWriter {
			w := new(bitWriter)
			lit, _ := w.dynamic(1, codeLens(257, map[int]uint8{'a': 1, 'b': 2, 256: 2}), []uint8{0})
			return w.text(lit, "abba").symbol(lit, 256)
		}, "abba", ""},
		{"a distance where there are none", func() *bitWriter {
			w := new(bitWriter)
			lit, _ := w.dynamic(1, codeLens(258, map[int]uint8{'a': 1, 257: 2, 256: 2}), []uint8{0})
			return w.text(lit, "a").symbol(lit, 257).put(0, 160)
		}, "", badDistance},
		{"one distance", func() *bitWriter {
			w := new(bitWriter)
			lit, dist := w.dynamic(1, codeLens(258, map[int]uint8{'a': 1, 257: 2, 256: 2}), []uint8{1})
			return w.text(lit, "a").symbol(lit, 257).symbol(dist, 0).symbol(lit, 256)
		}, "aaaa", ""},
		{"the other of one distance", func() *bitWriter {
			w := new(bitWriter)
			lit, _ := w.dynamic(1, codeLens(258, map[int]uint8{'a': 1, 257: 2, 256: 2}), []uint8{1})
			return w.text(lit, "a").symbol(lit, 257).put(1, 1).put(0, 160)
		}, "", badDistance},
		{"one distance of two bits", func() *bitWriter {
			w := new(bitWriter)
			w.dynamic(1, codeLens(258, map[int]uint8{'a': 1, 257: 2, 256: 2}), []uint8{2})
			return w.put(0, 160)
		}, "", "code of distances is none"},
		{"only the end", func() *bitWriter {
			w := new(bitWriter)
			lit, _ := w.dynamic(1, codeLens(257, map[int]uint8{256: 1}), []uint8{0})
			return w.symbol(lit, 256)
		}, "", ""},
		{"no end", func() *bitWriter {
			w := new(bitWriter)
			w.dynamic(1, codeLens(257, map[int]uint8{'a': 1, 'b': 1}), []uint8{0})
			return w.put(0, 160)
		}, "", "block without an end"},
		{"incomplete", func() *bitWriter {
			w := new(bitWriter)
			w.dynamic(1, codeLens(257, map[int]uint8{'a': 2, 'b': 2, 256: 2}), []uint8{0})
			return w.put(0, 160)
		}, "", "code of literals and lengths is none"},
		{"over-subscribed", func() *bitWriter {
			w := new(bitWriter)
			w.dynamic(1, codeLens(257, map[int]uint8{'a': 1, 'b': 1, 256: 1}), []uint8{0})
			return w.put(0, 160)
		}, "", "code of literals and lengths is none"},
		{"over-subscribed distances", func() *bitWriter {
			w := new(bitWriter)
			w.dynamic(1, codeLens(257, map[int]uint8{'a': 1, 256: 1}), []uint8{1, 1, 1})
			return w.put(0, 160)
		}, "", "code of distances is none"},
		{"long codes", func() *bitWriter {
			w := new(bitWriter)
			lits := longCode(286, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 285, 'n', 256)
			dists := longCode(30, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
			lit, dist := w.dynamic(1, lits, dists)
			w.text(lit, "abcdefghijklmnnn").text(lit, "nmlkjihgfedcba").symbol(lit, 285).symbol(dist, 8).put(3, 3)
			w.symbol(lit, 285).symbol(dist, 15).put(63, 6)
			return w.text(lit, "nmlk").symbol(lit, 256)
		}, func() string {
			s := "abcdefghijklmnnnnmlkjihgfedcba"
			for range 258 {
				s += s[len(s)-20 : len(s)-19]
			}
			for range 258 {
				s += s[len(s)-256 : len(s)-255]
			}
			return s + "nmlk"
		}(), ""},
		{"repeated code lengths", func() *bitWriter {
			w := new(bitWriter).dynamicHead(1, 257, 1)
			w.symbol(lenCode, 8).symbol(lenCode, 7).symbol(lenCode, 7) // 0 to 2
			for range 42 {                                             // 3 to 254
				w.symbol(lenCode, 8).symbol(lenCode, 16).put(2, 2)
			}
			return w.symbol(lenCode, 0).symbol(lenCode, 8).symbol(lenCode, 0).put(0, 160)
		}, "", "code of literals and lengths is none"}, // 253 of 8, 2 of 7, one of 8: more than there are
		{"zeros", func() *bitWriter {
			w := new(bitWriter).dynamicHead(1, 257, 1)
			w.symbol(lenCode, 18).put(86, 7).symbol(lenCode, 1) // 97 zeros, a
			w.symbol(lenCode, 18).put(127, 7).symbol(lenCode, 17).put(7, 3).symbol(lenCode, 17).put(7, 3)
			w.symbol(lenCode, 1).symbol(lenCode, 0)
			lit := newCoder(codeLens(257, map[int]uint8{'a': 1, 256: 1}))
			return w.text(lit, "aaa").symbol(lit, 256)
		}, "aaa", ""},
		{"nothing to repeat", func() *bitWriter { return new(bitWriter).dynamicHead(1, 257, 1).symbol(lenCode, 16).put(0, 160) }, "", "no code length to repeat"},
		{"too many repeated", func() *bitWriter {
			return new(bitWriter).dynamicHead(1, 257, 1).symbol(lenCode, 18).put(127, 7).symbol(lenCode, 18).put(127, 7).put(0, 160)
		}, "", "too many code lengths"},
		{"287 literals", func() *bitWriter { return new(bitWriter).dynamicHead(1, 287, 1).put(0, 160) }, "", "too many symbols"},
		{"31 distances", func() *bitWriter { return new(bitWriter).dynamicHead(1, 257, 31).put(0, 160) }, "", "too many symbols"},
		{"no code of code lengths", func() *bitWriter { return new(bitWriter).put(1|2<<1, 3).put(0, 14).put(0, 160) }, "", "unknown code length"},
		{"incomplete code of code lengths", func() *bitWriter { return new(bitWriter).put(1|2<<1, 3).put(0, 14).put(2, 12).put(0, 160) }, "", "code of code lengths is none"},
	} {
		t.Run(c.what, func(t *testing.T) {
			stream := c.stream().bytes()
			got, err := deflated(t, stream)
			var bad *Error
			switch {
			case c.err == "" && (err != nil || string(got) != c.want):
				t.Errorf("%q, %v", got, err)
			case c.err != "" && (!errors.As(err, &bad) || bad.Reason != c.err):
				t.Errorf("%v, want %s", err, c.err)
			}
			theirs, err := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
			if (err == nil) != (c.err == "") || c.err == "" && string(theirs) != c.want {
				t.Errorf("compress/flate: %q, %v", theirs, err)
			}
			cut(t, stream, c.err == "")
		})
	}
}

// cut checks that a stream which ends early is told from one that is bad.
func cut(t *testing.T, stream []byte, good bool) {
	t.Helper()
	whole, _ := all(NewDeflate(pieces(stream, 1<<30)), MinBlock)
	because := errors.New("because")
	for n := range len(stream) {
		if n > 40 && n < len(stream)-40 {
			continue
		}
		got, err := all(NewDeflate(pieces(stream[:n], 13)), MinBlock)
		if good && err != io.ErrUnexpectedEOF || !bytes.HasPrefix(whole, got) {
			t.Errorf("cut at %d: %d bytes, %v", n, len(got), err)
		}
		source := pieces(stream[:n], 13)
		_, err = all(NewDeflate(func() ([]byte, error) {
			b, err := source()
			if err == io.EOF {
				err = because
			}
			return b, err
		}), MinBlock)
		if good && err != because {
			t.Errorf("failed at %d: %v", n, err)
		}
	}
}

// TestMatches has each length with each distance that is handled in a way of its own.
func TestMatches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, dist := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 257, 258, 259, 1024, 32767, 32768} {
		want := make([]byte, max(dist, 64))
		for i := range want {
			want[i] = byte(rnd.Uint32())
		}
		w := new(bitWriter).stored(0, string(want)).put(1|1<<1, 3)
		for length := 3; length <= 258; length++ {
			w.match(length, dist).text(fixedLits, "!")
			for range length {
				want = append(want, want[len(want)-dist])
			}
			want = append(want, '!')
		}
		got, err := deflated(t, w.symbol(fixedLits, 256).bytes())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("distance %d: %d bytes of %d, %v", dist, len(got), len(want), err)
		}
	}
}

// match writes a length and a distance with the fixed codes.
func (w *bitWriter) match(length, dist int) *bitWriter {
	value := func(c coder, symbols []entry, first, v int) {
		for s := len(symbols) - 1; s >= first; s-- {
			base, extra := int(symbols[s]>>valueShift), uint(symbols[s]&63)
			if symbols[s]&entryOther == 0 && v >= base {
				w.symbol(c, s).put(uint64(v-base), extra)
				return
			}
		}
	}
	value(fixedLits, litSymbols[:], 257, length)
	value(fixedDists, distSymbols[:], 0, dist)
	return w
}

func TestGzip(t *testing.T) {
	member := func(h gzip.Header, level int, data string) []byte {
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		w.Header = h
		io.WriteString(w, data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	long := strings.Repeat("what is long is read in many pieces", 9000)
	plain := member(gzip.Header{}, 6, "plain")
	full := member(gzip.Header{Name: "name", Comment: "what it is", Extra: []byte("extra")}, 6, "full")
	summed := []byte("\x1f\x8b\x08\x02\x00\x00\x00\x00\x00\x03")
	summed = append(binary.LittleEndian.AppendUint16(summed, uint16(crc32.ChecksumIEEE(summed))), plain[10:]...)
	change := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[(i+len(b))%len(b)] ^= 0x80
		return b
	}
	join := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	for _, c := range []struct {
		what   string
		stream []byte
		want   string
		err    string
	}{
		{"nothing", nil, "", ""},
		{"plain", plain, "plain", ""},
		{"all fields", full, "full", ""},
		{"a long name", join([]byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte("n"), 500), []byte{0}, plain[10:]), "plain", ""},
		{"header checksum", summed, "plain", ""},
		{"members", join(plain, full, member(gzip.Header{}, 9, long), member(gzip.Header{}, 0, ""), summed), "plainfull" + long + "plain", ""},
		{"stored", member(gzip.Header{}, 0, long), long, ""},
		{"wrong header checksum", change(summed, 11), "", "wrong checksum of a gzip header"},
		{"wrong checksum", change(plain, -5), "", "wrong checksum of gzip data"},
		{"wrong size", change(plain, -1), "", "wrong size of gzip data"},
		{"wrong size of the second", join(full, change(plain, -1)), "", "wrong size of gzip data"},
		{"no magic", change(plain, 1), "", "no gzip header"},
		{"other method", change(plain, 2), "", "unknown gzip method"},
		{"reserved flag", change(plain, 3), "", "reserved gzip flag"},
		{"garbage behind", join(plain, []byte("garbage")), "", "no gzip header"},
		{"zeros behind", join(plain, make([]byte, 512)), "", "no gzip header"},
		{"reaches into the member before", join(plain, plain[:10], []byte("\x03\x02"), plain[len(plain)-8:]), "", badHistory},
	} {
		t.Run(c.what, func(t *testing.T) {
			theirs, theirErr := gunzip(c.stream)
			for _, size := range sizes {
				got, err := all(NewGzip(pieces(c.stream, size)), MinBlock)
				var bad *Error
				if c.err == "" && (err != nil || string(got) != c.want) || c.err != "" && (!errors.As(err, &bad) || bad.Reason != c.err) {
					t.Fatalf("pieces of %d: %.100q, %v", size, got, err)
				}
				// RFC 1952 has us refuse reserved flags; compress/gzip does not look.
				if c.what != "reserved flag" && (theirErr == nil) != (err == nil) || err == nil && !bytes.Equal(got, theirs) {
					t.Errorf("compress/gzip: %.100q, %v", theirs, theirErr)
				}
			}
			if c.err == "" && len(c.stream) < 1000 && c.what != "members" {
				for n := 1; n < len(c.stream); n++ {
					if _, err := all(NewGzip(pieces(c.stream[:n], 3)), MinBlock); err != io.ErrUnexpectedEOF {
						t.Errorf("cut at %d: %v", n, err)
					}
				}
			}
		})
	}
}

// gunzip is compress/gzip, up to what is fuzzed.
func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == io.EOF {
		return nil, nil // no member
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxFuzz+1))
}

// TestErrorStays: after the end, and after an error, there is nothing but that.
func TestErrorStays(t *testing.T) {
	block := make([]byte, MinBlock)
	for what, r := range map[string]*Reader{
		"end": NewDeflate(pieces([]byte{1, 0, 0, 0xff, 0xff}, 9)), "bad": NewDeflate(pieces([]byte{7}, 9)), "cut": NewGzip(pieces([]byte{0x1f}, 9)),
	} {
		_, first := r.Fill(block)
		n, again := r.Fill(block)
		if first == nil || again != first || n != 0 {
			t.Errorf("%s: %v, then %d, %v", what, first, n, again)
		}
	}
}

// TestSource: a piece may be empty, and the last one may come with the error.
func TestSource(t *testing.T) {
	w := new(bitWriter).stored(0, "abc").put(1|1<<1, 3).text(fixedLits, "def").symbol(fixedLits, 256).bytes()
	calls := 0
	got, err := all(NewDeflate(func() ([]byte, error) {
		if calls++; calls%2 == 1 {
			return nil, nil
		}
		if n := calls/2 - 1; n < len(w)-1 {
			return w[n : n+1], nil
		}
		return w[len(w)-1:], io.EOF
	}), MinBlock)
	if string(got) != "abcdef" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
