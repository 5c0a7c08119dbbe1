package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/ipam"
	"github.com/joyboyid/xc/ipam/ipamtest"
)

func TestLeases(t *testing.T) {
	ipamtest.Ledger(t, func(t *testing.T) ipam.Ledger { return fresh(t).Leases("default") })
}

// reopened is a ledger whose store is closed and opened again all the time: what the
// database has is what the ledger answers.
type reopened struct {
	t     *testing.T
	path  string
	s     *store.Store
	calls int
}

func (r *reopened) ledger() ipam.Ledger {
	if r.calls++; r.calls%1009 == 0 {
		if err := r.s.Close(); err != nil {
			r.t.Fatal(err)
		}
		r.s = open(r.t, r.path)
	}
	return r.s.Leases("default")
}

func (r *reopened) NextFree(ctx context.Context, from, last netip.Addr) (netip.Addr, bool, error) {
	return r.ledger().NextFree(ctx, from, last)
}
func (r *reopened) Claim(ctx context.Context, a netip.Addr, owner string) error {
	return r.ledger().Claim(ctx, a, owner)
}
func (r *reopened) Release(ctx context.Context, owner string, until time.Time) error {
	return r.ledger().Release(ctx, owner, until)
}
func (r *reopened) Expire(ctx context.Context, now time.Time) error {
	return r.ledger().Expire(ctx, now)
}
func (r *reopened) Owner(ctx context.Context, a netip.Addr) (string, error) {
	return r.ledger().Owner(ctx, a)
}
func (r *reopened) Owned(ctx context.Context, owner string) ([]netip.Addr, error) {
	return r.ledger().Owned(ctx, owner)
}

func TestLeasesReopened(t *testing.T) {
	ipamtest.Ledger(t, func(t *testing.T) ipam.Ledger {
		path := filepath.Join(t.TempDir(), "xc.sqlite")
		return &reopened{t: t, path: path, s: open(t, path)}
	})
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

// BenchmarkLeases16 fills a /16, each lease a transaction of its own: 65,534 of them in
// below two seconds.
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

// BenchmarkTake takes addresses of a ledger that outlives the process.
func BenchmarkTake(b *testing.B) {
	p := ipam.Pool{Prefix: netip.MustParsePrefix("fd00::/64"), Ledger: fresh(b).Leases("default")}
	for i := 0; b.Loop(); i++ {
		if _, err := p.Take(b.Context(), fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}
