// Package ipam hands out addresses of a prefix, v4 or v6, of any size: a /64 costs
// what its leases cost.
//
// A [Pool] says what may be handed out, its [Ledger] remembers what is. Addresses
// are taken round robin, so that one just given back is the last to come again,
// and rest for the pool's quarantine before they do. Each operation takes
// O(log n) in the number of leases.
//
//	pool := ipam.Pool{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Ledger: ipam.NewMemory()}
//	addr, err := pool.Take(ctx, "web")              // 10.1.0.1
//	err = pool.Claim(ctx, wanted, "db")             // fs.ErrExist when it is someone else's
//	err = pool.Release(ctx, "web")                  // all that web has
package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"time"
)

// ErrFull is the answer of a pool that has no address left.
var ErrFull = errors.New("no address left")

// ErrReserved is the answer to a claim of an address that is not for owners.
var ErrReserved = errors.New("address is reserved")

var errNoOwner = fmt.Errorf("%w: owner without a name", fs.ErrInvalid)

// Ledger remembers the leases of one pool. It answers by index, never by listing.
// Its methods are atomic and may be called concurrently.
type Ledger interface {
	// NextFree returns the lowest address in [from, last] that is neither owned
	// nor in quarantine. ok is false when there is none.
	NextFree(ctx context.Context, from, last netip.Addr) (a netip.Addr, ok bool, err error)
	// Claim gives a to owner. Claiming again what one owns succeeds, and so does
	// claiming what is in quarantine; fs.ErrExist when someone else owns it.
	Claim(ctx context.Context, a netip.Addr, owner string) error
	// Release takes all addresses from owner and keeps them in quarantine until
	// that time. Releasing nothing succeeds.
	Release(ctx context.Context, owner string, until time.Time) error
	// Expire ends each quarantine that was to last until now or before.
	Expire(ctx context.Context, now time.Time) error
	// Owner returns whose a is; fs.ErrNotExist when it is nobody's.
	Owner(ctx context.Context, a netip.Addr) (string, error)
	// Owned returns the addresses of owner in their order.
	Owned(ctx context.Context, owner string) ([]netip.Addr, error)
}

// Range is the addresses from First to Last, both included.
type Range struct{ First, Last netip.Addr }

// Pool hands out the addresses of a prefix. Prefix and Ledger are required. A Pool
// is used by reference and is safe for concurrent use, also when several pools
// share a ledger. The fields are not changed after the first call.
type Pool struct {
	Prefix netip.Prefix
	// Range limits what Take hands out; the zero value is the whole prefix. Claim
	// is not limited by it.
	Range Range
	// Reserved is never handed out: gateways, the host's own addresses. What the
	// protocol reserves is left out anyway: the network and broadcast address
	// (not in a /31, RFC 3021), the subnet-router anycast address of v6 (RFC
	// 4291, not in a /127, RFC 6164).
	Reserved []netip.Prefix
	// Quarantine is how long a released address rests. When nothing else is left
	// it gives way.
	Quarantine time.Duration
	Ledger     Ledger

	mu   sync.Mutex
	next netip.Addr // where Take goes on; invalid: at the start
}

// Take gives owner the next free address. The error matches ErrFull when there is none.
func (p *Pool) Take(ctx context.Context, owner string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, err := p.take(ctx, owner)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("take address of %s: %w", p.Prefix, err)
	}
	return a, nil
}

func (p *Pool) take(ctx context.Context, owner string) (netip.Addr, error) {
	if owner == "" {
		return netip.Addr{}, errNoOwner
	}
	r, err := p.bounds()
	if err != nil {
		return netip.Addr{}, err
	}
	now := time.Now()
	for _, ripe := range []time.Time{now, now.Add(p.Quarantine)} {
		if err := p.Ledger.Expire(ctx, ripe); err != nil {
			return netip.Addr{}, err
		}
		a, err := p.takeWithin(ctx, r, owner)
		if !errors.Is(err, ErrFull) {
			return a, err
		}
	}
	return netip.Addr{}, ErrFull
}

// takeWithin looks from where the last one was found to the end, then from the start.
func (p *Pool) takeWithin(ctx context.Context, r Range, owner string) (netip.Addr, error) {
	start := r.First
	if p.next.IsValid() {
		start = p.next
	}
	for _, part := range []Range{{start, r.Last}, r} {
		for {
			a, ok, err := p.free(ctx, part)
			if err != nil {
				return netip.Addr{}, err
			}
			if !ok {
				break
			}
			err = p.Ledger.Claim(ctx, a, owner)
			if errors.Is(err, fs.ErrExist) { // another pool on this ledger was quicker
				continue
			}
			if err != nil {
				return netip.Addr{}, err
			}
			p.next = a.Next()
			if a == r.Last {
				p.next = r.First
			}
			return a, nil
		}
	}
	return netip.Addr{}, ErrFull
}

// free returns the first address of r that is free and not reserved.
func (p *Pool) free(ctx context.Context, r Range) (netip.Addr, bool, error) {
	for from := r.First; from.IsValid() && from.Compare(r.Last) <= 0; {
		a, ok, err := p.Ledger.NextFree(ctx, from, r.Last)
		if err != nil || !ok {
			return netip.Addr{}, false, err
		}
		end, reserved := p.reserved(a)
		if !reserved {
			return a, true, nil
		}
		from = end.Next()
	}
	return netip.Addr{}, false, nil
}

// Claim gives owner the address a, which may be outside of Range. The error matches
// fs.ErrExist when it is someone else's, ErrReserved when it is nobody's to have.
func (p *Pool) Claim(ctx context.Context, a netip.Addr, owner string) error {
	err := p.claim(ctx, a, owner)
	if err != nil {
		return fmt.Errorf("claim address %s: %w", a, err)
	}
	return nil
}

func (p *Pool) claim(ctx context.Context, a netip.Addr, owner string) error {
	if owner == "" {
		return errNoOwner
	}
	if _, err := p.bounds(); err != nil {
		return err
	}
	if !p.Prefix.Contains(a) {
		return fmt.Errorf("%w: not in %s", fs.ErrInvalid, p.Prefix)
	}
	if _, reserved := p.reserved(a); reserved {
		return ErrReserved
	}
	return p.Ledger.Claim(ctx, a, owner)
}

// Release gives back all that owner has. Releasing nothing succeeds.
func (p *Pool) Release(ctx context.Context, owner string) error {
	if err := p.Ledger.Release(ctx, owner, time.Now().Add(p.Quarantine)); err != nil {
		return fmt.Errorf("release addresses of %s: %w", owner, err)
	}
	return nil
}

// bounds returns what Take may hand out, if the pool's fields make sense.
func (p *Pool) bounds() (Range, error) {
	if !p.Prefix.IsValid() || p.Prefix.Addr().Is4In6() {
		return Range{}, fmt.Errorf("%w: not a prefix of v4 or v6: %s", fs.ErrInvalid, p.Prefix)
	}
	r := Range{p.Prefix.Masked().Addr(), Last(p.Prefix)}
	if p.Range == (Range{}) {
		return r, nil
	}
	if !p.Prefix.Contains(p.Range.First) || !p.Prefix.Contains(p.Range.Last) || p.Range.Last.Less(p.Range.First) {
		return Range{}, fmt.Errorf("%w: range %s-%s is not in %s", fs.ErrInvalid, p.Range.First, p.Range.Last, p.Prefix)
	}
	return p.Range, nil
}

// reserved says whether a is reserved, and where what reserves it ends.
func (p *Pool) reserved(a netip.Addr) (end netip.Addr, is bool) {
	for _, r := range p.Reserved {
		if r.Contains(a) {
			return Last(r), true
		}
	}
	if p.Prefix.Bits() >= a.BitLen()-1 {
		return a, false
	}
	network := a == p.Prefix.Masked().Addr()
	broadcast := a.Is4() && a == Last(p.Prefix)
	return a, network || broadcast
}

// Last returns the highest address of a prefix.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
