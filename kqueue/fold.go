package kqueue

import (
	"maps"
	"slices"
	"syscall"
)

// Flags of a note: sys/sys/event.h.
const (
	noteExit     = 0x80000000
	noteExec     = 0x20000000
	noteTrack    = 0x00000001
	noteTrackErr = 0x00000002
	noteChild    = 0x00000004
)

// note is what the kernel posted about one process.
type note struct {
	lane  int
	pid   int
	flags uint32
	data  int64 // noteChild: the parent; noteExit: the wait status
}

// held are notes about a process whose birth has not been heard of.
type held struct {
	notes   []note
	strikes int // censuses they have outlived
}

// fold turns notes and censuses into trees. It does no input or output, so that
// it can be tested anywhere; the Tracker feeds it and guards it with its mutex.
//
// The kernel repeats notes: the one-shot NOTE_CHILD note of a child keeps
// NOTE_TRACK (kern_event.c, filt_procattach), so that a child which forks before
// that note has been read announces its own child twice. That has two notes in
// the lane then, and the second only tracks; but to watch it by number turns the
// newest, which may be the second, into one that tells its next program or end as
// well. An end told twice is one. A program told twice cannot be told from two.
// Nor can the second note be taken out before: EV_DELETE may hit the first, with
// a program or an end that has not been read.
type fold struct {
	self    int
	tracker *Tracker
	procs   map[int]*proc // by number: the newest, and through it the older ones
	trees   map[int]*Tree // by root
	waiting map[int]*held // by the pid that is not known

	// In two generations: of this batch of notes, or since all had been read, and
	// of before.
	graves [2][]*proc // the dead that are remembered
	young  [2][]*proc // act, and have not been announced by all lanes

	partial []*proc // to be watched by number: the other lanes have lost the birth
	strays  []int   // to be watched no more: the number may have been given away

	starting bool // a Start is under way: a new child may be its
	trackErr bool // the kernel has said that it lost something
	strange  bool // a census has listed what no note has told of
	sweep    bool // there may be zombies to wait for
}

func newFold(self int, t *Tracker) *fold {
	return &fold{
		self: self, tracker: t,
		procs: map[int]*proc{}, trees: map[int]*Tree{}, waiting: map[int]*held{},
	}
}

// apply takes in one note.
func (f *fold) apply(n note) {
	if n.flags&noteTrackErr != 0 {
		f.trackErr = true
	}
	if n.flags&noteChild != 0 {
		f.birth(n)
		return
	}
	if n.flags&(noteExec|noteExit) == 0 || n.pid == f.self {
		return
	}
	p := f.subject(n.pid, n.lane)
	if p == nil {
		if f.procs[n.pid] == nil {
			f.hold(n.pid, n)
		}
		return // of one whose end the lane has told: to watch a zombie repeats it
	}
	if n.flags&noteExec != 0 {
		f.acts(p)
		if p.exec(n.lane) {
			p.tree.put(Event{Kind: Exec, PID: n.pid})
		}
	}
	if n.flags&noteExit != 0 {
		f.death(p, n.lane, syscall.WaitStatus(n.data))
	}
}

func (f *fold) hold(pid int, n note) {
	h := f.waiting[pid]
	if h == nil {
		h = &held{}
		f.waiting[pid] = h
	}
	h.notes = append(h.notes, n)
}

// birth takes in a NOTE_CHILD.
func (f *fold) birth(n note) {
	if p := f.announced(n); p != nil {
		p.parent = int(n.data)
		return
	}
	if int(n.data) == f.self {
		f.root(n.pid).born.add(n.lane)
		f.release(n.pid)
		return
	}
	parent := f.forker(int(n.data), n.lane)
	if parent == nil {
		f.hold(int(n.data), n)
		return
	}
	f.acts(parent)
	p := f.add(n.pid, parent.pid, parent.tree)
	p.born.add(n.lane)
	p.tree.put(Event{Kind: Fork, PID: p.pid, Parent: p.parent})
	f.release(n.pid)
}

// root makes the tree of a child of our own.
func (f *fold) root(pid int) *proc {
	tree := newTree(f.tracker, pid)
	if !f.starting {
		tree.fate = foreign
	}
	f.trees[pid] = tree
	tree.put(Event{Kind: Fork, PID: pid, Parent: f.self})
	return f.add(pid, f.self, tree)
}

func (f *fold) add(pid, parent int, tree *Tree) *proc {
	p := &proc{pid: pid, parent: parent, tree: tree, older: f.procs[pid]}
	f.procs[pid] = p
	tree.live++
	return p
}

// release applies the notes that waited for pid to be known.
func (f *fold) release(pid int) {
	h := f.waiting[pid]
	if h == nil {
		return
	}
	delete(f.waiting, pid)
	for _, n := range h.notes {
		f.apply(n)
	}
}

// death takes in that lane has told the end of p. The first lane counts.
func (f *fold) death(p *proc, lane int, status syscall.WaitStatus) {
	p.ended.add(lane)
	if !p.dead {
		f.bury(p)
		p.tree.put(Event{Kind: Exit, PID: p.pid, Status: status})
	}
}

// lose takes in that p is gone, and that no lane has told its end.
func (f *fold) lose(p *proc) {
	f.bury(p)
	p.tree.put(Event{Kind: Lost, PID: p.pid})
}

// bury counts p among the dead.
func (f *fold) bury(p *proc) {
	p.dead = true
	p.tree.live--
	f.graves[0] = append(f.graves[0], p)
	// Whose zombie is it? Its parent's while that lives, ours otherwise; and the
	// parent's zombies become ours when it ends.
	if parent := f.living(p.parent); parent != nil {
		parent.deadKids = true
	} else {
		f.sweep = true
	}
	if p.deadKids {
		f.sweep = true
	}
}

// drop forgets p, which is dead. What was watched by number and did not end in
// all lanes was perhaps another process already.
func (f *fold) drop(p *proc) {
	if newest := f.procs[p.pid]; newest != p {
		for newest.older != p {
			newest = newest.older
		}
		newest.older = p.older
	} else if f.procs[p.pid] = p.older; p.older == nil {
		delete(f.procs, p.pid)
	}
	if p.watched && p.ended != allLanes && f.living(p.pid) == nil {
		f.strays = append(f.strays, p.pid)
	}
}

// claim says that pid is what Start has started, and ends the Start: other
// children that were born meanwhile are somebody else's. pid 0 claims none.
func (f *fold) claim(pid int) *Tree {
	var mine *Tree
	if pid != 0 {
		mine = f.trees[pid]
		if mine == nil || mine.fate != undecided {
			mine = f.root(pid).tree
			f.release(pid)
		}
		mine.fate = ours
	}
	for _, tree := range f.trees {
		if tree.fate == undecided {
			tree.fate = foreign
			tree.queue = nil
		}
	}
	f.starting = false
	return mine
}

// members returns the living processes of tree in ascending order.
func (f *fold) members(tree *Tree) []int {
	var pids []int
	for p := range f.alive() {
		if p.tree == tree {
			pids = append(pids, p.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// quiet returns the trees of ours in which, by the notes, nothing is alive, and
// forgets those of others.
func (f *fold) quiet() []*Tree {
	var q []*Tree
	for root, tree := range f.trees {
		switch {
		case tree.live > 0 || tree.fate == undecided:
		case tree.fate == foreign:
			delete(f.trees, root)
		default:
			q = append(q, tree)
		}
	}
	return q
}

// forget takes out a tree that has been confirmed to be empty.
func (f *fold) forget(tree *Tree) {
	if f.trees[tree.root] == tree {
		delete(f.trees, tree.root)
	}
}

// doubtful reports whether a census has to be compared with the table.
func (f *fold) doubtful() bool { return f.trackErr || f.strange || len(f.waiting) > 0 }

// pending returns the pids that notes wait for.
func (f *fold) pending() []int { return slices.Collect(maps.Keys(f.waiting)) }
