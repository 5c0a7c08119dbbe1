package ocitar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestImpliedCount: a directory that a name implies counts as an entry does.
func TestImpliedCount(t *testing.T) {
	layer := archive(m{name: "a/b/c/d/f"}, m{name: "a/b/x/", typ: '5'}, m{name: "a/y/f"})
	for limit, want := range map[int64]error{8: nil, 7: ErrLimit, 3: ErrLimit} {
		root := t.TempDir()
		u := Unpacker{Limits: Limits{Entries: limit}}
		sum, err := u.Unpack(context.Background(), root, bytes.NewReader(layer))
		var le *Error
		if !errors.Is(err, want) || want != nil && (!errors.As(err, &le) || le.Entry == "") {
			t.Errorf("limit %d: %v, want %v", limit, err, want)
		}
		if made := strings.Count(tree(t, root)+"\n", "\n"); want != nil && int64(made) > limit {
			t.Errorf("limit %d: %d files made", limit, made)
		}
		if want == nil && (sum.Entries != 3 || sum.Dirs != 1) {
			t.Errorf("%+v: what has no entry is not told of", sum)
		}
	}
}

// heapCtx knows how much memory was in use when it was looked at: a reader does it for
// each piece. What comes after the stream does it for each directory, too often for this.
type heapCtx struct {
	context.Context
	looks int
	max   uint64 // bytes
}

func (c *heapCtx) Err() error {
	if c.looks++; c.looks > 50 {
		return nil
	}
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	c.max = max(c.max, s.HeapAlloc)
	return nil
}

// TestDeepTrees: directories cost their names, not their paths, and get what they are to
// get, however deep they are.
func TestDeepTrees(t *testing.T) {
	const depth, trees = 500, 3 // paths of 3 MB
	var members []m
	for i := range trees {
		members = append(members, m{name: "f", before: long('L', fmt.Sprintf("%d/%sf", i, strings.Repeat("abcdefg/", depth)))})
	}
	layer := archive(members...)
	root := t.TempDir()
	before, c := &heapCtx{}, &heapCtx{Context: context.Background()}
	_ = before.Err()
	if _, err := new(Unpacker).Unpack(c, root, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	if used := c.max - before.max; used > 2<<20 {
		t.Errorf("%d KiB for %d directories", used>>10, depth*trees)
	}
	for i := range trees {
		checkDeep(t, filepath.Join(root, fmt.Sprint(i)), depth)
	}
}

// checkDeep sees that directories got mode and time, each by its own name: FreeBSD takes
// no path of more than 1023 bytes.
func checkDeep(t *testing.T, top string, depth int) {
	t.Helper()
	fd, base := unix.AT_FDCWD, top
	for i := range depth + 1 {
		d, err := openDirAt(fd, base)
		if err != nil {
			t.Fatalf("%d deep: %v", i, err)
		}
		defer d.Close()
		fd, base = int(d.Fd()), "abcdefg"
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatalf("%d deep: %v", i, err)
		}
		if st.Mode&0o7777 != 0o755 || !modTime(&st).Equal(time.Unix(1_000_000_000, 0)) {
			t.Fatalf("%d deep: mode %o, time %v", i, st.Mode, modTime(&st))
		}
	}
}

// TestDeepThroughLinks: links can lead to where no name does. There is an end to it, which
// the entry that meets it tells.
func TestDeepThroughLinks(t *testing.T) {
	deep := strings.Repeat("abcdefg/", 100)
	members := []m{{name: "f", before: long('L', deep+"f")}, {name: "l0", typ: '2', link: "x", before: long('K', deep)}}
	for i := range 6 {
		at := fmt.Sprintf("l%d/%s", i, deep)
		members = append(members, m{name: "f", before: long('L', at+"f")}, m{name: fmt.Sprint("l", i+1), typ: '2', link: "x", before: long('K', at)})
	}
	_, _, err := unpackInto(t, archive(members...))
	var le *Error
	if !errors.Is(err, unix.ENAMETOOLONG) || !errors.As(err, &le) || !strings.HasPrefix(le.Entry, "l4/abc") { // 6 * 800 bytes
		t.Error(err)
	}
}
