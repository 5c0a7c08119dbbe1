package ipam

import (
	"container/heap"
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Memory is a ledger that is forgotten with its process.
type Memory struct {
	mu     sync.Mutex
	v4, v6 *node
	owner  map[netip.Addr]string
	owned  map[string][]netip.Addr
	rests  map[netip.Addr]time.Time // in quarantine
	queue  queue                    // of rests, and of what was claimed since
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		v4: new(node), v6: new(node),
		owner: map[netip.Addr]string{}, owned: map[string][]netip.Addr{}, rests: map[netip.Addr]time.Time{},
	}
}

// tree returns the tree that a is in, and the first bit that it looks at.
func (m *Memory) tree(a netip.Addr) (*node, int) {
	if a.Is4() {
		return m.v4, 96 // As16 puts ::ffff: before it
	}
	return m.v6, 0
}

// NextFree implements [Ledger].
func (m *Memory) NextFree(_ context.Context, from, last netip.Addr) (netip.Addr, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	root, bit := m.tree(from)
	b, ok := root.next(from.As16(), bit)
	a := netip.AddrFrom16(b)
	if from.Is4() {
		a = a.Unmap()
	}
	if !ok || last.Less(a) {
		return netip.Addr{}, false, nil
	}
	return a, true, nil
}

// Claim implements [Ledger].
func (m *Memory) Claim(_ context.Context, a netip.Addr, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if has, ok := m.owner[a]; ok {
		if has == owner {
			return nil
		}
		return fmt.Errorf("%w: it is %s's", fs.ErrExist, has)
	}
	delete(m.rests, a)
	root, bit := m.tree(a)
	root.set(a.As16(), bit)
	m.owner[a] = owner
	m.owned[owner] = append(m.owned[owner], a)
	return nil
}

// Release implements [Ledger].
func (m *Memory) Release(_ context.Context, owner string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.owned[owner] {
		delete(m.owner, a)
		m.rests[a] = until
		heap.Push(&m.queue, rest{a, until})
	}
	delete(m.owned, owner)
	return nil
}

// Expire implements [Ledger].
func (m *Memory) Expire(_ context.Context, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > 0 && !m.queue[0].until.After(now) {
		r := heap.Pop(&m.queue).(rest)
		if m.restsLocked(r) {
			delete(m.rests, r.addr)
			root, bit := m.tree(r.addr)
			root.clear(r.addr.As16(), bit)
		}
	}
	return nil
}

// Ripe returns the addresses whose quarantine is over by now: that Expire would free.
func (m *Memory) Ripe(now time.Time) []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	var addrs []netip.Addr
	for look := []int{0}; len(look) > 0; look = look[1:] {
		i := look[0]
		if i >= len(m.queue) || m.queue[i].until.After(now) {
			continue // and so is all below
		}
		if m.restsLocked(m.queue[i]) {
			addrs = append(addrs, m.queue[i].addr)
		}
		look = append(look, 2*i+1, 2*i+2)
	}
	return addrs
}

// restsLocked says whether a quarantine still holds: the address may have been claimed.
func (m *Memory) restsLocked(r rest) bool {
	until, ok := m.rests[r.addr]
	return ok && until.Equal(r.until)
}

// Owner implements [Ledger].
func (m *Memory) Owner(_ context.Context, a netip.Addr) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	owner, ok := m.owner[a]
	if !ok {
		return "", fmt.Errorf("owner of %s: %w", a, fs.ErrNotExist)
	}
	return owner, nil
}

// Owned implements [Ledger].
func (m *Memory) Owned(_ context.Context, owner string) ([]netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addrs := slices.Clone(m.owned[owner])
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

// node is a subtree of the addresses, one level for each bit. A nil child is
// free as a whole; one that is full as a whole has no children.
type node struct {
	full  bool
	child [2]*node
}

func bitOf(a [16]byte, bit int) int { return int(a[bit/8]>>(7-bit%8)) & 1 }

func (n *node) set(a [16]byte, bit int) {
	if n.full {
		return
	}
	if bit == 128 {
		n.full = true
		return
	}
	b := bitOf(a, bit)
	if n.child[b] == nil {
		n.child[b] = new(node)
	}
	n.child[b].set(a, bit+1)
	if l, r := n.child[0], n.child[1]; l != nil && r != nil && l.full && r.full {
		*n = node{full: true}
	}
}

// clear says whether nothing is left below n.
func (n *node) clear(a [16]byte, bit int) bool {
	if bit == 128 {
		return true
	}
	if n.full {
		*n = node{child: [2]*node{{full: true}, {full: true}}}
	}
	b := bitOf(a, bit)
	if c := n.child[b]; c != nil && c.clear(a, bit+1) {
		n.child[b] = nil
	}
	return n.child[0] == nil && n.child[1] == nil
}

// next returns the lowest free address from a on.
func (n *node) next(a [16]byte, bit int) ([16]byte, bool) {
	if n == nil {
		return a, true
	}
	if n.full {
		return a, false
	}
	b := bitOf(a, bit)
	if found, ok := n.child[b].next(a, bit+1); ok || b == 1 {
		return found, ok
	}
	a[bit/8] |= 0x80 >> (bit % 8)
	for i := bit + 1; i < 128; i++ {
		a[i/8] &^= 0x80 >> (i % 8)
	}
	return n.child[1].next(a, bit+1)
}

// rest is a quarantine.
type rest struct {
	addr  netip.Addr
	until time.Time
}

// queue is a heap: the quarantine that ends first comes first.
type queue []rest

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(rest)) }
func (q *queue) Pop() any {
	old := *q
	r := old[len(old)-1]
	*q = old[:len(old)-1]
	return r
}
