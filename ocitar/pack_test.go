package ocitar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func packed(t testing.TB, p *Packer, root string, changes iter.Seq2[Change, error]) ([]byte, Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := p.Pack(context.Background(), &b, root, changes)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

func newRoot(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "r")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	// On BSD what is made in it gets its group, which /tmp has from somebody else.
	if err := os.Chown(root, -1, os.Getgid()); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRoundTrip(t *testing.T) {
	src := newRoot(t)
	richTree(t, src)
	want := deepTree(t, src, nil)
	var diffID string
	for _, kind := range []Compression{None, Gzip, Zstd} {
		layer, sum := packed(t, &Packer{Compression: kind}, src, Tree(src))
		dst := newRoot(t)
		got, err := new(Unpacker).Unpack(context.Background(), dst, bytes.NewReader(layer))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(dst, "ro"), 0o755) })
		sameTrees(t, want, deepTree(t, dst, nil))
		if got.DiffID != sum.DiffID || got.Digest != sum.Digest || got.Size != sum.Size || got.TarSize != sum.TarSize ||
			got.Entries != sum.Entries || got.Links != sum.Links || got.Bytes != sum.Bytes || got.Compression != kind || sum.Compression != kind {
			t.Errorf("packed   %+v\nunpacked %+v", sum, got)
		}
		if diffID != "" && diffID != sum.DiffID {
			t.Errorf("%s: another diff id", kind)
		}
		diffID = sum.DiffID
		again, _ := packed(t, &Packer{Compression: kind}, dst, Tree(dst))
		if !bytes.Equal(layer, again) {
			t.Errorf("%s: packing what was unpacked gives other bytes", kind)
		}
		for c, err := range Compare(src, dst) {
			t.Errorf("Compare: %+v, %v", c, err)
		}
	}
}

func TestSparseIsPackedSparse(t *testing.T) {
	src := newRoot(t)
	richTree(t, src)
	layer, sum := packed(t, &Packer{}, src, only(Change{Path: "sparse"}, Change{Path: "hole"}))
	if len(layer) > 1<<20 {
		t.Skipf("the file system of %s makes no holes: %d bytes", src, len(layer))
	}
	if sum.Bytes != 6<<20 {
		t.Errorf("%d bytes", sum.Bytes)
	}
	full, _ := packed(t, &Packer{NoSparse: true}, src, only(Change{Path: "sparse"}))
	if len(full) < 5<<20 {
		t.Errorf("%d bytes with zeros", len(full))
	}
}

func only(changes ...Change) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// TestBsdtarAgrees has libarchive unpack what we pack, and us what it packs.
func TestBsdtarAgrees(t *testing.T) {
	bsdtar, err := exec.LookPath("bsdtar")
	if err != nil {
		if bsdtar, err = exec.LookPath("tar"); err != nil || !isBsdtar(bsdtar) {
			t.Skip("bsdtar is not installed (libarchive-tools)")
		}
	}
	src := newRoot(t)
	richTree(t, src)
	os.Remove(filepath.Join(src, "\xff\xfe")) // bsdtar wants names of its locale
	probe := exec.Command(bsdtar, "--version")
	probe.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, _ := probe.CombinedOutput(); bytes.Contains(out, []byte("locale")) { // none with UTF-8
		os.Remove(filepath.Join(src, "grüße"))
		os.Remove(filepath.Join(src, "to-utf8"))
	}
	want := deepTree(t, src, nil)

	layer, _ := packed(t, &Packer{}, src, Tree(src))
	dst := newRoot(t)
	cmd := exec.Command(bsdtar, "-xpf", "-", "-C", dst)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.Stdin = bytes.NewReader(layer)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dst, "ro"), 0o755) })
	theirs := deepTree(t, dst, nil)
	theirs["."] = want["."] // bsdtar leaves the time of where it unpacks
	sameTrees(t, want, theirs)

	for _, format := range []string{"pax", "gnutar"} {
		var b bytes.Buffer
		cmd = exec.Command(bsdtar, "--format", format, "-cf", "-", "-C", src, ".")
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		cmd.Stdout = &b
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		ours := newRoot(t)
		if _, err := new(Unpacker).Unpack(context.Background(), ours, &b); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(ours, "ro"), 0o755) })
		got := deepTree(t, ours, nil)
		if format == "gnutar" { // which has whole seconds and no attributes
			for _, tree := range []map[string]string{want, got} {
				for name, s := range tree {
					i, j := strings.Index(s, " time "), strings.Index(s, " attrs ")
					rest := ""
					if j >= 0 {
						_, after, _ := strings.Cut(s[j:], "]")
						rest = after
					}
					tree[name] = s[:i] + rest
				}
			}
		}
		sameTrees(t, want, got)
	}
}

func isBsdtar(path string) bool {
	out, err := exec.Command(path, "--version").Output()
	return err == nil && bytes.HasPrefix(out, []byte("bsdtar"))
}

func TestCompare(t *testing.T) {
	old, now := newRoot(t), newRoot(t)
	richTree(t, old)
	layer, _ := packed(t, &Packer{}, old, Tree(old))
	if _, err := new(Unpacker).Unpack(context.Background(), now, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(now, "ro"), 0o755) })
	j := func(n string) string { return filepath.Join(now, n) }
	keep, err := os.Stat(j("big"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(j("big"))
	if err != nil {
		t.Fatal(err)
	}
	data[77]++
	for _, err := range []error{
		os.Remove(j("empty")), os.WriteFile(j("empty"), []byte("a file now"), 0o644),
		os.Remove(j("fifo")), os.Mkdir(j("fifo"), 0o755), os.WriteFile(j("fifo/f"), nil, 0o600),
		os.WriteFile(j("big"), data, 0o640), os.Chtimes(j("big"), time.Time{}, keep.ModTime()), // seen by content only
		os.RemoveAll(j("usr/lib/deep")), os.Chmod(j("setuid"), 0o755),
		os.Link(j("usr/lib/x"), j("third")), os.Remove(j("to-utf8")), os.Symlink("elsewhere", j("to-utf8")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for c, err := range Compare(old, now) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, []string{"put ", "gone ", "opaque "}[c.Kind]+c.Path)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	want := []string{"gone usr/lib/deep", "put ahard", "put big", "put empty", "put fifo", "put fifo/f", "put setuid", "put third", "put to-utf8", "put usr/hard", "put usr/lib/x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	diff, _ := packed(t, &Packer{}, now, Compare(old, now))
	if _, err := new(Unpacker).Unpack(context.Background(), old, bytes.NewReader(diff)); err != nil {
		t.Fatal(err)
	}
	// Times of directories that only had something in them changed are not carried.
	a, b := deepTree(t, old, nil), deepTree(t, now, nil)
	for _, dir := range []string{".", "usr/lib"} {
		delete(a, dir)
		delete(b, dir)
	}
	sameTrees(t, a, b)
}

func TestOrderAndWhiteouts(t *testing.T) {
	root, _, err := unpackInto(t, archive(m{name: "a/f"}, m{name: "a.b"}, m{name: "b/c"}, m{name: "file"}))
	if err != nil {
		t.Fatal(err)
	}
	layer, sum := packed(t, &Packer{Epoch: time.Unix(500, 0)}, root, only(
		Change{Path: "file"}, Change{"file", Gone}, // replaced: no whiteout
		Change{Path: "a/f"}, Change{Path: "a.b"}, Change{"z/gone", Gone}, Change{Path: "a/"},
		Change{"b", Gone}, Change{Path: "b"}, Change{Path: "b/c"}, // made anew: opaque
		Change{Path: "./"}, Change{Path: "a"},
	))
	var got []string
	for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ModTime.Unix() > 500 {
			t.Errorf("%s: %v", e.Name, e.ModTime)
		}
		got = append(got, e.Name)
	}
	want := []string{"./", "a/", "a/f", "a.b", "b/", "b/.wh..wh..opq", "b/c", "file", "z/.wh.gone"}
	if !slices.Equal(got, want) || sum.Whiteouts != 2 || sum.Entries != int64(len(want)) {
		t.Errorf("%q, %+v", got, sum)
	}
}

func TestPackRefuses(t *testing.T) {
	root, _, err := unpackInto(t, archive(m{name: "d/f"}, m{name: "l", typ: '2', link: "d"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{{Path: "../x"}, {Path: "/etc"}, {Path: "a/../../b"}, {Path: ".", Kind: Gone}, {Path: "d/.wh.x"}, {Path: "l/f"}, {Path: "x\x00y", Kind: Gone}} {
		if _, err := new(Packer).Pack(context.Background(), io.Discard, root, only(c)); !errors.Is(err, ErrName) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := new(Packer).Pack(context.Background(), io.Discard, root, only(Change{Path: "no"})); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	because := errors.New("because")
	if _, err := new(Packer).Pack(context.Background(), failing{because}, root, Tree(root)); !errors.Is(err, because) {
		t.Error(err)
	}
	if _, err := (&Packer{Compression: 9}).Pack(context.Background(), io.Discard, root, Tree(root)); err == nil {
		t.Error("compression 9")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestIDMaps(t *testing.T) {
	maps := []IDMap{{0, 100000, 1000}, {5000, 7, 1}}
	for in, want := range map[int64]int{0: 100000, 999: 100999, 5000: 7} {
		if got, err := mapID(maps, in); got != want || err != nil {
			t.Errorf("%d: %d, %v", in, got, err)
		}
		if back, err := unmapID(maps, int64(want)); back != in || err != nil {
			t.Errorf("%d back: %d, %v", want, back, err)
		}
	}
	if _, err := mapID(maps, 1000); err == nil {
		t.Error("1000 is in no range")
	}
}

func TestFlags(t *testing.T) {
	flags, unknown := parseFlags("schg,nodump,sappend,noschg,dump, weird")
	if flags != 0x20000|1|0x40000 || len(unknown) != 1 || formatFlags(flags|0x800) != "nodump,schg,sappnd" {
		t.Errorf("%x %q %s", flags, unknown, formatFlags(flags))
	}
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "1.5": time.Unix(1, 5e8), "-1.5": time.Unix(-2, 5e8), "-0.25": time.Unix(-1, 75e7),
		"12.1234567899": time.Unix(12, 123456789), "7.": time.Unix(7, 0),
	} {
		got, err := parseTime(s)
		if !got.Equal(want) || err != nil {
			t.Errorf("%s: %v, %v", s, got, err)
		}
		if back, err := parseTime(formatTime(got)); !back.Equal(got) || err != nil {
			t.Errorf("%s back: %s, %v", s, formatTime(got), err)
		}
	}
	for _, s := range []string{"", "x", "1e3", "1.x", "9223372036854775807", "1.-5", "--1"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}
