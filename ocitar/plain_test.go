package ocitar

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/inroot"
)

// A part of a tree goes under another name into a directory of another one, whiteouts
// and all: it is no layer.
func TestPlainCopy(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(from, "a/b/skipped/x"), 0o755), os.Mkdir(filepath.Join(to, "into"), 0o755), os.Mkdir(filepath.Join(to, "into/keep"), 0o755),
		os.WriteFile(filepath.Join(from, "a/b/.wh.keep"), []byte("1"), 0o644), os.WriteFile(filepath.Join(from, "a/b/.wh..wh..opq"), nil, 0o644),
		os.WriteFile(filepath.Join(from, "a/b/suid"), nil, 0o644), os.Chmod(filepath.Join(from, "a/b/suid"), 0o755|fs.ModeSetuid|fs.ModeSetgid),
		os.WriteFile(filepath.Join(from, "a/other"), nil, 0o644), os.Symlink("a/b", filepath.Join(from, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := inroot.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tree := TreeAt(root, "/a/b", func(dir string) bool { return path.Base(dir) != "skipped" })
	if _, err := (&Packer{}).PackFrom(context.Background(), &bytes.Buffer{}, root, tree); !errors.Is(err, ErrName) {
		t.Errorf("as a layer: %v", err)
	}
	var b bytes.Buffer
	p := Packer{Plain: true, Name: func(name string) string { return path.Join("new", strings.TrimPrefix(name, "a/b")) }}
	if _, err := p.PackFrom(context.Background(), &b, root, tree); err != nil {
		t.Fatal(err)
	}
	u := Unpacker{Into: "into/", Plain: true, Merge: true, NoOwner: true}
	if sum, err := u.Unpack(context.Background(), to, &b); err != nil || sum.Entries != 5 || sum.Whiteouts != 0 {
		t.Fatalf("%+v, %v", sum, err)
	}
	var got []string
	err = filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		got = append(got, strings.TrimPrefix(p, to))
		return err
	})
	const want = " /into /into/keep /into/new /into/new/.wh..wh..opq /into/new/.wh.keep /into/new/skipped /into/new/suid"
	if strings.Join(got, " ") != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if fi, err := os.Stat(filepath.Join(to, "into/new/suid")); err != nil || fi.Mode() != 0o755 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	// No link is followed on the way.
	p.Name = nil
	if _, err := p.PackFrom(context.Background(), &b, root, TreeAt(root, "link/suid", nil)); !errors.Is(err, ErrName) {
		t.Errorf("through a link: %v", err)
	}
	for _, err := range TreeAt(root, "no/such", nil) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
