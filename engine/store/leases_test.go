package store_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipam"
	"github.com/joyboyid/xc/ipam/ipamtest"
)

func TestLeases(t *testing.T) {
	ipamtest.Ledger(t, func(t *testing.T) ipam.Ledger { return fresh(t).Leases("default") })
}

func TestLeasesOutliveTheStoreAndPoolsAreApart(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "xc.sqlite"), t.Context()
	prefix := netip.MustParsePrefix("10.0.0.0/24")
	s := open(t, path)
	for _, pool := range []string{"a", "b"} {
		p := ipam.Pool{Prefix: prefix, Ledger: s.Leases(pool)}
		if a, err := p.Take(ctx, "web"); err != nil || a.String() != "10.0.0.1" {
			t.Fatal(pool, a, err)
		}
	}
	if err := s.Leases("b").Release(ctx, "web", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if owner, err := s.Leases("a").Owner(ctx, netip.MustParseAddr("10.0.0.1")); err != nil || owner != "web" {
		t.Fatal(owner, err)
	}
	for _, pool := range []string{"a", "b"} { // in b it is in quarantine
		p := ipam.Pool{Prefix: prefix, Ledger: s.Leases(pool)}
		if a, err := p.Take(ctx, "db"); err != nil || a.String() != "10.0.0.2" {
			t.Fatal(pool, a, err)
		}
	}
}

// BenchmarkLeases16 fills a /16, each lease a transaction.
func BenchmarkLeases16(b *testing.B) {
	for b.Loop() {
		p := ipam.Pool{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Ledger: fresh(b).Leases("default")}
		for i := range 1<<16 - 2 {
			if _, err := p.Take(b.Context(), fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
