package ocitar

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func whiteoutCases() (cases []layerCase) {
	lower := archive(m{name: "d/old", data: "1"}, m{name: "d/sub/old", data: "2"}, m{name: "f", data: "3"}, m{name: "s", typ: '2', link: "d"}, m{name: "dangling", typ: '2', link: "no"})
	all := []string{"d/", "d/old=1", "d/sub/", "d/sub/old=2", "dangling -> no", "f=3", "s -> d"}
	without := func(drop ...string) string {
		var keep []string
		for _, l := range all {
			gone := false
			for _, d := range drop {
				gone = gone || strings.HasPrefix(l, d)
			}
			if !gone {
				keep = append(keep, l)
			}
		}
		return lines(keep...)
	}
	for _, c := range []struct {
		what  string
		layer []byte
		want  string
	}{
		{"file", archive(m{name: ".wh.f"}), without("f")},
		{"directory", archive(m{name: ".wh.d"}), without("d/")},
		{"in a directory", archive(m{name: "d/sub/.wh.old"}), without("d/sub/old")},
		{"link, not its target", archive(m{name: ".wh.s"}), without("s ")},
		{"dangling link", archive(m{name: ".wh.dangling"}), without("dangling")},
		{"through a link", archive(m{name: "s/.wh.old"}), without("d/old")},
		{"what is not there", archive(m{name: ".wh.no"}, m{name: "no/.wh.no"}, m{name: "f/.wh.x"}), without()},
		{"with a body", archive(m{name: ".wh.f", data: "body"}), without("f")},
		{"before its own", archive(m{name: ".wh.f"}, m{name: "f", data: "new"}), strings.Replace(without(), "f=3", "f=new", 1)},
		{"after its own", archive(m{name: "f", data: "new"}, m{name: ".wh.f"}), strings.Replace(without(), "f=3", "f=new", 1)},
		{"directory made anew", archive(m{name: "d/", typ: '5'}, m{name: "d/new"}, m{name: ".wh.d"}), lines("d/", "d/new", "dangling -> no", "f=3", "s -> d")},
		{"opaque first", archive(m{name: "d/.wh..wh..opq"}, m{name: "d/new"}), lines("d/", "d/new", "dangling -> no", "f=3", "s -> d")},
		{"opaque last", archive(m{name: "d/new"}, m{name: "d/sub/new"}, m{name: "d/.wh..wh..opq"}), lines("d/", "d/new", "d/sub/", "d/sub/new", "dangling -> no", "f=3", "s -> d")},
		{"opaque in between", archive(m{name: "d/old", data: "mine"}, m{name: "d/.wh..wh..opq"}, m{name: "d/sub/", typ: '5'}), lines("d/", "d/old=mine", "d/sub/", "dangling -> no", "f=3", "s -> d")},
		{"opaque root", archive(m{name: "f", data: "4"}, m{name: ".wh..wh..opq"}), "f=4"},
		{"own name through a link", archive(m{name: "s/old", data: "mine"}, m{name: "d/.wh..wh..opq"}), lines("d/", "d/old=mine", "dangling -> no", "f=3", "s -> d")},
		{"pax path", archive(m{name: "cut", pax: map[string]string{"path": "d/.wh.old"}}, m{name: "g"}), strings.Replace(without("d/old"), "f=3", "f=3\ng", 1)},
		{"hidden name", archive(m{name: ".wh..x"}), without()},
		{"aufs", archive(m{name: ".wh..wh.aufs"}, m{name: ".wh..wh.plnk/1.2", data: "x"}), without()},
	} {
		cases = append(cases, layerCase{c.what, [][]byte{lower, c.layer}, c.want})
	}
	return cases
}

func TestWhiteouts(t *testing.T) {
	for _, c := range whiteoutCases() {
		t.Run(c.what, func(t *testing.T) {
			root, _, err := unpackInto(t, c.layers...)
			if got := tree(t, root); got != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// againCases hide twice what is hidden once, whatever took its place in between.
func againCases() (cases []layerCase) {
	lower := archive(m{name: "d/old"}, m{name: "d/sub/old"}, m{name: "e/old"}, m{name: "e/sub/old"}, m{name: "s", typ: '2', link: "d"})
	rest := []string{"e/", "e/old", "e/sub/", "e/sub/old", "s -> d"}
	with := func(d ...string) string { return lines(append(d, rest...)...) }
	opaque := m{name: "d/.wh..wh..opq"}
	for _, c := range []struct {
		what  string
		layer []byte
		want  string
	}{
		{"opaque", archive(opaque, m{name: "d/new"}, opaque, m{name: "d/old", data: "mine"}, opaque), with("d/", "d/new", "d/old=mine")},
		{"whiteout", archive(m{name: "d/new"}, m{name: ".wh.d"}, m{name: "d/old", data: "mine"}, m{name: ".wh.d"}), with("d/", "d/new", "d/old=mine")},
		{"removed and made anew", archive(m{name: ".wh.d"}, m{name: "d/new"}, m{name: ".wh.d"}, m{name: "d/old", data: "mine"}, opaque), with("d/", "d/new", "d/old=mine")},
		{"by another name", archive(m{name: "s/.wh..wh..opq"}, m{name: "d/new"}, opaque), with("d/", "d/new")},
		{"the inner first", archive(m{name: "d/sub/.wh..wh..opq"}, m{name: "d/sub/new"}, opaque, m{name: "d/sub/old", data: "mine"}, m{name: "d/sub/.wh..wh..opq"}), with("d/", "d/sub/", "d/sub/new", "d/sub/old=mine")},
		{"the outer first", archive(m{name: "d/sub/new"}, opaque, m{name: "d/sub/old", data: "mine"}, m{name: "d/sub/.wh..wh..opq"}, m{name: "d/.wh.sub"}), with("d/", "d/sub/", "d/sub/new", "d/sub/old=mine")},
		{"a file in between", archive(opaque, m{name: "d"}, m{name: "d/", typ: '5'}, m{name: "d/old", data: "mine"}, opaque), with("d/", "d/old=mine")},
		{"a link in between", archive(opaque, m{name: "d", typ: '2', link: "e"}, m{name: "d/new"}, opaque), lines("d -> e", "e/", "e/new", "s -> d")},
		{"a link instead", archive(m{name: "d/new"}, m{name: ".wh.d"}, m{name: "d", typ: '2', link: "e"}, m{name: ".wh.d"}), with("d -> e")},
		{"one file", archive(m{name: "e/.wh.old"}, opaque, m{name: "e/.wh.old"}), lines("d/", "e/", "e/sub/", "e/sub/old", "s -> d")},
	} {
		cases = append(cases, layerCase{c.what, [][]byte{lower, c.layer}, c.want})
	}
	return cases
}

func TestWhiteoutsAgain(t *testing.T) {
	for _, c := range againCases() {
		root, _, err := unpackInto(t, c.layers...)
		if got := tree(t, root); got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.what, got, err, c.want)
		}
	}
}

// TestManyMarkers: a marker is no look at all that the layer has in its directory.
func TestManyMarkers(t *testing.T) {
	const n = 4000
	var files, markers []m
	for i := range n {
		files = append(files, m{name: fmt.Sprint("d/e/f", i)})
		markers = append(markers, m{name: "d/e/.wh..wh..opq"}, m{name: "d/.wh.e"})
	}
	layer := archive(slices.Concat(files, markers)...)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // it takes a fraction of one
	defer cancel()
	sum, err := new(Unpacker).Unpack(ctx, t.TempDir(), bytes.NewReader(layer))
	if err != nil || sum.Whiteouts != 2*n {
		t.Errorf("%d whiteouts, %v", sum.Whiteouts, err)
	}
}
