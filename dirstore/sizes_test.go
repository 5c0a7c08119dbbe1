package dirstore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/joyboyid/xc/dirstore"
)

// A file counts once however many names it has, and for the tree that has it.
func TestSizes(t *testing.T) {
	const big = 1 << 20
	s, _ := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(d string) {
		write(t, d+"/a", strings.Repeat("x", big))
		if err := os.Link(d+"/a", d+"/b"); err != nil {
			t.Fatal(err)
		}
	})
	if err := s.Create(t.Context(), "c1", chain(0)); err != nil {
		t.Fatal(err)
	}
	chains, roots, err := s.Sizes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, n := range map[string]int64{"chain": chains[chain(0)], "root": roots["c1"]} {
		if n < big || n >= 2*big {
			t.Errorf("%s: %d bytes, want about %d", what, n, big)
		}
	}
	if n, err := s.RootSize(t.Context(), "c1"); err != nil || n != roots["c1"] {
		t.Errorf("root: %d, %v", n, err)
	}
	if n, err := s.RootSize(t.Context(), "c2"); err != nil || n != 0 {
		t.Errorf("no root: %d, %v", n, err)
	}
	if len(chains) != 1 || len(roots) != 1 {
		t.Errorf("%v, %v", chains, roots)
	}
}
