package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	kflate "github.com/klauspost/compress/flate"
)

// maxFuzz is how much a fuzzed stream may give, in bytes.
const maxFuzz = 4 << 20

// capped is what a Reader gives, up to maxFuzz.
func capped(r *Reader, block []byte) (out []byte, err error) {
	for err == nil && len(out) <= maxFuzz {
		var n int
		n, err = r.Fill(block)
		out = append(out, block[History:History+n]...)
	}
	if err == io.EOF {
		err = nil
	}
	return out, err
}

// agree compares with an oracle: the same errors, the same bytes; of a stream that fails, as
// much as both of them have.
func agree(t *testing.T, who string, ours []byte, err error, oracle io.Reader) {
	t.Helper()
	theirs, theirErr := io.ReadAll(io.LimitReader(oracle, maxFuzz+1))
	if len(ours) > maxFuzz || len(theirs) > maxFuzz {
		n := min(len(ours), len(theirs))
		ours, theirs, err, theirErr = ours[:n], theirs[:n], nil, nil
	}
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("%d bytes, %v; %s has %d, %v", len(ours), err, who, len(theirs), theirErr)
	}
	if (err == io.ErrUnexpectedEOF) != (theirErr == io.ErrUnexpectedEOF) {
		t.Logf("%v; %s says %v", err, who, theirErr)
	}
	if n := min(len(ours), len(theirs)); err == nil && len(ours) != len(theirs) || !bytes.Equal(ours[:n], theirs[:n]) {
		t.Fatalf("%d bytes are not the %d of %s", len(ours), len(theirs), who)
	}
}

// texts are what the seeds are made from: what has long matches, short ones, none.
func texts(t testing.TB) [][]byte {
	source, err := gunzip(foreign(t)["testdata/gzip-1.gz"])
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 3000)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	return [][]byte{nil, []byte("a"), source[:3000], noise, bytes.Repeat([]byte("ab"), 40_000), append(bytes.Clone(noise), source...)}
}

// FuzzDeflate: any stream gives what compress/flate and klauspost's flate make of it, in
// whatever pieces it comes.
func FuzzDeflate(f *testing.F) {
	for _, text := range texts(f) {
		for level := flate.HuffmanOnly; level <= 9; level++ {
			for _, stream := range [][]byte{deflateGo(f, text, level), deflateKlauspost(f, text, level)} {
				f.Add(stream, uint16(len(stream)/3+1), uint16(level))
			}
		}
	}
	for _, stream := range foreign(f) {
		f.Add(stream[10:], uint16(9999), uint16(0))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece, room uint16) {
		ours, err := capped(NewDeflate(pieces(stream, int(piece)+1)), make([]byte, MinBlock+int(room)))
		agree(t, "compress/flate", ours, err, flate.NewReader(bytes.NewReader(stream)))
		// klauspost's takes a distance for which a block has no code from the block before.
		if err == nil {
			agree(t, "klauspost/flate", ours, err, kflate.NewReader(bytes.NewReader(stream)))
		}
	})
}

// FuzzGzip is the same for members, their headers and checksums.
func FuzzGzip(f *testing.F) {
	for i, text := range texts(f) {
		var out bytes.Buffer
		for _, part := range [][]byte{text[:len(text)/2], text[len(text)/2:]} {
			w := gzip.NewWriter(&out)
			w.Header = gzip.Header{Name: "name"[:i%5], Extra: []byte("extra")[:i%6], Comment: "comment"[:i%8]}
			w.Write(part)
			w.Close()
		}
		f.Add(out.Bytes(), uint16(i*100))
	}
	for _, stream := range foreign(f) {
		f.Add(stream, uint16(9999))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16) {
		ours, err := capped(NewGzip(pieces(stream, int(piece)+1)), make([]byte, MinBlock))
		theirs, theirErr := gunzip(stream)
		var bad *Error
		switch {
		case errors.As(err, &bad) && bad.Reason == "reserved gzip flag":
			return // RFC 1952 has us refuse it; compress/gzip does not look
		case theirErr == gzip.ErrHeader && len(stream) > 512:
			return // a name of 512 bytes is too long for compress/gzip, not for the format
		}
		agree(t, "compress/gzip", ours, err, io.MultiReader(bytes.NewReader(theirs), failing{theirErr}))
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// FuzzRoundTrip: whatever is compressed, by whom and how well, comes out again.
func FuzzRoundTrip(f *testing.F) {
	for i, text := range texts(f) {
		f.Add(text, uint8(i), uint16(i*77), uint16(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, level uint8, piece, repeat uint16) {
		// What has been, comes again: at a distance, changed a little.
		for i := range int(repeat % 64) {
			if n := len(text); n > 0 && n < 1<<17 {
				from := int(repeat) * (i + 1) % n
				text = append(text[:n:n], text[from:]...)
				text[n] ^= byte(i)
			}
		}
		for _, deflate := range []func(testing.TB, []byte, int) []byte{deflateGo, deflateKlauspost} {
			ours, err := all(NewDeflate(pieces(deflate(t, text, int(level)%12-2), int(piece)+1)), MinBlock+int(piece))
			if err != nil || !bytes.Equal(ours, text) {
				t.Fatalf("%d bytes of %d, %v", len(ours), len(text), err)
			}
		}
	})
}

func deflateGo(t testing.TB, text []byte, level int) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, w, &out, text)
}

func deflateKlauspost(t testing.TB, text []byte, level int) []byte {
	var out bytes.Buffer
	w, err := kflate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, w, &out, text)
}

// written has a flush in the middle.
func written(t testing.TB, w interface {
	io.WriteCloser
	Flush() error
}, out *bytes.Buffer, text []byte) []byte {
	_, err1 := w.Write(text[:len(text)/2])
	err2 := w.Flush()
	_, err3 := w.Write(text[len(text)/2:])
	for _, err := range []error{err1, err2, err3, w.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// foreign are gzip files by programs that are not Go's: testdata/make.sh made them.
func foreign(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("testdata/*.gz")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	streams := map[string][]byte{}
	for _, name := range files {
		if streams[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return streams
}

// TestForeign: what other programs have written.
func TestForeign(t *testing.T) {
	for name, stream := range foreign(t) {
		want, err := gunzip(stream)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range sizes {
			if got, err := all(NewGzip(pieces(stream, size)), MinBlock); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s in pieces of %d: %d bytes of %d, %v", name, size, len(got), len(want), err)
			}
		}
	}
}
