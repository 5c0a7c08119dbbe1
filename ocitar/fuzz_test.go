package ocitar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// seeds are archives with every feature, and some that are wrong.
func seeds(f *testing.F) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	gz := func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	}
	all := archive(
		m{name: "d/", typ: '5', mode: 0o1777}, m{name: "d/f", data: "1"}, m{name: "l", typ: '2', link: "../d"}, m{name: "l/g"},
		m{name: "h", typ: '1', link: "d/f"}, m{name: "p", typ: '6'}, m{name: "d/.wh.f"}, m{name: "d/.wh..wh..opq"}, m{name: ".wh.x"},
		m{name: "a", data: "2", pax: map[string]string{"path": "d/e", "mtime": "1.5", "SCHILY.xattr.user.x": "y", "SCHILY.fflags": "schg"}},
		m{name: "cut", before: long('L', strings.Repeat("n/", 60)+"f")},
	)
	sparse := archive(
		m{name: "s", data: "1\n5\n2\n" + strings.Repeat("\x00", 506) + "xy", pax: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9", "GNU.sparse.name": "s"}},
		m{name: "t", data: "xy", pax: map[string]string{"GNU.sparse.size": "9", "GNU.sparse.map": "3,2"}},
	)
	bad := archive(m{name: "../f"}, m{name: "f", paxRaw: "10 path=a\n10 path=b\n"})
	negative := archive(negativeSparse())
	for _, s := range [][]byte{{}, all, sparse, bad, negative, gz(all), z.EncodeAll(sparse, nil), gz(bad)[:60], []byte("BZh91AY")} {
		f.Add(s)
	}
}

// FuzzUnpack: whatever a layer says, nothing beside the root changes, nor, where that can
// be seen (as root: the world is read-only then), anywhere else; an error says where.
func FuzzUnpack(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, layer []byte) {
		root, untouched := beside(t)
		defer unlockAll(root)
		u := Unpacker{Limits: Limits{Bytes: 1 << 20, Entries: 200}, Devices: SkipDevices}
		sum, err := u.Unpack(context.Background(), root, bytes.NewReader(layer))
		untouched()
		if sealed && errors.Is(err, unix.EROFS) {
			t.Fatalf("something outside was to be changed: %v", err)
		}
		if err == nil && (!strings.HasPrefix(sum.DiffID, "sha256:") || sum.Size != int64(len(layer))) {
			t.Errorf("%+v of %d bytes", sum, len(layer))
		}
		var le *Error
		if err != nil && !errors.As(err, &le) && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrData) {
			t.Errorf("%T: %v", err, err)
		}
		if err != nil {
			return
		}
		// What was made can be packed, unless a name would read as a whiteout or attributes are too many.
		var p Packer
		if _, err := p.Pack(context.Background(), new(bytes.Buffer), root, Tree(root)); err != nil && !errors.Is(err, ErrName) {
			t.Errorf("pack: %v", err)
		}
	})
}

// FuzzPack: whatever was unpacked and whatever is said to have changed, a layer that is
// packed is one that lists, verifies and unpacks.
func FuzzPack(f *testing.F) {
	tree := archive(m{name: "a/b/c", data: "1"}, m{name: "a/l", typ: '2', link: "b"}, m{name: "d/", typ: '5'}, m{name: "d/h", typ: '1', link: "a/b/c"}, m{name: "p", typ: '6'})
	f.Add(tree, "Pa\nPa/b/c\nGx/y\nOd")
	f.Add(tree, "Ga\nPa\nP.\nO.\nPa/l/c\nP../x\nG.wh.x")
	f.Add(tree, "Pp\nPd/h\nPa/b/c\nGa//b\nO./a/")
	f.Fuzz(func(t *testing.T, layer []byte, spec string) {
		root, untouched := beside(t)
		defer unlockAll(root)
		u := Unpacker{Limits: Limits{Bytes: 1 << 20, Entries: 100}, Devices: SkipDevices}
		if _, err := u.Unpack(context.Background(), root, bytes.NewReader(layer)); err != nil {
			return // FuzzUnpack's
		}
		unlockAll(root)
		var changes []Change
		for line := range strings.SplitSeq(spec, "\n") {
			if kind := strings.IndexByte("PGO", (line + " ")[0]); kind >= 0 && len(changes) < 100 {
				changes = append(changes, Change{Path: line[1:], Kind: ChangeKind(kind)})
			}
		}
		before := deepTree(t, root, nil)
		var out bytes.Buffer
		var p Packer
		sum, err := p.Pack(context.Background(), &out, root, only(changes...))
		untouched()
		sameTrees(t, before, deepTree(t, root, nil))
		if err != nil {
			return
		}
		check, err := Verify(context.Background(), bytes.NewReader(out.Bytes()), Limits{})
		if err != nil || check.DiffID != sum.DiffID || check.Entries != sum.Entries || check.Size != sum.Size {
			t.Errorf("%+v, %v; packed %+v", check, err, sum)
		}
		again := newRoot(t)
		defer unlockAll(again)
		if _, err := new(Unpacker).Unpack(context.Background(), again, bytes.NewReader(out.Bytes())); err != nil && !errors.Is(err, ErrLimit) {
			t.Errorf("unpack what was packed: %v", err)
		}
		var twice bytes.Buffer
		if _, err := p.Convert(context.Background(), &twice, bytes.NewReader(out.Bytes()), Limits{Depth: -1}); err != nil || !bytes.Equal(twice.Bytes(), out.Bytes()) {
			t.Errorf("converted: %d bytes of %d, %v", twice.Len(), out.Len(), err)
		}
	})
}

// unlockAll lets the test's directory be removed.
func unlockAll(root string) {
	_ = filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		clearFlags(unix.AT_FDCWD, p)
		if d != nil && d.IsDir() && os.Chmod(p, 0o700) == nil && err != nil {
			unlockAll(p)
		}
		return nil
	})
}

// FuzzList compares what is read with archive/tar: what we accept, it reads alike. It
// accepts more: keys twice, garbage at the end.
func FuzzList(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, layer []byte) {
		var entries []Entry
		for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
			if err != nil {
				return
			}
			if e.Size < 0 || e.Stored < 0 {
				t.Fatalf("%q: size %d, %d stored", e.Name, e.Size, e.Stored)
			}
			entries = append(entries, e)
		}
		if kind, err := detect(layer); kind != None || err != nil {
			return
		}
		theirs := tar.NewReader(bytes.NewReader(layer))
		for _, e := range entries {
			h, err := theirs.Next()
			for err == nil && h.Typeflag == tar.TypeXGlobalHeader {
				h, err = theirs.Next()
			}
			if err != nil {
				return // stricter than ours in what does not matter: blanks in numbers, for one
			}
			if h.Name != e.Name && strings.TrimRight(h.Name, "/") != strings.TrimRight(e.Name, "/") {
				t.Fatalf("name %q, archive/tar says %q", e.Name, h.Name)
			}
			if e.Type == Regular && h.Typeflag == tar.TypeReg && h.Size != e.Size {
				t.Fatalf("%q: size %d, archive/tar says %d", e.Name, e.Size, h.Size)
			}
		}
	})
}

// FuzzPax: what is parsed and written again is the same.
func FuzzPax(f *testing.F) {
	f.Add([]byte("10 path=a\n15 mtime=1.25\n"))
	f.Add([]byte("26 SCHILY.xattr.user.a=\x00\n\n"))
	f.Add([]byte("22 GNU.sparse.offset=1\n24 GNU.sparse.numbytes=1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePax(b)
		if err != nil {
			return
		}
		var out []byte
		for k, v := range p.values {
			out = paxRecord(out, k, v)
		}
		q, err := parsePax(out)
		if err != nil || len(q.values) != len(p.values) {
			t.Fatalf("%q: %v", out, err)
		}
		for k, v := range p.values {
			if q.values[k] != v {
				t.Fatalf("%q: %q, %q", k, v, q.values[k])
			}
		}
		var e Entry
		var size int64
		_ = p.apply(&e, &size) // must not panic
	})
}
