package store

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

func TestNetworks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	at := time.Unix(1, 2).UTC()
	for _, n := range []Network{{ID: "n2", Name: "web", Created: at, Spec: []byte(`{"a":1}`)}, {ID: "n1", Name: "db", Created: at}} {
		if err := s.CreateNetwork(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web", "n2"} { // also by another's id
		if err := s.CreateNetwork(ctx, Network{ID: "n3", Name: name, Created: at}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.ReadyNetwork(ctx, "n2", true); err != nil {
		t.Error(err)
	}
	if err := s.ReadyNetwork(ctx, "n9", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ready without a record: %v", err)
	}
	a := netip.MustParseAddr("10.0.0.1")
	for _, pool := range []string{"p", "q"} {
		if err := s.Leases(pool).Claim(ctx, a, "o"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.Networks(ctx)
	if err != nil || len(list) != 2 || list[0].Name != "db" || list[0].Ready || !list[1].Ready || string(list[1].Spec) != `{"a":1}` || !list[1].Created.Equal(at) {
		t.Errorf("%+v %v", list, err)
	}
	for range 2 { // the second has nothing to remove
		if err := s.RemoveNetwork(ctx, "n2", "p"); err != nil {
			t.Error(err)
		}
	}
	if next, ok, err := s.Leases("p").NextFree(ctx, a, a); err != nil || !ok || next != a {
		t.Errorf("leases of a removed network stay: %v %v %v", next, ok, err)
	}
	if owner, err := s.Leases("q").Owner(ctx, a); err != nil || owner != "o" {
		t.Errorf("leases of another pool: %q %v", owner, err)
	}
}
