package dirstore_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/joyboyid/xc/dirstore"
)

// BenchmarkCreateRemove is what a container costs, over a chain of ten layers
// with a hundred files each.
func BenchmarkCreateRemove(b *testing.B) {
	for _, mode := range []dirstore.Mode{dirstore.Overlay, dirstore.Copy} {
		b.Run(string(mode), func(b *testing.B) {
			s, _ := open(b, mode)
			parent := ""
			for n := range 10 {
				commit(b, s, chain(n), parent, func(dir string) {
					for i := range 100 {
						if err := os.WriteFile(fmt.Sprintf("%s/%d-%d", dir, n, i), []byte("content"), 0o600); err != nil {
							b.Fatal(err)
						}
					}
				})
				parent = chain(n)
			}
			for b.Loop() {
				if err := s.Create(b.Context(), "c", parent); err != nil {
					b.Fatal(err)
				}
				if _, err := s.Layout("c"); err != nil {
					b.Fatal(err)
				}
				if err := s.Remove(b.Context(), "c"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHas(b *testing.B) {
	s, _ := open(b, dirstore.Overlay)
	commit(b, s, chain(0), "", func(string) {})
	for b.Loop() {
		if ok, err := s.Has(b.Context(), chain(0)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// What a container, and a layer, cost among 2,000 images.
func BenchmarkAmong2000Chains(b *testing.B) {
	s, _ := open(b, dirstore.Overlay)
	for n := range 2000 {
		commit(b, s, chain(n), "", func(string) {})
	}
	b.Run("Has", func(b *testing.B) {
		for b.Loop() {
			if ok, err := s.Has(b.Context(), chain(1000)); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("CreateRemove", func(b *testing.B) {
		for b.Loop() {
			if err := s.Create(b.Context(), "c", chain(1000)); err != nil {
				b.Fatal(err)
			}
			if err := s.Remove(b.Context(), "c"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("List", func(b *testing.B) {
		for b.Loop() {
			if l, err := s.List(b.Context()); len(l) != 2000 || err != nil {
				b.Fatal(len(l), err)
			}
		}
	})
}
