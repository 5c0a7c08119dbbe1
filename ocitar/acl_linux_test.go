package ocitar

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListAsAttribute: the kernel's own form of a list, an extended attribute,
// comes through a layer with the mode whose group bits are its mask.
func TestListAsAttribute(t *testing.T) {
	const name = "system.posix_acl_access"
	// acl(5) as posix_acl_xattr.h has it: version 2, then tag, permissions and id of
	// user::rw- user:1000:rw- group::r-- mask::rw- other::---
	list := "\x02\x00\x00\x00" +
		"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	src := newRoot(t)
	file := filepath.Join(src, "f")
	if err := os.WriteFile(file, []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(file, name, []byte(list), 0); errors.Is(err, unix.ENOTSUP) {
		t.Skipf("needs a file system with access control lists below %s: set TMPDIR", os.TempDir())
	} else if err != nil {
		t.Fatal(err)
	}
	layer, _ := packed(t, &Packer{}, src, Tree(src))
	dst, sum, err := unpackInto(t, layer)
	if err != nil || len(sum.Notes) > 0 {
		t.Fatalf("%v, %v", err, sum.Notes)
	}
	var b [256]byte
	n, err := unix.Getxattr(filepath.Join(dst, "f"), name, b[:])
	if err != nil || string(b[:n]) != list {
		t.Errorf("%s = %q, %v; want %q", name, b[:max(n, 0)], err, list)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dst, "f"), &st); err != nil || st.Mode != unix.S_IFREG|0o660 {
		t.Errorf("mode %o, %v; want the mask in the group's place", st.Mode, err)
	}
}
