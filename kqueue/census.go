package kqueue

import (
	"encoding/binary"
	"slices"
)

// Flags of a member: sys/sys/procctl.h, REAPER_PIDINFO_*.
const (
	memberValid   = 0x01
	memberChild   = 0x02 // its parent is the reaper: ours to wait for
	memberReaper  = 0x04 // has a list of descendants of its own
	memberZombie  = 0x08
	memberExiting = 0x20
)

// memberSize is the size of struct procctl_reaper_pidinfo in bytes: three
// 32-bit numbers and fifteen of padding, alike on all machines.
const memberSize = 18 * 4

// member is one process in a census.
type member struct {
	pid   int
	root  int // the child of the reaper that it hangs from
	flags uint32
}

func (m member) alive() bool { return m.flags&memberZombie == 0 }

// decodeMembers decodes an array of struct procctl_reaper_pidinfo.
func decodeMembers(b []byte) []member {
	ms := make([]member, 0, len(b)/memberSize)
	for ; len(b) >= memberSize; b = b[memberSize:] {
		m := member{
			pid:   int(int32(binary.NativeEndian.Uint32(b))),
			root:  int(int32(binary.NativeEndian.Uint32(b[4:]))),
			flags: binary.NativeEndian.Uint32(b[8:]),
		}
		if m.flags&memberValid != 0 {
			ms = append(ms, m)
		}
	}
	return ms
}

// descend completes a census with the descendants of nested reapers, which hang
// from the same root as their reaper. list returns the list that a process is
// the reaper of; it fails for one that has just gone, which then has none.
//
// The list of a zombie is out of reach until it has been waited for.
func descend(ms []member, list func(pid int) ([]member, error)) []member {
	listed := map[int]bool{}
	for _, m := range ms {
		listed[m.pid] = true
	}
	for i := 0; i < len(ms); i++ {
		if m := ms[i]; m.flags&memberReaper != 0 && m.alive() {
			nested, err := list(m.pid)
			if err != nil {
				continue
			}
			for _, n := range nested {
				if listed[n.pid] {
					continue // no reaper any more: the list is its reaper's
				}
				listed[n.pid] = true
				n.root = m.root
				n.flags &^= memberChild // a child of that reaper, not ours
				ms = append(ms, n)
			}
		}
	}
	return slices.Clip(ms)
}

// listed returns the living members of tree in a census, in ascending order.
// strange says that the notes know nothing of one of them.
func (f *fold) listed(tree *Tree, census []member) (pids []int, strange bool) {
	for _, m := range census {
		if m.root != tree.root || !m.alive() {
			continue
		}
		p := f.living(m.pid)
		known := p != nil && p.tree == tree
		if !known && m.flags&memberExiting != 0 {
			continue // its end has been told
		}
		strange = strange || !known
		pids = append(pids, m.pid)
	}
	slices.Sort(pids)
	return pids, strange
}

// reconcile compares the table with a census taken after all notes had been
// read. It returns the living processes of our trees that are not in the table.
// Those of them that are in armed were watched before the census was taken and
// nothing has announced them since: they are adopted, and reported as Lost. A
// process that two such censuses do not list is gone, and reported as Lost.
// settled says that nothing is left in doubt.
func (f *fold) reconcile(census []member, armed map[int]bool) (unknown []int, settled bool) {
	listed := make(map[int]*Tree, len(census))
	opaque := map[*Tree]bool{} // has descendants that no census shows
	settled = true
	for _, m := range census {
		tree := f.trees[m.root]
		switch {
		case tree == nil || tree.fate == foreign:
			continue
		case !m.alive():
			opaque[tree] = opaque[tree] || m.flags&memberReaper != 0
			continue
		}
		listed[m.pid] = tree
		if p := f.living(m.pid); p != nil && p.tree == tree {
			continue
		}
		if armed[m.pid] {
			f.adopt(m.pid, tree)
			continue
		}
		unknown = append(unknown, m.pid)
		settled = false
	}
	for p := range f.alive() {
		switch {
		case p.tree.fate == foreign || opaque[p.tree] || listed[p.pid] == p.tree:
			p.missing = false
		case p.missing:
			f.lose(p)
		default:
			p.missing = true
			settled = false
		}
	}
	for pid, h := range f.waiting {
		if h.strikes++; h.strikes > 1 {
			delete(f.waiting, pid)
		} else {
			settled = false
		}
	}
	return unknown, settled
}

// adopt takes in a process whose birth was lost, and which is watched.
func (f *fold) adopt(pid int, tree *Tree) {
	f.add(pid, 0, tree).follow()
	tree.put(Event{Kind: Lost, PID: pid})
	f.release(pid)
}
