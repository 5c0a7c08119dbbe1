package ocitar

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// beside makes a root with things beside it that no layer may touch, and returns a
// function that fails the test if one was.
func beside(t testing.TB) (root string, untouched func()) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "root")
	for _, err := range []error{
		os.Mkdir(root, 0o755), os.Mkdir(filepath.Join(top, "out"), 0o755),
		os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(top, "out/f"), []byte("f"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	except := func(name string) bool { return name == "." || name == "root" || strings.HasPrefix(name, "root/") }
	before := deepTree(t, top, except)
	return root, func() {
		t.Helper()
		sameTrees(t, before, deepTree(t, top, except))
	}
}

func size(n int64) func([]byte) {
	return func(h []byte) { putNumber(h[124:136], n) }
}

func field(at int, s string) func([]byte) {
	return func(h []byte) { copy(h[at:], s) }
}

// negativeSparse is an old GNU sparse file without data, of -5 bytes.
func negativeSparse() m {
	return m{name: "f", typ: 'S', change: func(h []byte) {
		copy(h[257:265], "ustar  \x00")
		copy(h[483:495], strings.Repeat("\xff", 11)+"\xfb")
	}}
}

// TestBreakouts: attempts to leave the root, and malformed archives. Each is refused with
// an *Error, or stays inside and makes what want says.
func TestBreakouts(t *testing.T) {
	v10 := func(pax string, data string) m {
		return m{name: "f", data: data, pax: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": pax}}
	}
	outLink := m{name: "l", typ: '2', link: "../out"}
	absLink := m{name: "l", typ: '2', link: "/../../../../../../../../../tmp"}
	for _, c := range []struct {
		what    string
		members []m
		err     error  // or nil, and then
		want    string // the tree
	}{
		{"..", []m{{name: "../secret", data: "x"}}, ErrName, ""},
		{".. in between", []m{{name: "a/../../secret"}}, ErrName, ""},
		{".. that stays", []m{{name: "a/../f"}}, ErrName, ""},
		{".. alone", []m{{name: ".."}}, ErrName, ""},
		{".. directory", []m{{name: "../new/", typ: '5'}}, ErrName, ""},
		{".. in pax", []m{{name: "f", pax: map[string]string{"path": "../secret"}}}, ErrName, ""},
		{".. in a GNU name", []m{{name: "f", before: long('L', "../secret")}}, ErrName, ""},
		{".. in a prefix", []m{{name: "secret", change: field(345, "..")}}, ErrName, ""},
		{".. in a sparse name", []m{{name: "f", data: "", pax: map[string]string{"GNU.sparse.size": "0", "GNU.sparse.map": "0,0", "GNU.sparse.name": "../secret"}}}, ErrName, ""},
		{"absolute", []m{{name: "/secret", data: "x"}}, nil, "secret=x"},
		{"many slashes", []m{{name: "////secret", data: "x"}}, nil, "secret=x"},
		{"through a link outside", []m{outLink, {name: "l/f", data: "x"}}, nil, lines("l -> ../out", "out/", "out/f=x")},
		{"through an absolute link outside", []m{absLink, {name: "l/f"}}, nil, lines("l -> /../../../../../../../../../tmp", "tmp/", "tmp/f")},
		{"through two links", []m{{name: "a", typ: '2', link: ".."}, {name: "b", typ: '2', link: "a/.."}, {name: "b/secret", data: "x"}}, nil, lines("a -> ..", "b -> a/..", "secret=x")},
		{"through a loop", []m{{name: "l", typ: '2', link: "l"}, {name: "l/f"}}, unix.ELOOP, "l -> l"},
		{"file over a link", []m{{name: "l", typ: '2', link: "../secret"}, {name: "l", data: "x"}}, nil, "l=x"},
		{"directory over a link", []m{outLink, {name: "l/", typ: '5', mode: 0o777}, {name: "l/f"}}, nil, lines("l/", "l/f")},
		{"hard link outside", []m{{name: "h", typ: '1', link: "../secret"}}, ErrName, ""},
		{"hard link absolute", []m{{name: "h", typ: '1', link: "/etc/passwd"}}, fs.ErrNotExist, ""},
		{"hard link through a link", []m{{name: "l", typ: '2', link: ".."}, {name: "h", typ: '1', link: "l/secret"}}, fs.ErrNotExist, "l -> .."},
		{"hard link to a directory", []m{{name: "d/", typ: '5'}, {name: "h", typ: '1', link: "d"}}, unix.EPERM, "d/"},
		{"hard link to the root", []m{{name: "h", typ: '1', link: "/"}}, ErrName, ""},
		{"hard link, then written", []m{{name: "s", typ: '2', link: "../secret"}, {name: "h", typ: '1', link: "s"}, {name: "h", data: "x"}}, nil, lines("h=x", "s -> ../secret")},
		{"whiteout of ..", []m{{name: ".wh..."}}, ErrName, ""},
		{"whiteout of .", []m{{name: "a/.wh.."}}, ErrName, ""},
		{"whiteout of nothing", []m{{name: "a/.wh."}}, ErrName, ""},
		{"whiteout outside", []m{{name: "../.wh.secret"}}, ErrName, ""},
		{"whiteout absolute", []m{{name: "/.wh.secret"}}, nil, ""},
		{"whiteout through a link", []m{outLink, {name: "l/.wh.f"}}, nil, "l -> ../out"},
		{"opaque outside", []m{{name: "../out/.wh..wh..opq"}}, ErrName, ""},
		{"opaque through a link", []m{outLink, {name: "l/.wh..wh..opq"}}, nil, "l -> ../out"},
		{"in a whiteout", []m{{name: ".wh.d/f"}}, ErrName, ""},
		{"NUL in pax", []m{{name: "f", pax: map[string]string{"path": "a\x00b"}}}, ErrName, ""},
		{"NUL in a pax link", []m{{name: "f", typ: '2', link: "x", pax: map[string]string{"linkpath": "a\x00b"}}}, ErrName, ""},
		{"empty link", []m{{name: "l", typ: '2'}}, ErrFormat, ""},
		{"root as a file", []m{{name: "./", typ: '2', link: "x"}}, ErrName, ""},
		{"long component", []m{{name: "f", before: long('L', strings.Repeat("x", 256))}}, unix.ENAMETOOLONG, ""},
		{"long name", []m{{name: "f", before: long('L', strings.Repeat("abcdefg/", 600)+"f")}}, unix.ENAMETOOLONG, ""},
		{"deep name", []m{{name: "f", before: long('L', strings.Repeat("a/", 600)+"f")}}, ErrLimit, ""},
		{"negative size", []m{{name: "f", change: field(124, strings.Repeat("\xff", 12))}}, ErrFormat, ""},
		{"negative pax size", []m{{name: "f", pax: map[string]string{"size": "-1"}}}, ErrFormat, ""},
		{"huge size", []m{{name: "f", change: field(124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")}}, ErrLimit, ""},
		{"64-bit size", []m{{name: "f", change: field(124, "\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")}}, ErrFormat, ""},
		{"negative owner", []m{{name: "f", change: field(108, strings.Repeat("\xff", 8))}}, ErrFormat, ""},
		{"huge owner", []m{{name: "f", pax: map[string]string{"uid": "4294967295"}}}, ErrFormat, ""},
		{"bad octal", []m{{name: "f", change: field(124, "9")}}, ErrFormat, ""},
		{"pax key twice", []m{{name: "f", paxRaw: "10 path=a\n10 path=b\n"}}, ErrFormat, ""},
		{"pax length too long", []m{{name: "f", paxRaw: "99 path=a\n"}}, ErrFormat, ""},
		{"pax length zero", []m{{name: "f", paxRaw: "0 path=a\n"}}, ErrFormat, ""},
		{"pax without newline", []m{{name: "f", paxRaw: "9 path=ab"}}, ErrFormat, ""},
		{"pax bad time", []m{{name: "f", pax: map[string]string{"mtime": "1e9"}}}, ErrFormat, ""},
		{"pax huge", []m{{name: "x", typ: 'x', change: size(1 << 30)}}, ErrLimit, ""},
		{"pax at the end", []m{{name: "x", typ: 'x', data: "10 path=a\n"}}, ErrFormat, ""},
		{"two pax headers", []m{{name: "x", typ: 'x', data: "10 path=a\n"}, {name: "f", pax: map[string]string{"path": "b"}}}, ErrFormat, ""},
		{"sparse beyond the file", []m{v10("10", "1\n0\n600\n"+strings.Repeat("\x00", 512-8)+strings.Repeat("x", 600))}, ErrFormat, ""},
		{"sparse overlapping", []m{{name: "f", data: "xxxx", pax: map[string]string{"GNU.sparse.size": "10", "GNU.sparse.map": "0,2,1,2"}}}, ErrFormat, ""},
		{"sparse overflow", []m{{name: "f", data: "xx", pax: map[string]string{"GNU.sparse.size": "10", "GNU.sparse.map": "9223372036854775807,2"}}}, ErrFormat, ""},
		{"sparse negative", []m{{name: "f", data: "xx", pax: map[string]string{"GNU.sparse.size": "10", "GNU.sparse.map": "-5,2"}}}, ErrFormat, ""},
		{"sparse more than stored", []m{{name: "f", data: "xx", pax: map[string]string{"GNU.sparse.size": "10", "GNU.sparse.map": "0,5"}}}, ErrFormat, ""},
		{"sparse count", []m{v10("10", "999999999999\n"+strings.Repeat("\x00", 499))}, ErrFormat, ""},
		{"sparse map without end", []m{v10("10", strings.Repeat("1", 512))}, ErrFormat, ""},
		{"sparse of negative size", []m{negativeSparse()}, ErrFormat, ""},
		{"sparse bomb", []m{v10("9223372036854775807", "0\n"+strings.Repeat("\x00", 510))}, ErrLimit, ""},
		{"empty name", []m{{name: ""}}, ErrName, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			root, untouched := beside(t)
			_, err := new(Unpacker).Unpack(context.Background(), root, bytes.NewReader(archive(c.members...)))
			untouched()
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			var le *Error
			if err != nil && !errors.As(err, &le) {
				t.Errorf("%T has no entry and offset", err)
			}
			if got := tree(t, root); c.err == nil && got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	good := archive(m{name: "f", data: "1"})
	for what, layer := range map[string][]byte{
		"after the end":  append(archive(m{name: "f"}), "garbage"...),
		"an error page":  []byte("<html>" + strings.Repeat("x", 1000)),
		"bad checksum":   append([]byte("g"), good[1:]...),
		"after zeros":    append(append(good, make([]byte, 9000)...), 1),
		"one zero block": append(append(archive(m{name: "f"}, m{name: "no end"}), make([]byte, 512)...), good...),
	} {
		_, _, err := unpackInto(t, layer)
		var le *Error
		if !errors.Is(err, ErrFormat) || !errors.As(err, &le) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestErrorNamesEntryAndOffset(t *testing.T) {
	_, _, err := unpackInto(t, archive(m{name: "f", data: strings.Repeat("x", 600)}, m{name: "d/../g"}))
	var le *Error
	if !errors.As(err, &le) || le.Entry != "d/../g" || le.Offset != 512+1024 {
		t.Errorf("%+v", err)
	}
}

func TestLimits(t *testing.T) {
	var many []m
	for i := range 20 {
		many = append(many, m{name: strings.Repeat("d/", i) + "f", data: "12345"})
	}
	zeros := make([]byte, 300<<20)
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(zeros, nil)
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	w.Write(zeros[:1<<20])
	w.Close()
	for _, c := range []struct {
		what   string
		limits Limits
		layer  []byte
	}{
		{"entries", Limits{Entries: 19}, archive(many...)},
		{"bytes", Limits{Bytes: 5000}, archive(many...)},
		{"depth", Limits{Depth: 19}, archive(many...)},
		{"ratio", Limits{}, bomb},
		{"ratio of gzip", Limits{}, bytes.Repeat(member.Bytes(), 300)},
		{"window", Limits{Window: 1 << 20}, bomb},
	} {
		u := Unpacker{Limits: c.limits}
		if _, err := u.Unpack(context.Background(), t.TempDir(), bytes.NewReader(c.layer)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	none := Unpacker{Limits: Limits{Bytes: -1, Entries: -1, Ratio: -1, Depth: -1, Window: -1}}
	if _, err := none.Unpack(context.Background(), t.TempDir(), bytes.NewReader(archive(many...))); err != nil {
		t.Error(err)
	}
	if (Limits{Bytes: -1}).bytes() != math.MaxInt64 {
		t.Error("negative is no limit")
	}
}

// TestRenamingAttacker swaps a directory that is being unpacked into for a link to
// outside, all the while.
func TestRenamingAttacker(t *testing.T) {
	root, untouched := beside(t)
	var members []m
	for i := range 400 {
		d := string(rune('a' + i%3))
		members = append(members, m{name: "d/" + d + "/", typ: '5'}, m{name: "d/" + d + "/f", data: "x"}, m{name: "d/" + d + "/l", typ: '1', link: "d/" + d + "/f"},
			m{name: "d/" + d + "/.wh.secret"}, m{name: "d/" + d + "/.wh.f"}, m{name: "d/.wh." + d})
	}
	layer := archive(members...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		d := filepath.Join(root, "d")
		for {
			select {
			case <-stop:
				return
			default: // errors are part of the game
				_ = os.Rename(d, d+"2")
				_ = os.Symlink("../out", d)
				_ = os.Remove(d)
				_ = os.Symlink("..", d)
				_ = os.Remove(d)
				_ = os.Rename(d+"2", d)
			}
		}
	})
	for range 3 {
		// It may fail, or succeed: what counts is what it touched.
		_, err := new(Unpacker).Unpack(context.Background(), root, bytes.NewReader(layer))
		if errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	untouched()
}
