package ocitar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// tarPrograms are the ones here, by name of who made them.
func tarPrograms() map[string]string {
	found := map[string]string{}
	for _, name := range []string{"bsdtar", "gtar", "tar"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		kind := "GNU tar"
		if isBsdtar(path) {
			kind = "bsdtar"
		}
		found[kind] = path
	}
	return found
}

// filled is what a layer says, wherever holes are: a file system that compresses (ZFS)
// makes some of zeros. By name, without the root: the entry and its content's digest.
func filled(t *testing.T, layer []byte) map[string]string {
	t.Helper()
	said := map[string]string{}
	for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == "./" || e.Name == "." {
			continue
		}
		sum := sha256.New()
		if e.Type == Regular {
			if _, err := io.Copy(sum, e.Content(bytes.NewReader(layer))); err != nil {
				t.Fatal(err)
			}
		}
		name := e.Name
		e.Offset, e.Data, e.Stored, e.Spans, e.sparse = 0, 0, 0, nil, false
		said[name] = fmt.Sprintf("%+v %x", e, sum.Sum(nil))
	}
	return said
}

// holes are the files of a layer that have any, by name, with where their data is.
func holes(t *testing.T, layer []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.sparse {
			found[e.Name] = fmt.Sprint(e.Spans)
		}
	}
	return found
}

// TestIntegrationRealTree takes a real root file system, XC_TEST_TREE (one by debootstrap,
// FreeBSD's base), or else this one's /etc, through us, bsdtar and GNU tar:
// what each unpacks has all the same attributes, and packs to the same bytes, or where
// the file system has made holes of zeros, to the same entries and contents.
func TestIntegrationRealTree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("owners and devices are root's: go test -exec sudo -run Integration")
	}
	src := os.Getenv("XC_TEST_TREE")
	if src == "" {
		src = "/etc"
	}
	want := deepTree(t, src, nil)
	layer, sum := packed(t, &Packer{}, src, Tree(src))
	t.Logf("%d entries, %d bytes", sum.Entries, sum.TarSize)
	check := func(who, root string) {
		t.Helper()
		t.Cleanup(func() { unlockAll(root) })
		got := deepTree(t, root, nil)
		got["."] = want["."] // tar leaves the time of where it unpacks
		sameTrees(t, want, got)
		again, _ := packed(t, &Packer{}, root, func(yield func(Change, error) bool) {
			for c, err := range Tree(root) {
				if c.Path != "." && !yield(c, err) {
					return
				}
			}
		})
		if !bytes.HasSuffix(layer, again) && !maps.Equal(filled(t, layer), filled(t, again)) {
			t.Errorf("%s: packing what it unpacked gives another layer", who)
		} else if !bytes.HasSuffix(layer, again) && maps.Equal(holes(t, layer), holes(t, again)) {
			t.Errorf("%s: packing what it unpacked gives other bytes", who)
		}
	}
	ours := newRoot(t)
	if _, err := new(Unpacker).Unpack(context.Background(), ours, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	check("ocitar", ours)
	programs := tarPrograms()
	for _, kind := range slices.Sorted(maps.Keys(programs)) {
		path, flags := programs[kind], []string{"--acls", "--xattrs", "--numeric-owner"}
		if kind == "GNU tar" {
			flags = append(flags, "--xattrs-include=*")
		}
		t.Run(kind+" unpacks", func(t *testing.T) {
			dst := newRoot(t)
			cmd := exec.Command(path, append(flags, "-xpf", "-", "-C", dst)...)
			cmd.Env, cmd.Stdin = append(os.Environ(), "LC_ALL=C.UTF-8"), bytes.NewReader(layer)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			check(kind, dst)
		})
		t.Run(kind+" packs", func(t *testing.T) {
			cmd := exec.Command(path, append(flags, "--format", "pax", "-C", src, "-cf", "-", ".")...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			theirs, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			dst := newRoot(t)
			if _, err := new(Unpacker).Unpack(context.Background(), dst, bytes.NewReader(theirs)); err != nil {
				t.Fatal(err)
			}
			check(kind+" and ocitar", dst)
		})
	}
}
