package ocitar

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/umoci/oci/layer"
)

// oracles unpack a layer into a directory, as we do.
var oracles = map[string]func(dir string, layer []byte) error{
	"umoci": func(dir string, l []byte) error { return layer.UnpackLayer(dir, bytes.NewReader(l), nil) },
	"bsdtar": func(dir string, l []byte) error {
		cmd := exec.Command("bsdtar", "-xpf", "-", "-C", dir)
		cmd.Stdin = bytes.NewReader(l)
		return cmd.Run()
	},
	"tar": func(dir string, l []byte) error {
		cmd := exec.Command("tar", "-xpf", "-", "-C", dir)
		cmd.Stdin = bytes.NewReader(l)
		return cmd.Run()
	},
}

// Why others make something else of a layer, by case and tool: what the specifications
// say is at the right, or why it is left to us.
var differences = map[string]map[string]string{
	"no bytes":                        {"tar": "wants two zero records; an empty stream is an empty layer to the Go engines"},
	"directory, then file":            {"bsdtar": replaces, "tar": replaces},
	"through a link":                  {"bsdtar": "without -P it does not follow links; images whose /lib is one need it (image-spec: layers are applied as a root)"},
	"through an absolute link":        {"bsdtar": "without -P it does not follow links", "tar": "follows the link out of the root, to the host's"},
	"link changes on the way":         {"bsdtar": "without -P it does not follow links"},
	"directory replaced while cached": {"bsdtar": replaces, "tar": replaces},
	"hard link before":                {"bsdtar": linkBefore, "tar": linkBefore, "umoci": linkBefore},
	"hard link to itself":             {"bsdtar": "fails", "umoci": "removes the file first, and fails"},
	"hard link through a link":        {"bsdtar": absolute, "tar": absolute},
	"contiguous":                      {"umoci": "does not know type 7, which POSIX has as a regular file"},
	"unknown type":                    {"bsdtar": "fails at an empty volume header", "umoci": "fails; image-spec: unknown types may be skipped"},
	"global header":                   {"umoci": "does not know it, though POSIX has it"},
	"sparse old":                      {"umoci": goTar},
	"sparse extended":                 {"tar": "reads no extension after a header that is not full", "umoci": goTar},
	"sparse 0.0":                      {"bsdtar": noBlocks, "tar": noBlocks, "umoci": noBlocks},
	"sparse 0.1":                      {"tar": noBlocks, "umoci": noBlocks},
	"by tar: old GNU":                 {"umoci": goTar},
	"whiteout: aufs":                  {"umoci": "makes files of aufs's own; image-spec reserves the prefix .wh."},
}

const (
	replaces   = "does not replace a directory that is not empty; image-spec: an entry replaces what a lower layer has"
	linkBefore = "has no second try for a link whose target comes later"
	absolute   = "a link on the way is absolute: to us the root's, to them the host's"
	goTar      = "archive/tar gives old GNU sparse files a type that umoci does not know"
	noBlocks   = "wants GNU.sparse.numblocks, which is no part of the map"
)

// TestIntegrationDifferential has others unpack the corpus: each difference is one that
// is known, and each that is known is still there.
func TestIntegrationDifferential(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("umoci restores owners as root: go test -exec sudo -run Integration")
	}
	cases := unpackCases()
	for what, l := range sparseLayers() {
		cases = append(cases, layerCase{what: "sparse " + what, layers: [][]byte{l}})
	}
	cases = append(cases, sparseByTar(t)...)
	whiteouts := whiteoutCases()
	for i := range whiteouts {
		whiteouts[i].what = "whiteout: " + whiteouts[i].what
	}
	seen := map[string]bool{}
	for _, tool := range slices.Sorted(maps.Keys(oracles)) {
		if _, err := exec.LookPath(tool); err != nil && tool != "umoci" {
			t.Logf("%s is not installed", tool)
			continue
		}
		corpus := cases
		if tool == "umoci" { // the others know nothing of whiteouts
			corpus = slices.Concat(cases, whiteouts)
		}
		for _, c := range corpus {
			ours, _, err := unpackInto(t, c.layers...)
			if err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			theirs := filepath.Join(t.TempDir(), "root")
			if err := os.Mkdir(theirs, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, l := range c.layers {
				if err = oracles[tool](theirs, l); err != nil {
					break
				}
			}
			why, known := differences[c.what][tool]
			seen[c.what+tool] = true
			a, b := shape(t, ours), shape(t, theirs)
			if differs := err != nil || a != b; differs != known {
				t.Errorf("%s, %s: differs %v, known %q: %v\n%s\nours\n%s", c.what, tool, differs, why, err, b, a)
			}
		}
	}
	for what, tools := range differences {
		for tool := range tools {
			if !seen[what+tool] {
				t.Logf("not compared: %s with %s", what, tool)
			}
		}
	}
}

// sparseByTar are the formats for sparse files by who invented them: with more spans
// than fit in one header.
func sparseByTar(t *testing.T) (cases []layerCase) {
	src := newRoot(t)
	f, err := os.Create(filepath.Join(src, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 3000), int64(i)<<18); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]string{
		"old GNU": {"--format", "gnu"}, "pax 0.0": {"--format", "pax", "--sparse-version", "0.0"},
		"pax 0.1": {"--format", "pax", "--sparse-version", "0.1"}, "pax 1.0": {"--format", "pax", "--sparse-version", "1.0"},
	} {
		out, err := exec.Command("tar", append(args, "--sparse", "-C", src, "-cf", "-", "f")...).Output()
		if err != nil {
			t.Logf("GNU tar is not here: %v", err)
			return nil
		}
		cases = append(cases, layerCase{what: "by tar: " + what, layers: [][]byte{out}})
	}
	return cases
}

// shape is the tree with modes, times apart: those of directories that have no entry are
// each one's own.
func shape(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	for name, s := range deepTree(t, root, nil) {
		if name == "." {
			continue
		}
		before, after, _ := strings.Cut(s, " time ")
		_, rest, _ := strings.Cut(after, " ")
		lines = append(lines, name+" "+before+" "+rest)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
