package store_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/joyboyid/xc/site"
)

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("undos=%d", n), func(b *testing.B) {
			s, list := fresh(b), undos(n)
			for b.Loop() {
				if _, err := s.Append(b.Context(), "c4f7kq2mznpa", site.Run, list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendEntriesDrop(b *testing.B) {
	s, list := fresh(b), undos(1)
	for b.Loop() {
		if _, err := s.Append(b.Context(), "c4f7kq2mznpa", site.Run, list); err != nil {
			b.Fatal(err)
		}
		entries, err := s.Entries(b.Context(), "c4f7kq2mznpa", site.Run)
		if err != nil || len(entries) != 1 {
			b.Fatal(entries, err)
		}
		if err := s.Drop(b.Context(), entries[0].ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateContainer(b *testing.B) {
	s := fresh(b)
	c := container("c4f7kq2mznpa", "web", 1)
	if err := s.CreateContainer(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		// Sqlite writes nothing when nothing changes.
		state := json.RawMessage(fmt.Sprintf(`{"state":"exited","code":%d}`, i))
		if err := s.UpdateContainer(b.Context(), c.ID, state, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContainer(b *testing.B) {
	s := fresh(b)
	if err := s.CreateContainer(b.Context(), container("c4f7kq2mznpa", "web", 1)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Container(b.Context(), "c4f"); err != nil {
			b.Fatal(err)
		}
	}
}
