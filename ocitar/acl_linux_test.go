package ocitar

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// aclDir is a directory on a file system with access control lists.
func aclDir(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"", "/dev/shm"} {
		dir, err := os.MkdirTemp(dir, "ocitar-acl")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		err = unix.Setxattr(dir, "system.posix_acl_default", []byte(acl{{tag: aclUserObj}, {tag: aclGroupObj}, {tag: aclOther}}.attr()), 0)
		if err == nil {
			if err := unix.Removexattr(dir, "system.posix_acl_default"); err != nil {
				t.Fatal(err)
			}
			return dir
		}
		if !errors.Is(err, unix.ENOTSUP) {
			t.Fatal(err)
		}
	}
	t.Skip("no file system with access control lists: set TMPDIR to one")
	return ""
}

func listOf(t *testing.T, path string) map[string]string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	attrs, err := readXattrs(fd, false)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := readACLs(fd, &st, attrs)
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for list, a := range lists {
		text[list] = a.text(list)
	}
	return text
}

const (
	someList    = "user::rw-,user:1000:rw-,group::r--,mask::rw-,other::---"
	someDefault = "user::rwx,user:1000:rwx,group::r-x,mask::rwx,other::---"
)

func subdir(t *testing.T, dir, name string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.Mkdir(p, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestACLs: lists come through a layer; what a directory gives to what is made in it
// is given to nothing that is unpacked; an entry without one takes a lower one away.
func TestACLs(t *testing.T) {
	top := aclDir(t)
	src, dst := subdir(t, top, "src"), subdir(t, top, "dst")
	layer := archive(
		m{name: "d/", typ: '5', mode: 0o770, pax: map[string]string{"SCHILY.acl.default": someDefault}},
		m{name: "d/f", mode: 0o644},
		m{name: "d/e/", typ: '5'},
		m{name: "d/p", typ: '6'},
		m{name: "g", mode: 0o660, pax: map[string]string{"SCHILY.acl.access": someList}},
		m{name: "p", typ: '6', mode: 0o660, pax: map[string]string{"SCHILY.acl.access": someList}},
		m{name: "n", mode: 0o660, pax: map[string]string{"SCHILY.acl.access": strings.Replace(someList, "1000", "web", 1)}},
		m{name: "nd/", typ: '5', mode: 0o770, pax: map[string]string{"SCHILY.acl.access": strings.Replace(someDefault, "1000", "web", 1), "SCHILY.acl.default": someDefault}},
		m{name: "etc/passwd", data: "root:x:0:0::/:\nweb:x:1000:5::/:\n"},
	)
	sum, err := new(Unpacker).Unpack(context.Background(), src, bytes.NewReader(layer))
	if err != nil || len(sum.Notes) > 0 {
		t.Fatalf("%v, %v", err, sum.Notes)
	}
	check := func(root string) {
		t.Helper()
		for name, want := range map[string]map[string]string{
			"d": {"default": someDefault}, "d/f": {}, "d/e": {}, "d/p": {}, "g": {"access": someList}, "p": {"access": someList}, "n": {"access": someList},
			"nd": {"access": someDefault, "default": someDefault},
		} {
			got := listOf(t, filepath.Join(root, name))
			if len(got) != len(want) || got["access"] != want["access"] || got["default"] != want["default"] {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	check(src)
	packedLayer, _ := packed(t, &Packer{}, src, Tree(src))
	if _, err := new(Unpacker).Unpack(context.Background(), dst, bytes.NewReader(packedLayer)); err != nil {
		t.Fatal(err)
	}
	check(dst)
	sameTrees(t, deepTree(t, src, nil), deepTree(t, dst, nil))

	// A second layer: something new in d, without an entry for d, and an entry for nd.
	if err := unix.Setxattr(filepath.Join(dst, "nd"), "user.old", []byte("x"), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	second := archive(m{name: "d/new", mode: 0o600}, m{name: "d/sub/new"}, m{name: "nd/", typ: '5', mode: 0o711})
	if _, err := new(Unpacker).Unpack(context.Background(), dst, bytes.NewReader(second)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"d/new": "", "d/sub": "", "d/sub/new": "", "d": someDefault, "nd": ""} {
		if got := listOf(t, filepath.Join(dst, name)); len(got) != min(len(want), 1) || got["default"] != want {
			t.Errorf("after the second layer %s: %q", name, got)
		}
	}
	var b [10]byte
	if n, err := unix.Getxattr(filepath.Join(dst, "nd"), "user.old", b[:]); err == nil {
		t.Errorf("user.old is left: %q", b[:n])
	}
	for c, err := range Compare(src, dst) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Path == "nd" {
			return
		}
	}
	t.Error("Compare does not see that lists went")
}

// TestACLsOfOthers: bsdtar and GNU tar restore our lists, and we theirs.
func TestACLsOfOthers(t *testing.T) {
	top := aclDir(t)
	src := subdir(t, top, "src")
	layer := archive(
		m{name: "d/", typ: '5', mode: 0o770, pax: map[string]string{"SCHILY.acl.default": someDefault, "SCHILY.acl.access": someDefault}},
		m{name: "g", mode: 0o660, pax: map[string]string{"SCHILY.acl.access": someList}},
		m{name: "etc/passwd", data: userNames(t)},
	)
	if _, err := new(Unpacker).Unpack(context.Background(), src, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	ours, _ := packed(t, &Packer{}, src, Tree(src))
	for name, c := range map[string]struct{ create, extract []string }{
		"bsdtar": {[]string{"--acls", "--xattrs", "--format", "pax"}, []string{"--acls", "--xattrs", "-p"}},
		"tar":    {[]string{"--acls", "--xattrs", "--format", "pax"}, []string{"--acls", "--xattrs", "-p"}},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skip(err)
			}
			dst, back := subdir(t, top, name), subdir(t, top, name+"-back")
			cmd := exec.Command(path, append(c.extract, "-xf", "-", "-C", dst)...)
			cmd.Stdin = bytes.NewReader(ours)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			theirs, err := exec.Command(path, append(c.create, "-cf", "-", "-C", src, ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := new(Unpacker).Unpack(context.Background(), back, bytes.NewReader(theirs)); err != nil {
				t.Fatal(err)
			}
			for _, root := range []string{dst, back} {
				if got := listOf(t, filepath.Join(root, "g")); got["access"] != someList {
					t.Errorf("%s: %q", root, got)
				}
				if got := listOf(t, filepath.Join(root, "d")); got["access"] != someDefault || got["default"] != someDefault {
					t.Errorf("%s: %q", root, got)
				}
			}
		})
	}
}

// userNames is this host's passwd(5): GNU tar writes names, as the host has them.
func userNames(t *testing.T) string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestACLMaps: ids in lists are mapped as owners are.
func TestACLMaps(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("owners are root's to give: go test -exec sudo")
	}
	dst := aclDir(t)
	maps := []IDMap{{0, 100000, 65536}}
	layer := archive(m{name: "g", mode: 0o660, pax: map[string]string{"SCHILY.acl.access": someList}})
	u := Unpacker{UIDs: maps, GIDs: maps}
	if _, err := u.Unpack(context.Background(), dst, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	if got := listOf(t, filepath.Join(dst, "g"))["access"]; got != strings.Replace(someList, "1000", "101000", 1) {
		t.Error(got)
	}
	back, _ := packed(t, &Packer{UIDs: maps, GIDs: maps}, dst, only(Change{Path: "g"}))
	for e, err := range List(context.Background(), bytes.NewReader(back), Limits{}) {
		if err != nil || e.ACLs["access"] != someList {
			t.Errorf("%q, %v", e.ACLs, err)
		}
	}
}
