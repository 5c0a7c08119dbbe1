package ocitar

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// m is a member of a test archive. It can say what no archiver would.
type m struct {
	name, link string
	typ        byte // regular if 0
	mode       int64
	data       string
	pax        map[string]string
	paxRaw     string              // instead of pax
	change     func(header []byte) // before the checksum
	before     []byte              // raw bytes before the header, such as GNU long names
}

// archive writes members, and the end unless the last is named "no end".
func archive(members ...m) []byte {
	var b bytes.Buffer
	for _, x := range members {
		if x.name == "no end" {
			return b.Bytes()
		}
		b.Write(x.before)
		records := []byte(x.paxRaw)
		for _, k := range slices.Sorted(maps.Keys(x.pax)) {
			records = paxRecord(records, k, x.pax[k])
		}
		if len(records) > 0 {
			b.Write(record(m{name: "PaxHeader/x", typ: 'x', data: string(records)}))
		}
		b.Write(record(x))
	}
	return append(b.Bytes(), make([]byte, 1024)...)
}

// record is one header with its data.
func record(x m) []byte {
	h := make([]byte, 512)
	copy(h[:100], x.name)
	copy(h[157:257], x.link)
	if x.mode == 0 {
		x.mode = 0o644
		if x.typ == '5' {
			x.mode = 0o755
		}
	}
	if x.typ == 0 {
		x.typ = '0'
	}
	putNumber(h[100:108], x.mode)
	putNumber(h[108:116], int64(os.Geteuid()))
	putNumber(h[116:124], int64(os.Getegid()))
	putNumber(h[124:136], int64(len(x.data)))
	putNumber(h[136:148], 1_000_000_000)
	h[156] = x.typ
	copy(h[257:265], "ustar\x0000")
	if x.change != nil {
		x.change(h)
	}
	sign(h)
	h = append(h, x.data...)
	return append(h, make([]byte, -len(h)&511)...)
}

// long is a GNU long name ('L') or link ('K').
func long(typ byte, name string) []byte {
	return record(m{name: "././@LongLink", typ: typ, data: name + "\x00"})
}

// unpackInto applies layers, one after the other, to a new root.
func unpackInto(t testing.TB, layers ...[]byte) (root string, sum Summary, err error) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if sum, err = new(Unpacker).Unpack(context.Background(), root, bytes.NewReader(l)); err != nil {
			return root, sum, err
		}
	}
	return root, sum, nil
}

// tree describes all files of root, a line each: type, name, content or target.
func tree(t testing.TB, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name, _ := filepath.Rel(root, p)
		switch {
		case d.IsDir():
			name += "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			name += " -> " + to
		case d.Type().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(data) > 0 && len(data) < 40 {
				name += "=" + string(data)
			}
		default:
			name += " " + d.Type().String()
		}
		lines = append(lines, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func lines(s ...string) string { return strings.Join(s, "\n") }

// deepTree describes a tree with all attributes that a layer carries, for comparing.
func deepTree(t testing.TB, root string, except func(string) bool) map[string]string {
	t.Helper()
	out, first := map[string]string{}, map[inode]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		if except != nil && except(name) {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: p, Err: err}
		}
		s := fmt.Sprintf("mode %o owner %d:%d time %v", st.Mode, st.Uid, st.Gid, modTime(&st).UnixNano())
		if flags := formatFlags(statFlags(&st)); flags != "" {
			s += " flags " + flags
		}
		attrs, err := allAttributes(p, &st)
		if err != nil {
			return err
		}
		s += attrs
		switch typeOf(uint32(st.Mode)) {
		case Regular:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" size %d content %x", st.Size, smallHash(data))
		case Symlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			s += " -> " + to
		case Char, Block:
			ma, mi := devNumbers(&st)
			s += fmt.Sprintf(" device %d:%d", ma, mi)
		}
		if !d.IsDir() && st.Nlink > 1 {
			id := inode{uint64(st.Dev), st.Ino}
			if first[id] == "" {
				first[id] = name
			}
			s += " is " + first[id]
		}
		out[name] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// allAttributes describes the extended attributes and access control lists of a file.
func allAttributes(p string, st *unix.Stat_t) (string, error) {
	flags, opath := unix.O_RDONLY, false
	if ty := typeOf(uint32(st.Mode)); ty != Regular && ty != Dir {
		flags, opath = oPath, true
	}
	fd, err := unix.Open(p, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	attrs, err := readXattrs(fd, opath)
	if err != nil {
		return "", err
	}
	packable(attrs)
	lists, err := readACLs(fd, st, attrs)
	if err != nil {
		return "", err
	}
	text := map[string]string{}
	for list, a := range lists {
		text[list] = a.text(list)
	}
	return fmt.Sprintf(" attrs %q lists %q", attrs, text), nil
}

func smallHash(b []byte) (h uint64) {
	h = 14695981039346656037 // FNV-1a
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func sameTrees(t testing.TB, a, b map[string]string) {
	t.Helper()
	for name, x := range a {
		if y := b[name]; x != y {
			t.Errorf("%q:\n  %s\n  %s", name, x, y)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%q is only in the second", name)
		}
	}
}

// richTree makes a tree with all a layer can carry, as far as this user may.
func richTree(t testing.TB, root string) {
	t.Helper()
	do := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	j := func(n string) string { return filepath.Join(root, n) }
	long := strings.Repeat("long-name-", 20)
	do(os.MkdirAll(j("usr/lib/deep/"+long+"/"+long), 0o755), os.Mkdir(j("empty"), 0o700), os.Mkdir(j("ro"), 0o755), os.Mkdir(j("tmp"), 0o755))
	t.Cleanup(func() { os.Chmod(j("ro"), 0o755) })
	for name, data := range map[string]string{
		"usr/lib/x": "x", "a b\nc": "odd", "grüße": "utf-8", "\xff\xfe": "binary", "usr/lib/deep/" + long + "/" + long + "/f": "deep",
		"ro/in": "in", "setuid": "s", "empty/..": "", "big": strings.Repeat("0123456789abcdef", 100_000), ".dot": "", "z=z": "=", "100" + strings.Repeat("x", 97): "hundred",
	} {
		if name != "empty/.." {
			do(os.WriteFile(j(name), []byte(data), 0o640))
		}
	}
	do(os.Symlink("usr/lib", j("lib")), os.Symlink("/nowhere/"+long, j("dangling")), os.Symlink("grüße", j("to-utf8")))
	do(os.Link(j("usr/lib/x"), j("usr/hard")), os.Link(j("usr/lib/x"), j("ahard")), unix.Linkat(unix.AT_FDCWD, j("lib"), unix.AT_FDCWD, j("liblink"), 0))
	do(unix.Mkfifo(j("fifo"), 0o622), unix.Chmod(j("fifo"), 0o622))
	do(unix.Chmod(j("setuid"), 0o6755), unix.Chmod(j("tmp"), 0o1777), unix.Chmod(j("ro"), 0o555))
	f, err := os.Create(j("sparse"))
	do(err)
	_, err = f.WriteAt([]byte("end"), 3<<20)
	do(err)
	_, err = f.WriteAt([]byte("mid"), 1<<20)
	do(err, f.Truncate(5<<20), f.Close())
	f, err = os.Create(j("hole"))
	do(err, f.Truncate(1<<20), f.Close())
	attr, err := os.Open(j("big"))
	do(err)
	if err := setXattr(int(attr.Fd()), false, "user.xc.test", "value\x00with\nall"); err != nil && !denied(err) && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	attr.Close()
	for i, n := range []string{"usr/lib/x", "setuid", "ro", "empty", "."} {
		do(os.Chtimes(j(n), time.Time{}, time.Unix(1_500_000_000+int64(i), int64(i)*123_456_789)))
	}
	// Whole seconds: libarchive (3.7) takes the fraction of a time before 1970 for positive,
	// on both ends, against pax(1). TestTimes has those.
	do(os.Chtimes(j("ro/in"), time.Time{}, time.Unix(-5, 0)))
}
