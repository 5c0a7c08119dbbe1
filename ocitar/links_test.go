package ocitar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// chain is n links, each to the next by prefix and its name, and at the end the file.
func chain(prefix string, n int) (members []m) {
	members = []m{{name: "d/", typ: '5'}, {name: "s", typ: '2', link: "d"}}
	for i := range n {
		members = append(members, m{name: fmt.Sprint("d/", i), typ: '1', link: fmt.Sprint(prefix, i+1)})
	}
	return append(members, m{name: fmt.Sprint("d/", n), data: "1"})
}

// TestLateChain: links upon links to what is to come take no look at all for each.
func TestLateChain(t *testing.T) {
	const n = 6000
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // it takes a fraction of one
	defer cancel()
	root := t.TempDir()
	sum, err := new(Unpacker).Unpack(ctx, root, bytes.NewReader(archive(chain("d/", n)...)))
	if err != nil || ctx.Err() != nil || sum.Links != n {
		t.Fatalf("%d links, %v, %v", sum.Links, err, ctx.Err())
	}
	var first, last unix.Stat_t
	for name, st := range map[string]*unix.Stat_t{"d/0": &first, fmt.Sprint("d/", n): &last} {
		if err := unix.Lstat(filepath.Join(root, name), st); err != nil {
			t.Fatal(err)
		}
	}
	if first.Ino != last.Ino || first.Nlink != n+1 {
		t.Errorf("%d and %d, %d links", first.Ino, last.Ino, first.Nlink)
	}
}

// TestLateThroughSymlinks: links that name each other through a symlink are found as well,
// as far as anybody would go.
func TestLateThroughSymlinks(t *testing.T) {
	for _, prefix := range []string{"d/", "/./d//", "s/"} {
		root, _, err := unpackInto(t, archive(chain(prefix, 5)...))
		if got := tree(t, root); err != nil || strings.Count(got, "=1") != 6 {
			t.Errorf("%s: %q, %v", prefix, got, err)
		}
	}
	_, _, err := unpackInto(t, archive(chain("s/", 50)...))
	var le *Error
	if !errors.Is(err, ErrLimit) || !errors.As(err, &le) || le.Entry != "d/0" {
		t.Error(err)
	}
}

// seeingCtx ends when something is seen.
type seeingCtx struct {
	context.Context
	seen func() bool
}

func (c *seeingCtx) Err() error {
	if c.seen() {
		return context.Canceled
	}
	return nil
}

// TestCancelAfterTheStream: what comes when all is read ends with the context, too.
func TestCancelAfterTheStream(t *testing.T) {
	acl := map[string]string{"SCHILY.acl.access": "user::rw-,user:no-such-user:r--,group::r--,mask::r--,other::r--"}
	members := append([]m{{name: "./", typ: '5', mode: 0o711}, {name: "f", pax: acl}}, chain("d/", 3)...)
	members = append(members, m{name: "x/", typ: '5', mode: 0o711}, m{name: "y/", typ: '5', mode: 0o711})
	for name, made := range map[string]os.FileMode{
		"d/2": 0o644,              // the first of the links
		"y":   os.ModeDir | 0o711, // the first directory that gets its mode
		".":   os.ModeDir | 0o711, // the last: files are next
	} {
		root := t.TempDir()
		ctx := &seeingCtx{context.Background(), func() bool {
			fi, err := os.Lstat(filepath.Join(root, name))
			return err == nil && fi.Mode() == made
		}}
		_, err := new(Unpacker).Unpack(ctx, root, bytes.NewReader(archive(members...)))
		var le *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &le) || le.Entry == "" {
			t.Errorf("after %s: %v", name, err)
		}
	}
}
