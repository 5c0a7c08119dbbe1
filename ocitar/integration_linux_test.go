package ocitar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/joyboyid/xc/inroot"
	"github.com/opencontainers/umoci/oci/layer"
	"golang.org/x/sys/unix"
)

// overlayRoots unpacks layers into directories of their own, as dirstore does, and
// returns what overlayfs shows of them.
func overlayRoots(t *testing.T, layers ...[]byte) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("overlayfs is mounted by root only: go test -exec sudo -run Integration")
	}
	top := t.TempDir()
	var dirs []string
	var lower []*inroot.Root
	for i, l := range layers {
		dir := filepath.Join(top, string(rune('a'+i)))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		u := Unpacker{Whiteouts: Overlay, Lower: lower}
		if _, err := u.Unpack(context.Background(), dir, bytes.NewReader(l)); err != nil {
			if errors.Is(err, unix.ENOTSUP) {
				t.Skipf("%s has no trusted attributes: set TMPDIR to a file system that has", top)
			}
			t.Fatal(err)
		}
		r, err := inroot.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		dirs, lower = append([]string{dir}, dirs...), append([]*inroot.Root{r}, lower...)
	}
	at := filepath.Join(top, "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(append(dirs, filepath.Join(top, "mnt")), ":"))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		t.Skipf("overlayfs cannot be mounted here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// TestIntegrationOverlay: layers on overlayfs show what they make when applied one upon
// the other.
func TestIntegrationOverlay(t *testing.T) {
	dir := func(name string, mode int64) m { return m{name: name + "/", typ: '5', mode: mode} }
	base := archive(dir("d", 0o755), m{name: "d/old", data: "1"}, m{name: "d/sub/old", data: "2"}, m{name: "f", data: "3"},
		dir("usr/lib", 0o755), m{name: "lib", typ: '2', link: "usr/lib"}, dir("tmp", 0o1777), m{name: "x/y", data: "4"})
	cases := map[string][][]byte{
		"whiteouts":               {base, archive(m{name: ".wh.f"}, m{name: "d/.wh.old"})},
		"opaque last":             {base, archive(m{name: "d/new"}, m{name: "d/.wh..wh..opq"})},
		"opaque root of sub":      {base, archive(m{name: "d/sub/.wh..wh..opq"}, m{name: "d/sub/n"})},
		"made anew":               {base, archive(m{name: ".wh.d"}, dir("d", 0o700), m{name: "d/new"})},
		"made anew reversed":      {base, archive(dir("d", 0o700), m{name: "d/new"}, m{name: ".wh.d"})},
		"made anew without entry": {base, archive(m{name: ".wh.d"}, m{name: "d/new"})},
		"file over directory":     {base, archive(m{name: "d", data: "now a file"})},
		"directory over file":     {base, archive(dir("f", 0o755), m{name: "f/g"})},
		"through a link":          {base, archive(m{name: "lib/x", data: "5"})},
		"no entry for parents":    {base, archive(m{name: "tmp/f", data: "6"})},
		"hard link below":         {base, archive(m{name: "l", typ: '1', link: "d/sub/old"}, m{name: "m", typ: '1', link: "/d/sub/old"}, m{name: "ll", typ: '1', link: "lib"})},
		"directory after file":    {base, archive(m{name: "d", data: "8"}, dir("d", 0o755), m{name: "d/new"})},
		"opaque after whiteout":   {base, archive(m{name: "d/.wh.old"}, m{name: "d/.wh..wh..opq"}, m{name: "d/new"})},
		"whiteout after opaque":   {base, archive(m{name: "d/.wh..wh..opq"}, m{name: "d/.wh.old"}, m{name: "d/new"})},
		"whiteout in one anew":    {base, archive(m{name: ".wh.d"}, dir("d", 0o755), m{name: "d/.wh.old"}, m{name: "d/new"})},
		"opaque above whiteout":   {base, archive(m{name: "d/sub/.wh.old"}, m{name: "d/sub/n"}, m{name: "d/.wh..wh..opq"})},
		"whiteout below opaque":   {base, archive(m{name: "d/.wh..wh..opq"}, m{name: "d/sub/n"}, m{name: "d/sub/.wh.old"})},
		"three":                   {base, archive(m{name: ".wh.x"}), archive(m{name: "x/z", data: "7"}), archive(m{name: "lib/q"})},
	}
	for _, c := range againCases() {
		cases["again: "+c.what] = c.layers
	}
	for what, layers := range cases {
		t.Run(what, func(t *testing.T) {
			want, _, err := unpackInto(t, layers...)
			if err != nil {
				t.Fatal(err)
			}
			got := overlayRoots(t, layers...)
			a, b := deepTree(t, want, nil), deepTree(t, got, nil)
			delete(a, ".")
			delete(b, ".")
			sameTrees(t, a, b)
		})
	}
}

// TestIntegrationCompareStopsAtMounts: what is mounted in a tree is no change of it.
func TestIntegrationCompareStopsAtMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts: go test -exec sudo -run Integration")
	}
	was, is := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Join(was, "there"), filepath.Join(is, "there"), filepath.Join(is, "made")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"there", "made"} {
		at := filepath.Join(is, name)
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=700"); err != nil {
			t.Skipf("tmpfs cannot be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Error(err)
			}
		})
		if err := os.WriteFile(filepath.Join(at, "f"), []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for c, err := range Compare(was, is) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.Path)
	}
	if strings.Join(got, " ") != "made" {
		t.Errorf("changes: %q", got)
	}
}

// TestIntegrationUpper: what overlayfs wrote in an upper directory is packed as the change
// it stands for.
func TestIntegrationUpper(t *testing.T) {
	base := archive(m{name: "d/", typ: '5'}, m{name: "d/old", data: "1"}, m{name: "e/f", data: "2"}, m{name: "g", data: "3"})
	low := overlayRoots(t, base)
	top := t.TempDir()
	for _, d := range []string{"u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(top, "m")
	if err := unix.Mount("overlay", at, "overlay", 0, "lowerdir="+filepath.Join(filepath.Dir(low), "a")+",upperdir="+top+"/u,workdir="+top+"/w"); err != nil {
		t.Skipf("no upper directory on this file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	for _, err := range []error{
		os.RemoveAll(filepath.Join(at, "d")), os.Mkdir(filepath.Join(at, "d"), 0o755), os.WriteFile(filepath.Join(at, "d/new"), []byte("4"), 0o644),
		os.Remove(filepath.Join(at, "g")), os.WriteFile(filepath.Join(at, "e/h"), []byte("5"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	diff, _ := packed(t, &Packer{}, filepath.Join(top, "u"), Upper(filepath.Join(top, "u")))
	root, _, err := unpackInto(t, base, diff)
	if got, want := tree(t, root), lines("d/", "d/new=4", "e/", "e/f=2", "e/h=5"); got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// TestIntegrationDevices: devices, owners and capabilities, which are root's to restore.
func TestIntegrationDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("devices and owners are root's: go test -exec sudo -run Integration")
	}
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_bind_service+e, revision 2
	src, _, err := unpackInto(t, archive(
		m{name: "null", typ: '3', mode: 0o666, pax: map[string]string{"uid": "77", "gid": "88"}, change: func(h []byte) { putNumber(h[329:337], 1); putNumber(h[337:345], 3) }},
		m{name: "disk", typ: '4', mode: 0o660, change: func(h []byte) { putNumber(h[329:337], 259); putNumber(h[337:345], 70000) }},
		m{name: "ping", data: "x", mode: 0o4755, pax: map[string]string{"uid": "3000000", "SCHILY.xattr.security.capability": capability}},
		m{name: "link", typ: '2', link: "null", pax: map[string]string{"uid": "5"}},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := deepTree(t, src, nil)
	for name, has := range map[string]string{"null": "mode 20666 owner 77:88", "disk": "device 259:70000", "ping": "owner 3000000:", "link": "owner 5:"} {
		if !strings.Contains(want[name], has) {
			t.Errorf("%s: %s", name, want[name])
		}
	}
	if !strings.Contains(want["ping"], "mode 104755") || !strings.Contains(want["ping"], "security.capability") {
		t.Errorf("ping: %s", want["ping"])
	}
	maps := []IDMap{{0, 100000, 65536}, {3000000, 7, 1}}
	l, _ := packed(t, &Packer{}, src, Tree(src))
	dst := newRoot(t)
	u := Unpacker{UIDs: maps, GIDs: maps}
	if _, err := u.Unpack(context.Background(), dst, bytes.NewReader(l)); err != nil {
		t.Fatal(err)
	}
	back, _ := packed(t, &Packer{UIDs: maps, GIDs: maps}, dst, Tree(dst))
	if !bytes.Equal(l, back) {
		t.Error("mapping owners there and back gives another layer")
	}
}

// TestIntegrationUmoci has umoci unpack what we pack, and the other way round.
func TestIntegrationUmoci(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("umoci restores owners as root: go test -exec sudo -run Integration")
	}
	src := newRoot(t)
	richTree(t, src)
	want := deepTree(t, src, nil)
	l, _ := packed(t, &Packer{}, src, Tree(src))
	dst := newRoot(t)
	if err := layer.UnpackLayer(dst, bytes.NewReader(l), nil); err != nil {
		t.Fatal(err)
	}
	sameTrees(t, want, deepTree(t, dst, nil))
	r := layer.GenerateInsertLayer(src, "/", false, nil)
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	ours, _, err := unpackInto(t, data)
	if err != nil {
		t.Fatal(err)
	}
	sameTrees(t, wholeSeconds(want), wholeSeconds(deepTree(t, ours, nil)))
}

// wholeSeconds cuts times: umoci's layers have no fractions.
func wholeSeconds(tree map[string]string) map[string]string {
	cut := regexp.MustCompile(`( time -?\d+)\d{9}`)
	out := map[string]string{}
	for name, s := range tree {
		out[name] = cut.ReplaceAllString(s, "$1")
	}
	return out
}
