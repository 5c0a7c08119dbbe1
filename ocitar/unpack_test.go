package ocitar

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// A layerCase is layers, applied one upon the other, and the tree they make.
type layerCase struct {
	what   string
	layers [][]byte
	want   string
}

func unpackCases() []layerCase {
	name300 := strings.Repeat("n", 250)
	return []layerCase{
		{"nothing", [][]byte{archive()}, ""},
		{"no end blocks", [][]byte{archive(m{name: "f", data: "1"}, m{name: "no end"})}, "f=1"},
		{"no bytes", [][]byte{{}}, ""},
		{"one zero record", [][]byte{append(archive(m{name: "f"}, m{name: "no end"}), make([]byte, 512)...)}, "f"},
		{"implied parents", [][]byte{archive(m{name: "a/b/c", data: "1"})}, lines("a/", "a/b/", "a/b/c=1")},
		{"odd names", [][]byte{archive(m{name: "./a//b/./c"}, m{name: "/abs"})}, lines("a/", "a/b/", "a/b/c", "abs")},
		{"twice", [][]byte{archive(m{name: "f", data: "1"}, m{name: "f", data: "2"})}, "f=2"},
		{"file, then directory", [][]byte{archive(m{name: "d"}), archive(m{name: "d/", typ: '5'}, m{name: "d/f"})}, lines("d/", "d/f")},
		{"directory, then file", [][]byte{archive(m{name: "d/e/f"}), archive(m{name: "d", data: "1"})}, "d=1"},
		{"link, then directory", [][]byte{archive(m{name: "x/f"}, m{name: "d", typ: '2', link: "x"}), archive(m{name: "d/", typ: '5'}, m{name: "d/g"})}, lines("d/", "d/g", "x/", "x/f")},
		{"through a link", [][]byte{archive(m{name: "usr/lib/", typ: '5'}, m{name: "lib", typ: '2', link: "usr/lib"}), archive(m{name: "lib/x", data: "1"})}, lines("lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/x=1")},
		{"through an absolute link", [][]byte{archive(m{name: "lib", typ: '2', link: "/usr/lib"}, m{name: "lib/x"})}, lines("lib -> /usr/lib", "usr/", "usr/lib/", "usr/lib/x")},
		{"link changes on the way", [][]byte{archive(m{name: "a/f"}, m{name: "b/", typ: '5'}, m{name: "l", typ: '2', link: "a"}, m{name: "l/1"}, m{name: "l", typ: '2', link: "b"}, m{name: "l/2"})}, lines("a/", "a/1", "a/f", "b/", "b/2", "l -> b")},
		{"directory replaced while cached", [][]byte{archive(m{name: "a/f"}, m{name: "b/", typ: '5'}, m{name: "a", typ: '2', link: "b"}, m{name: "a/g"})}, lines("a -> b", "b/", "b/g")},
		{"hard link after", [][]byte{archive(m{name: "f", data: "1"}, m{name: "d/l", typ: '1', link: "f"})}, lines("d/", "d/l=1", "f=1")},
		{"hard link before", [][]byte{archive(m{name: "d/l2", typ: '1', link: "d/l"}, m{name: "d/l", typ: '1', link: "e/f"}, m{name: "e/f", data: "1"})}, lines("d/", "d/l=1", "d/l2=1", "e/", "e/f=1")},
		{"hard link to itself", [][]byte{archive(m{name: "f", data: "1"}, m{name: "./f", typ: '1', link: "f"})}, "f=1"},
		{"hard link over a file", [][]byte{archive(m{name: "g", data: "2"}), archive(m{name: "f", data: "1"}, m{name: "g", typ: '1', link: "/f"})}, lines("f=1", "g=1")},
		{"hard link to a link", [][]byte{archive(m{name: "s", typ: '2', link: "no"}, m{name: "l", typ: '1', link: "s"})}, lines("l -> no", "s -> no")},
		{"hard link through a link", [][]byte{archive(m{name: "d/f", data: "1"}, m{name: "s", typ: '2', link: "/d"}, m{name: "l", typ: '1', link: "s/f"})}, lines("d/", "d/f=1", "l=1", "s -> /d")},
		{"hard link of a lower layer", [][]byte{archive(m{name: "f", data: "1"}), archive(m{name: "l", typ: '1', link: "f"})}, lines("f=1", "l=1")},
		{"replacing breaks links", [][]byte{archive(m{name: "f", data: "1"}, m{name: "l", typ: '1', link: "f"}), archive(m{name: "l", data: "2"})}, lines("f=1", "l=2")},
		{"fifo", [][]byte{archive(m{name: "p", typ: '6'})}, "p p---------"},
		{"v7 directory", [][]byte{archive(m{name: "d/", change: func(h []byte) { clear(h[257:]); h[156] = 0 }})}, "d/"},
		{"contiguous", [][]byte{archive(m{name: "f", typ: '7', data: "1"})}, "f=1"},
		{"unknown type", [][]byte{archive(m{name: "V", typ: 'V', data: "x"}, m{name: "f"})}, "f"},
		{"size on a link", [][]byte{archive(m{name: "f"}, m{name: "l", typ: '1', link: "f", change: func(h []byte) { putNumber(h[124:136], 99) }}, m{name: "g"})}, lines("f", "g", "l")},
		{"GNU long names", [][]byte{archive(m{name: "cut", data: "1", before: long('L', "d/"+name300)}, m{name: "l", typ: '2', link: "cut", before: long('K', name300)})}, lines("d/", "d/"+name300+"=1", "l -> "+name300)},
		{"pax names", [][]byte{archive(m{name: "cut", pax: map[string]string{"path": "d/" + name300, "size": "1"}, data: "1"})}, lines("d/", "d/"+name300+"=1")},
		{"ustar prefix", [][]byte{archive(m{name: "f", change: func(h []byte) { copy(h[345:], "p/q") }})}, lines("p/", "p/q/", "p/q/f")},
		{"star prefix", [][]byte{archive(m{name: "f", change: func(h []byte) {
			copy(h[345:], "p")
			copy(h[476:], "00000000000 00000000000 ")
			copy(h[508:], "tar\x00")
		}})}, lines("p/", "p/f")},
		{"base-256", [][]byte{archive(m{name: "f", data: "1", change: func(h []byte) { copy(h[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01") }})}, "f=1"},
		{"global header", [][]byte{archive(m{name: "g", typ: 'g', data: "13 comment=x\n"}, m{name: "f"})}, "f"},
		{"signed checksum", [][]byte{signedChecksum()}, "f\xfc"},
	}
}

func TestUnpack(t *testing.T) {
	for _, c := range unpackCases() {
		t.Run(c.what, func(t *testing.T) {
			root, _, err := unpackInto(t, c.layers...)
			if got := tree(t, root); got != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// signedChecksum is an archive by a writer that summed signed chars.
func signedChecksum() []byte {
	a := archive(m{name: "f\xfc"})
	copy(a[148:156], "        ")
	var sum int64
	for _, c := range a[:512] {
		sum += int64(int8(c))
	}
	putNumber(a[148:155], sum)
	return a
}

var sparseSpan, sparseEnd = strings.Repeat("ab", 256), strings.Repeat("xyz", 302)[:904]

// sparseLayers have one file, "f", in all formats for sparse ones.
func sparseLayers() map[string][]byte {
	oct := func(h []byte, at int, n ...int64) {
		for i, v := range n {
			putNumber(h[at+12*i:at+12*i+12], v)
		}
	}
	data := sparseSpan + sparseEnd // the first is whole records, as GNU tar has all but the last
	old := archive(m{name: "f", typ: 'S', data: data, change: func(h []byte) {
		copy(h[257:265], "ustar  \x00")
		clear(h[345:])
		oct(h, 386, 1024, 512, 4096, 904, 5000, 0)
		oct(h, 483, 5000)
	}})
	ext := make([]byte, 512)
	oct(ext, 0, 4096, 904, 5000, 0)
	extended := archive(m{name: "f", typ: 'S', data: string(ext) + data, change: func(h []byte) {
		copy(h[257:265], "ustar  \x00")
		clear(h[345:])
		oct(h, 386, 1024, 512)
		h[482] = 1
		oct(h, 483, 5000)
		oct(h, 124, int64(len(data)))
	}})
	v00 := archive(m{name: "f", data: data, paxRaw: string(paxRecord(paxRecord(paxRecord(paxRecord(paxRecord(nil, "GNU.sparse.size", "5000"),
		"GNU.sparse.offset", "1024"), "GNU.sparse.numbytes", "512"), "GNU.sparse.offset", "4096"), "GNU.sparse.numbytes", "904"))})
	v01 := archive(m{name: "x", data: data, pax: map[string]string{"GNU.sparse.size": "5000", "GNU.sparse.map": "1024,512,4096,904", "GNU.sparse.name": "f"}})
	head := "2\n1024\n512\n4096\n904\n"
	v10 := archive(m{name: "x", data: head + string(make([]byte, 512-len(head))) + data, pax: map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5000", "GNU.sparse.name": "f"}})
	return map[string][]byte{"old": old, "extended": extended, "0.0": v00, "0.1": v01, "1.0": v10}
}

func TestSparse(t *testing.T) {
	want := make([]byte, 5000)
	copy(want[1024:], sparseSpan)
	copy(want[4096:], sparseEnd)
	for what, layer := range sparseLayers() {
		root, sum, err := unpackInto(t, layer)
		got, rerr := os.ReadFile(filepath.Join(root, "f"))
		if err != nil || rerr != nil || !bytes.Equal(got, want) || sum.Bytes != 5000 {
			t.Errorf("%s: %d bytes, %v, %v", what, len(got), err, rerr)
		}
	}
}

func TestCompression(t *testing.T) {
	plain := archive(m{name: "f", data: "1"}, m{name: "g", data: strings.Repeat("x", 100_000)})
	half := len(plain) / 2
	var gz, zs bytes.Buffer
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{plain[:half], plain[half:]} { // two members, two frames
		w := gzip.NewWriter(&gz)
		w.Write(part)
		w.Close()
		zs.Write(enc.EncodeAll(part, nil))
	}
	skippable := append([]byte("\x5f\x2a\x4d\x18\x03\x00\x00\x00abc"), zs.Bytes()...)
	ref, err := Verify(context.Background(), bytes.NewReader(plain), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind  Compression
		layer []byte
	}{{None, plain}, {Gzip, gz.Bytes()}, {Zstd, zs.Bytes()}, {Zstd, skippable}} {
		_, sum, err := unpackInto(t, c.layer)
		if err != nil || sum.DiffID != ref.DiffID || sum.TarSize != int64(len(plain)) || sum.Size != int64(len(c.layer)) || sum.Compression != c.kind || sum.MediaType != c.kind.MediaType() {
			t.Errorf("%s: %+v, %v", c.kind, sum, err)
		}
		if (sum.Digest == sum.DiffID) != (c.kind == None) {
			t.Errorf("%s: digest %s", c.kind, sum.Digest)
		}
		for _, cut := range []int{1, 7, len(c.layer) / 3, len(c.layer) - 600} {
			if c.kind != None {
				cut = min(cut, len(c.layer)-1)
			}
			if cut < 0 {
				continue
			}
			if _, _, err := unpackInto(t, c.layer[:cut]); err == nil {
				t.Errorf("%s cut at %d of %d: no error", c.kind, cut, len(c.layer))
			}
		}
	}
	for name, magic := range map[string]string{"xz": "\xfd7zXZ\x00", "bzip2": "BZh91AY&SY", "lz4": "\x04\x22\x4d\x18abc"} {
		_, _, err := unpackInto(t, []byte(magic+strings.Repeat("x", 600)))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	whole := archive(m{name: "a/b", data: strings.Repeat("x", 700), pax: map[string]string{"mtime": "1.5"}}, m{name: "c"}, m{name: "no end"})
	for n := range len(whole) {
		if n%29 != 0 && (n+1)%512 > 2 {
			continue
		}
		_, err := new(Unpacker).Unpack(context.Background(), t.TempDir(), bytes.NewReader(whole[:n]))
		// Before an entry, or in the padding before it: "a/b" has three records of headers.
		boundary := n == 0 || n >= 3*512+700 && n <= len(whole)-512
		if boundary != (err == nil) {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
		var le *Error
		if err != nil && (!errors.As(err, &le) || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func TestAttributes(t *testing.T) {
	root, _, err := unpackInto(t, archive(
		m{name: "ro/", typ: '5', mode: 0o500, pax: map[string]string{"mtime": "1600000000.123456789"}},
		m{name: "ro/f", mode: 0o4755, pax: map[string]string{"mtime": "-1.5"}},
		m{name: "sticky/", typ: '5', mode: 0o1777},
		m{name: "implied/f"},
		m{name: "p", typ: '6', mode: 0o606},
	), archive(m{name: "ro/g"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "ro"), 0o700) })
	for name, want := range map[string]string{
		"ro": "40500 1600000000123456789", "ro/f": "104755 -1500000000", "sticky": "41777 1000000000000000000",
		"implied": "40755 1000000000000000000", "p": "10606 1000000000000000000",
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d", st.Mode, modTime(&st).UnixNano()); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestNotes(t *testing.T) {
	_, sum, err := unpackInto(t, archive(
		m{name: "a", pax: map[string]string{"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.nonsense": "x"}},
		m{name: "b", pax: map[string]string{"SCHILY.fflags": "weird"}},
		m{name: "c", typ: 'Q', data: "?"},
	))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, n := range sum.Notes {
		seen[n.Entry]++
	}
	if seen["a"] != 3 || seen["b"] == 0 || seen["c"] != 1 {
		t.Errorf("%+v", sum.Notes)
	}
}

func TestDevicePolicy(t *testing.T) {
	layer := archive(m{name: "null", typ: '3', change: func(h []byte) { putNumber(h[329:337], 1); putNumber(h[337:345], 3) }}, m{name: "f"})
	for policy, want := range map[Devices]error{SkipDevices: nil, RefuseDevices: fs.ErrPermission} {
		u := Unpacker{Devices: policy}
		root := t.TempDir()
		sum, err := u.Unpack(context.Background(), root, bytes.NewReader(layer))
		if !errors.Is(err, want) {
			t.Errorf("%v: %v", policy, err)
		}
		if want == nil && (len(sum.Notes) != 1 || tree(t, root) != "f") {
			t.Errorf("%+v %s", sum, tree(t, root))
		}
	}
}

// TestDamagedGzip: what is wrong with the compression is not said of the archive.
func TestDamagedGzip(t *testing.T) {
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(archive(m{name: "f", data: strings.Repeat("x", 3000)}))
	w.Close()
	good := gz.Bytes()
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 0x40
		return b
	}
	for what, layer := range map[string][]byte{
		"method": flip(2), "code": flip(12), "checksum": flip(len(good) - 5), "size": flip(len(good) - 1),
		"half": good[:len(good)/2], "no trailer": good[:len(good)-8], "header": good[:8],
		"garbage behind": append(bytes.Clone(good), "garbage"...), "zeros behind": append(bytes.Clone(good), make([]byte, 10)...),
	} {
		_, _, err := unpackInto(t, layer)
		if !errors.Is(err, ErrData) || errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "gzip: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestReaderFails(t *testing.T) {
	because := errors.New("because")
	layer := archive(m{name: "f", data: strings.Repeat("x", 3000)})
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(layer)
	w.Close()
	for what, b := range map[string][]byte{"plain": layer[:1000], "gzip": gz.Bytes()[:gz.Len()/2]} {
		r := io.MultiReader(bytes.NewReader(b), errReader{because})
		if _, err := new(Unpacker).Unpack(context.Background(), t.TempDir(), r); !errors.Is(err, because) || errors.Is(err, ErrData) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	because := errors.New("because")
	cancel(because)
	if _, err := new(Unpacker).Unpack(ctx, t.TempDir(), bytes.NewReader(archive(m{name: "f"}))); !errors.Is(err, because) {
		t.Error(err)
	}
}

// A setgid file that belongs to who unpacks it has that user's group, though the
// directory it is made in has another: /tmp does, where directories lend theirs.
func TestSetgidWithoutOwners(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	layer := archive(m{name: "f", mode: 0o2755}, m{name: "d/", typ: '5', mode: 0o2755})
	if _, err := (&Unpacker{NoOwner: true}).Unpack(context.Background(), root, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "d"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o7777 != 0o2755 || int(st.Gid) != os.Getegid() {
			t.Errorf("%s: mode %o, group %d, want 2755 and %d", name, st.Mode&0o7777, st.Gid, os.Getegid())
		}
	}
}
