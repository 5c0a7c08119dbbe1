package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipam"
	"github.com/joyboyid/xc/ipam/ipamtest"
)

func ExamplePool() {
	ctx := context.Background()
	pool := ipam.Pool{
		Prefix:   netip.MustParsePrefix("10.1.0.0/16"),
		Reserved: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/32")}, // the gateway
		Ledger:   ipam.NewMemory(),
	}
	a, err := pool.Take(ctx, "web")
	fmt.Println(a, err)
	fmt.Println(pool.Claim(ctx, a, "db"))
	// Output:
	// 10.1.0.2 <nil>
	// claim address 10.1.0.2: file already exists: it is web's
}

func TestMemory(t *testing.T) {
	ipamtest.Ledger(t, func(*testing.T) ipam.Ledger { return ipam.NewMemory() })
}

func TestTakeAll(t *testing.T) {
	for _, tt := range []struct {
		prefix, reserved, first, last string
		want                          []string
	}{
		{prefix: "10.0.0.0/29", want: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
		{prefix: "10.0.0.0/29", reserved: "10.0.0.2/31", want: []string{"10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
		{prefix: "10.0.0.5/29", first: "10.0.0.3", last: "10.0.0.4", want: []string{"10.0.0.3", "10.0.0.4"}},
		{prefix: "10.0.0.0/31", want: []string{"10.0.0.0", "10.0.0.1"}},
		{prefix: "255.255.255.255/32", want: []string{"255.255.255.255"}},
		{prefix: "255.255.255.252/30", want: []string{"255.255.255.253", "255.255.255.254"}},
		{prefix: "fd00::/126", want: []string{"fd00::1", "fd00::2", "fd00::3"}},
		{prefix: "fd00::/64", reserved: "fd00::/66", first: "fd00::", last: "fd00::4000:0:0:1", want: []string{"fd00::4000:0:0:0", "fd00::4000:0:0:1"}},
	} {
		t.Run(tt.prefix+tt.reserved+tt.first, func(t *testing.T) {
			p := ipam.Pool{Prefix: netip.MustParsePrefix(tt.prefix), Ledger: ipam.NewMemory()}
			if tt.reserved != "" {
				p.Reserved = []netip.Prefix{netip.MustParsePrefix(tt.reserved)}
			}
			if tt.first != "" {
				p.Range = ipam.Range{First: netip.MustParseAddr(tt.first), Last: netip.MustParseAddr(tt.last)}
			}
			for i, want := range tt.want {
				a, err := p.Take(t.Context(), fmt.Sprint(i))
				if err != nil || a != netip.MustParseAddr(want) {
					t.Fatalf("take %d: %s, %v; want %s", i, a, err, want)
				}
			}
			if a, err := p.Take(t.Context(), "one more"); !errors.Is(err, ipam.ErrFull) {
				t.Errorf("a full pool gave %s, %v", a, err)
			}
		})
	}
}

func take(t *testing.T, p *ipam.Pool, owner, want string) {
	t.Helper()
	if a, err := p.Take(t.Context(), owner); err != nil || a.String() != want {
		t.Fatalf("take: %s, %v; want %s", a, err, want)
	}
}

func TestReleasedComesLast(t *testing.T) {
	p := &ipam.Pool{Prefix: netip.MustParsePrefix("10.0.0.0/29"), Quarantine: time.Hour, Ledger: ipam.NewMemory()}
	take(t, p, "a", "10.0.0.1")
	if err := p.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= 6; i++ {
		take(t, p, "b", fmt.Sprint("10.0.0.", i))
	}
	take(t, p, "c", "10.0.0.1") // nothing else is left: the quarantine gives way
}

func TestClaim(t *testing.T) {
	p := &ipam.Pool{
		Prefix:   netip.MustParsePrefix("10.0.0.0/24"),
		Range:    ipam.Range{First: netip.MustParseAddr("10.0.0.10"), Last: netip.MustParseAddr("10.0.0.20")},
		Reserved: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		Ledger:   ipam.NewMemory(),
	}
	for _, tt := range []struct {
		addr, owner string
		want        error
	}{
		{"10.0.0.10", "a", nil}, {"10.0.0.10", "a", nil}, {"10.0.0.10", "b", fs.ErrExist},
		{"10.0.0.200", "a", nil},
		{"10.0.0.1", "a", ipam.ErrReserved}, {"10.0.0.0", "a", ipam.ErrReserved}, {"10.0.0.255", "a", ipam.ErrReserved},
		{"10.0.1.1", "a", fs.ErrInvalid}, {"fd00::1", "a", fs.ErrInvalid},
		{"10.0.0.50", "", fs.ErrInvalid},
	} {
		if err := p.Claim(t.Context(), netip.MustParseAddr(tt.addr), tt.owner); !errors.Is(err, tt.want) {
			t.Errorf("%s by %s: %v; want %v", tt.addr, tt.owner, err, tt.want)
		}
	}
	take(t, p, "c", "10.0.0.11")
}

// TestRipe: Ripe tells exactly what Expire frees.
func TestRipe(t *testing.T) {
	m, ctx, now := ipam.NewMemory(), t.Context(), time.Unix(1000, 0)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	for i := range 50 {
		owner := fmt.Sprint(i)
		if err := errors.Join(m.Claim(ctx, addr(i), owner), m.Release(ctx, owner, now.Add(time.Duration(i*7%50)*time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Claim(ctx, addr(0), "again"); err != nil { // and so it does not rest
		t.Fatal(err)
	}
	for s := range 50 {
		at := now.Add(time.Duration(s) * time.Second)
		want := map[netip.Addr]bool{}
		if i := s * 43 % 50; i != 0 { // 7 * 43 is 1 modulo 50
			want[addr(i)] = true
		}
		got := m.Ripe(at)
		if len(got) != len(want) || len(got) > 0 && !want[got[0]] {
			t.Fatalf("after %d s: %v; want %v", s, got, want)
		}
		if err := m.Expire(ctx, at); err != nil {
			t.Fatal(err)
		}
		if len(m.Ripe(at)) > 0 {
			t.Fatal(m.Ripe(at))
		}
	}
}

// BenchmarkTake is of a ledger in memory; package engine/store has that of a durable one.
func BenchmarkTake(b *testing.B) {
	p := ipam.Pool{Prefix: netip.MustParsePrefix("fd00::/64"), Ledger: ipam.NewMemory()}
	for b.Loop() {
		if _, err := p.Take(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}
