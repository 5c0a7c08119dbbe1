// Package ipamtest has the promises that every ipam.Ledger keeps.
package ipamtest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipam"
)

// Ledger runs the promises over empty ledgers that open returns.
func Ledger(t *testing.T, open func(*testing.T) ipam.Ledger) {
	for _, first := range []string{"10.0.0.250", "fd00::fffa", "255.255.255.192", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffc0"} {
		t.Run("AgainstAList/"+first, func(t *testing.T) { againstAList(t, open(t), netip.MustParseAddr(first)) })
	}
}

// lease is what the plain list knows of an address.
type lease struct {
	owner string
	until time.Time // in quarantine when owner is empty
}

// againstAList does random things to the ledger and to a list that is searched from
// its start, and compares all answers.
func againstAList(t *testing.T, l ipam.Ledger, first netip.Addr) {
	ctx, rnd := t.Context(), rand.New(rand.NewPCG(1, 2))
	var addrs []netip.Addr
	for a := first; len(addrs) < 64; a = a.Next() {
		addrs = append(addrs, a)
	}
	list, now := map[netip.Addr]lease{}, time.Unix(1000, 0)
	for range 2000 {
		a, owner := addrs[rnd.IntN(len(addrs))], fmt.Sprint("owner", rnd.IntN(12))
		switch rnd.IntN(8) {
		case 0:
			until := now.Add(time.Duration(rnd.IntN(20)) * time.Second)
			if err := l.Release(ctx, owner, until); err != nil {
				t.Fatal(err)
			}
			for a, has := range list {
				if has.owner == owner {
					list[a] = lease{until: until}
				}
			}
		case 1:
			now = now.Add(time.Duration(rnd.IntN(5)) * time.Second)
			if err := l.Expire(ctx, now); err != nil {
				t.Fatal(err)
			}
			for a, has := range list {
				if has.owner == "" && !has.until.After(now) {
					delete(list, a)
				}
			}
		default:
			err := l.Claim(ctx, a, owner)
			if has := list[a].owner; has != "" && has != owner {
				if !errors.Is(err, fs.ErrExist) {
					t.Fatalf("%s, which %s has, claimed by %s: %v", a, has, owner, err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				list[a] = lease{owner: owner}
			}
		}
		compare(t, l, list, addrs, rnd.IntN(len(addrs)), owner)
	}
}

func compare(t *testing.T, l ipam.Ledger, list map[netip.Addr]lease, addrs []netip.Addr, from int, owner string) {
	t.Helper()
	var want netip.Addr
	for _, a := range addrs[from:] {
		if _, taken := list[a]; !taken {
			want = a
			break
		}
	}
	got, ok, err := l.NextFree(t.Context(), addrs[from], addrs[len(addrs)-1])
	if err != nil || ok != want.IsValid() || got != want {
		t.Fatalf("NextFree(%s) = %s, %v, %v; the list says %s", addrs[from], got, ok, err, want)
	}
	has, err := l.Owner(t.Context(), addrs[from])
	if want := list[addrs[from]].owner; has != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Owner(%s) = %q, %v; the list says %q", addrs[from], has, err, want)
	}
	var owned []netip.Addr
	for _, a := range addrs {
		if list[a].owner == owner {
			owned = append(owned, a)
		}
	}
	if got, err := l.Owned(t.Context(), owner); err != nil || !slices.Equal(got, owned) {
		t.Fatalf("Owned(%s) = %v, %v; the list says %v", owner, got, err, owned)
	}
}
