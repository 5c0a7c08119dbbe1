package store

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// A pin keeps one thing. Blobs and chains are told apart: the chain id of a
// single plain layer is also the digest of its blob.
type pin struct {
	chain  bool
	digest digest.Digest
}

// pins counts who needs what. While a sweep runs, what is released stays
// pinned: the sweep has read the references before, and may not have seen the
// one that took over.
type pins struct {
	mu       sync.Mutex
	count    map[pin]int
	sweeping bool
	released []pin
}

// Lease keeps blobs and chains from being pruned until it is released. Pin
// before looking whether something is there. It may be used by many goroutines
// at once.
type Lease struct {
	pins *pins

	mu   sync.Mutex
	held []pin
}

// Lease returns a lease that holds nothing yet.
func (s *Store) Lease() *Lease {
	return &Lease{pins: &s.pins}
}

// PinBlobs keeps blobs, whether they are there or yet to come.
func (l *Lease) PinBlobs(digests ...digest.Digest) { l.pin(false, digests) }

// PinChains keeps chains, whether they are there or yet to come.
func (l *Lease) PinChains(chains ...digest.Digest) { l.pin(true, chains) }

func (l *Lease) pin(chain bool, digests []digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins.mu.Lock()
	defer l.pins.mu.Unlock()
	if l.pins.count == nil {
		l.pins.count = map[pin]int{}
	}
	for _, d := range digests {
		p := pin{chain, d}
		l.pins.count[p]++
		l.held = append(l.held, p)
	}
}

// Release gives everything up. It may be called twice.
func (l *Lease) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins.mu.Lock()
	defer l.pins.mu.Unlock()
	if l.pins.sweeping {
		l.pins.released = append(l.pins.released, l.held...)
	} else {
		l.pins.drop(l.held)
	}
	l.held = nil
}

func (p *pins) drop(list []pin) {
	for _, pin := range list {
		if p.count[pin]--; p.count[pin] == 0 {
			delete(p.count, pin)
		}
	}
}

// sweep begins a sweep, of which there is one at a time; end ends it.
func (p *pins) sweep() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweeping = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sweeping = false
		p.drop(p.released)
		p.released = nil
	}
}

// unless runs remove if nobody has pinned the thing. Who pins it meanwhile
// waits, and then finds it gone.
func (p *pins) unless(pinned pin, remove func() error) (removed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[pinned] > 0 {
		return false, nil
	}
	return true, remove()
}
