package dirstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// node is all that a copy has to keep of a file.
type node struct {
	mode           uint32
	uid, gid, rdev uint64
	size           int64
	sparse         bool
	mtime, atime   unix.Timespec
	content        string // of a file, target of a link
	same           string // first name of the same file
	flags          uint32
	xattrs         string
}

// listing describes a tree. It is written with other calls than the code.
func listing(t *testing.T, root string) map[string]node {
	t.Helper()
	list, first := map[string]node{}, map[uint64]string{}
	err := filepath.Walk(root, func(name string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		n := node{
			mode: uint32(st.Mode), uid: uint64(st.Uid), gid: uint64(st.Gid),
			mtime: times(&st)[1], atime: times(&st)[0], xattrs: testXattrs(t, name),
		}
		switch {
		case fi.Mode().IsRegular():
			n.size, n.sparse = st.Size, st.Blocks*512 < st.Size
			if _, ok := first[uint64(st.Ino)]; !ok {
				first[uint64(st.Ino)] = rel
			}
			n.same = first[uint64(st.Ino)]
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			n.content = string(b)
		case fi.Mode()&os.ModeSymlink != 0:
			n.content, err = os.Readlink(name)
		case fi.Mode()&os.ModeDevice != 0:
			n.rdev = uint64(st.Rdev)
		}
		if err == nil && (fi.Mode().IsRegular() || fi.IsDir()) {
			n.flags = testFlags(t, name, &st)
		}
		list[rel] = n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func testFlags(t *testing.T, name string, st *unix.Stat_t) uint32 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := getFlags(f, st)
	if err != nil {
		t.Fatal(err)
	}
	return flags
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// plant makes a tree of all that an unprivileged user can make.
func plant(t *testing.T, root string) {
	t.Helper()
	old := time.Unix(1e9, 123456789)
	in := func(name string) string { return filepath.Join(root, name) }
	must(t,
		os.MkdirAll(in("d/e/f"), 0o755),
		os.WriteFile(in("d/file"), []byte("content"), 0o640),
		os.WriteFile(in("d/empty"), nil, 0o4755),
		os.Chmod(in("d/empty"), 0o755|os.ModeSetuid),
		os.Link(in("d/file"), in("d/e/hard")),
		os.Link(in("d/file"), in("a-hard")),
		os.Symlink("../nowhere/"+strings.Repeat("x", 300), in("d/link")),
		os.Symlink(in("d/file"), in("d/absolute")),
		unix.Mkfifo(in("d/fifo"), 0o604),
		os.WriteFile(in("d/\xff strange\nname"), []byte("s"), 0o600),
		os.Chmod(in("d/e/f"), 0o500|os.ModeSticky),
	)
	f, err := os.Create(in("d/sparse"))
	must(t, err)
	_, err1 := f.WriteAt([]byte("begin"), 4096)
	_, err2 := f.WriteAt([]byte("middle"), 1<<20)
	must(t, err1, err2, f.Truncate(8<<20), f.Close())
	for i := range 520 { // more than one reading of a directory
		must(t, os.WriteFile(in(fmt.Sprintf("d/e/n%d", i)), []byte{byte(i)}, 0o600))
	}
	for _, name := range []string{"d/file", "d/e", "d", "."} {
		must(t, os.Chtimes(in(name), old, old.Add(time.Hour)))
	}
	ts := []unix.Timespec{{Sec: 5, Nsec: 6}, {Sec: 7, Nsec: 8}}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, in("d/link"), ts, unix.AT_SYMLINK_NOFOLLOW))
}

// compare clones a tree and compares the listings. Reading changes times of
// access where the file system keeps them, so the old tree is listed first.
func compare(t *testing.T, src string) {
	t.Helper()
	dst := t.TempDir()
	want := listing(t, src)
	must(t, cloneTree(t.Context(), dst, src, false))
	got := listing(t, dst)
	for name, w := range want {
		g, ok := got[name]
		w.atime, g.atime = unix.Timespec{}, unix.Timespec{}
		if !ok || !reflect.DeepEqual(g, w) {
			w.content, g.content = fmt.Sprintf("%.40q", w.content), fmt.Sprintf("%.40q", g.content)
			t.Errorf("%q (there: %v):\n got %+v\nwant %+v", name, ok, g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	must(t, RemoveTree(t.Context(), filepath.Dir(dst), filepath.Base(dst)))
	if _, err := os.Lstat(dst); !os.IsNotExist(err) {
		t.Errorf("after the removal: %v", err)
	}
}

func TestCloneKeepsEverything(t *testing.T) {
	src := t.TempDir()
	plant(t, src)
	compare(t, src)
}

func TestCloneStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cloneTree(ctx, t.TempDir(), t.TempDir(), false); !errors.Is(err, context.Canceled) {
		t.Errorf("clone: %v", err)
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	if err := RemoveTree(ctx, dir, "d"); !errors.Is(err, context.Canceled) {
		t.Errorf("remove: %v", err)
	}
}

// deep makes directories in one another, more than a path can name.
func deep(t *testing.T, dir string, levels int) {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range levels {
		must(t, unix.Mkdirat(fd, "directory", 0o700))
		next, err := unix.Openat(fd, "directory", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err, unix.Close(fd))
		file, err := unix.Openat(next, "file", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		must(t, err, unix.Close(file))
		fd = next
	}
	must(t, unix.Close(fd))
}

func TestRemoveOfAnyDepth(t *testing.T) {
	dir := t.TempDir()
	deep(t, dir+"/deep", 600)
	must(t, os.WriteFile(dir+"/deep/.deep-1", nil, 0o600)) // a name that would be used
	must(t, os.MkdirAll(dir+"/deep/.deep-2/x", 0o700))
	must(t, RemoveTree(t.Context(), dir, "deep"))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// Unprivileged, the modes stand in the way; root has its own tests.
func TestRemoveOfClosedDirectories(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/t/closed/below", 0o700))
	must(t, os.WriteFile(dir+"/t/closed/below/f", nil, 0))
	must(t, os.Chmod(dir+"/t/closed/below", 0), os.Chmod(dir+"/t/closed", 0o100), os.Chmod(dir+"/t", 0o400))
	must(t, RemoveTree(t.Context(), dir, "t"))
	if _, err := os.Lstat(dir + "/t"); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}

func TestRemoveDoesNotFollow(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(outside+"/precious", nil, 0o600))
	must(t, os.Mkdir(dir+"/t", 0o700), os.Symlink(outside, dir+"/t/link"), os.Symlink(outside, dir+"/top"))
	must(t, RemoveTree(t.Context(), dir, "t"), RemoveTree(t.Context(), dir, "top"), RemoveTree(t.Context(), dir, "never"))
	if _, err := os.Stat(outside + "/precious"); err != nil {
		t.Error(err)
	}
}
