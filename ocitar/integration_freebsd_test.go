package ocitar

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// fileSystem mounts a new one on a memory disk for the time of the test.
func fileSystem(t *testing.T, kind string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("file systems are mounted by root: go test -exec sudo -run Integration")
	}
	at := t.TempDir()
	disk := command(t, "mdconfig", "-a", "-t", "swap", "-s", "128m")
	t.Cleanup(func() { command(t, "mdconfig", "-d", "-u", disk) })
	if kind == "zfs" {
		if _, err := exec.LookPath("zpool"); err != nil {
			t.Skip(err)
		}
		pool := fmt.Sprintf("ocitar%d", os.Getpid())
		command(t, "zpool", "create", "-O", "compression=off", "-m", at, pool, disk)
		t.Cleanup(func() { command(t, "zpool", "destroy", "-f", pool) })
		return at
	}
	command(t, "newfs", "-U", "/dev/"+disk)
	command(t, "mount", "-o", kind, "/dev/"+disk, at)
	t.Cleanup(func() { command(t, "umount", "-f", at) })
	return at
}

const (
	posixList   = "user::rw-,user:80:rw-,group::r--,group:20:r-x,mask::rwx,other::---"
	posixGives  = "user::rwx,user:80:rwx,group::r-x,mask::rwx,other::---"
	nfs4List    = "user:80:rw-p----------:-------:allow,owner@:rw-p--aARWcCos:-------:allow,group@:r-----a-R-c--s:-------:allow,everyone@:------a-R-c--s:-------:allow"
	nfs4Inherit = "user:80:r-x-----------:fd-----:allow,group:20:r-------------:f-i----:allow,owner@:rwxp--aARWcCos:-------:allow,group@:r-x---a-R-c--s:-------:allow,everyone@:r-x---a-R-c--s:-------:allow"
)

// TestIntegrationFileSystems has all a layer carries come through one on UFS, with both
// kinds of lists, and on ZFS; and tar(1), which is libarchive's, agree.
func TestIntegrationFileSystems(t *testing.T) {
	for _, kind := range []string{"acls", "nfsv4acls", "zfs"} {
		t.Run(kind, func(t *testing.T) {
			top := fileSystem(t, kind)
			var roots []string
			for _, name := range []string{"src", "dst", "tar", "back"} {
				root := filepath.Join(top, name)
				if err := os.Mkdir(root, 0o755); err != nil {
					t.Fatal(err)
				}
				roots = append(roots, root)
			}
			src, dst := roots[0], roots[1]
			t.Cleanup(func() { command(t, "chflags", "-R", "0", top) })
			richTree(t, src)
			want := map[string]string{"list": "access " + posixList, "gives": "default " + posixGives}
			if kind != "acls" {
				want = map[string]string{"list": "ace " + nfs4List, "gives": "ace " + nfs4Inherit}
			}
			members := []m{
				{name: "list", mode: 0o670}, {name: "gives/", typ: '5', mode: 0o770}, {name: "gives/f", mode: 0o640}, {name: "gives/d/", typ: '5'},
				{name: "locked/", typ: '5', pax: map[string]string{"SCHILY.fflags": "schg,nodump"}}, {name: "locked/f", data: "x", pax: map[string]string{"SCHILY.fflags": "sappnd"}},
				{name: "attrs", pax: map[string]string{"SCHILY.xattr.user.xc": "a\x00b", "SCHILY.xattr.system.xc": "sys"}},
			}
			if kind != "acls" {
				members[0].mode = 0o640
				members[1].mode = 0o755
			}
			for i, name := range []string{"list", "gives"} {
				list, text, _ := strings.Cut(want[name], " ")
				members[i].pax = map[string]string{"SCHILY.acl." + list: text}
			}
			sum, err := new(Unpacker).Unpack(context.Background(), src, bytes.NewReader(archive(members...)))
			if err != nil || len(sum.Notes) > 0 {
				t.Fatalf("%v, %+v", err, sum.Notes)
			}
			tree := deepTree(t, src, nil)
			for name, list := range want {
				kind, text, _ := strings.Cut(list, " ")
				if !strings.Contains(tree[name], fmt.Sprintf("lists map[%q:%q]", kind, text)) {
					t.Errorf("%s has not %s: %s", name, list, tree[name])
				}
			}
			for name, has := range map[string]string{"gives/f": "lists map[]", "gives/d": "lists map[]", "locked": "flags nodump,schg", "locked/f": "flags sappnd", "attrs": `"system.xc":"sys" "user.xc":"a\x00b"`} {
				if !strings.Contains(tree[name], has) {
					t.Errorf("%s has not %s: %s", name, has, tree[name])
				}
			}
			layer, _ := packed(t, &Packer{}, src, Tree(src))
			if _, err := new(Unpacker).Unpack(context.Background(), dst, bytes.NewReader(layer)); err != nil {
				t.Fatal(err)
			}
			sameTrees(t, tree, deepTree(t, dst, nil))
			again, _ := packed(t, &Packer{}, dst, Tree(dst))
			if !bytes.Equal(layer, again) {
				t.Error("packing what was unpacked gives other bytes")
			}
			for c, err := range Compare(src, dst) {
				t.Errorf("Compare: %+v, %v", c, err)
			}
			lowerLayers(t, dst)
			withTar(t, layer, tree, src, roots[2], roots[3])
		})
	}
}

// lowerLayers applies a second layer upon what has lists and flags.
func lowerLayers(t *testing.T, root string) {
	t.Helper()
	second := archive(m{name: "locked/f", data: "new"}, m{name: "locked/g"}, m{name: "gives/new", mode: 0o600}, m{name: ".wh.list"})
	if _, err := new(Unpacker).Unpack(context.Background(), root, bytes.NewReader(second)); err != nil {
		t.Fatal(err)
	}
	tree := deepTree(t, root, nil)
	if !strings.Contains(tree["gives/new"], "lists map[]") || !strings.Contains(tree["locked"], "schg") || strings.Contains(tree["gives"], "lists map[]") || tree["list"] != "" {
		t.Errorf("new %s\nlocked %s\ngives %s\nlist %s", tree["gives/new"], tree["locked"], tree["gives"], tree["list"])
	}
}

// withTar has the system's tar unpack what we pack, and us what it packs.
func withTar(t *testing.T, layer []byte, tree map[string]string, src, theirs, ours string) {
	t.Helper()
	tar, err := exec.LookPath("tar")
	if err != nil || !isBsdtar(tar) {
		t.Logf("not compared with tar(1): it is not here: %v", err)
		return
	}
	env := append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd := exec.Command(tar, "--acls", "--xattrs", "--fflags", "-xpf", "-", "-C", theirs)
	cmd.Env, cmd.Stdin = env, bytes.NewReader(layer)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("tar: %v: %s", err, out) // names that are no UTF-8, and the system namespace
	}
	got := deepTree(t, theirs, nil)
	for _, name := range []string{"list", "gives", "gives/f", "gives/d", "locked", "locked/f", "setuid", "sparse", "usr/lib", "usr/hard"} {
		if got[name] != tree[name] {
			t.Errorf("tar made %s\n%s\n%s", name, got[name], tree[name])
		}
	}
	cmd = exec.Command(tar, "--acls", "--xattrs", "--fflags", "--format", "pax", "-cf", "-", "-C", src, ".")
	cmd.Env = env
	archive, err := cmd.Output()
	if err != nil {
		t.Logf("tar: %v", err)
	}
	if _, err := new(Unpacker).Unpack(context.Background(), ours, bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	got = deepTree(t, ours, nil)
	delete(got, ".")
	delete(tree, ".")
	for name := range tree {
		if got[name] != tree[name] && plain(name) {
			t.Errorf("from tar %s\n%s\n%s", name, got[name], tree[name])
		}
	}
}

// TestIntegrationSetACLOfFifo: a fifo has a list; of a link it is noted.
func TestIntegrationSetACLOfFifo(t *testing.T) {
	top := fileSystem(t, "nfsv4acls")
	root := filepath.Join(top, "r")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	layer := archive(m{name: "p", typ: '6', mode: 0o640, pax: map[string]string{"SCHILY.acl.ace": nfs4List}},
		m{name: "l", typ: '2', link: "p", pax: map[string]string{"SCHILY.acl.ace": nfs4List}})
	sum, err := new(Unpacker).Unpack(context.Background(), root, bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(filepath.Join(root, "p"), oPath, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if a, err := getACL(fd, listNFSv4); a.text(listNFSv4) != nfs4List || err != nil {
		t.Errorf("%s, %v", a.text(listNFSv4), err)
	}
	if len(sum.Notes) != 1 || sum.Notes[0].Entry != "l" {
		t.Errorf("%+v", sum.Notes)
	}
}
