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
	pid   int
	flags uint32
	data  int64 // noteChild: the parent; noteExit: the wait status
}

// proc is a process that the notes say is alive.
type proc struct {
	pid, parent int
	tree        *Tree
	missing     bool  // the last census did not list it
	deadKids    bool  // a child died, perhaps still a zombie, that it has to wait for
	older       *proc // had this pid before; the note of its end is still to come
}

// grave is what is remembered of a process that has just ended.
type grave struct {
	parent int
	tree   *Tree
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
// that note has been read announces its own child twice.
type fold struct {
	self    int
	tracker *Tracker
	procs   map[int]*proc
	trees   map[int]*Tree // by root
	waiting map[int]*held // by the pid that is not known
	graves  [2]map[int]grave

	starting bool // a Start is under way: a new child may be its
	trackErr bool // the kernel has said that it lost something
	strange  bool // a census has listed what no note has told of
	sweep    bool // there may be zombies to wait for
}

func newFold(self int, t *Tracker) *fold {
	return &fold{
		self: self, tracker: t,
		procs: map[int]*proc{}, trees: map[int]*Tree{}, waiting: map[int]*held{},
		graves: [2]map[int]grave{{}, {}},
	}
}

// turn is called after each batch of notes. Graves are kept for two batches:
// long enough for notes that overtook one another, too short for a number to
// come round again.
func (f *fold) turn() {
	if len(f.graves[0])+len(f.graves[1]) > 0 {
		f.graves = [2]map[int]grave{{}, f.graves[0]}
	}
}

func (f *fold) grave(pid int) (grave, bool) {
	if g, ok := f.graves[0][pid]; ok {
		return g, true
	}
	g, ok := f.graves[1][pid]
	return g, ok
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
	p := f.procs[n.pid]
	if p == nil {
		if _, dead := f.grave(n.pid); !dead {
			f.hold(n.pid, n)
		}
		return
	}
	if n.flags&noteExec != 0 {
		p.tree.put(Event{Kind: Exec, PID: n.pid})
	}
	if n.flags&noteExit != 0 {
		f.death(n.pid, syscall.WaitStatus(n.data))
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
	pid, parent := n.pid, int(n.data)
	if p := f.procs[pid]; p != nil && (p.parent == parent || p.parent == 0) {
		p.parent = parent
		p.tree.announced = p.tree.announced || parent == f.self
		return // a repetition, or Start or a census was quicker than the note
	}
	if g, dead := f.grave(pid); dead && g.parent == parent {
		return
	}
	if parent == f.self {
		f.root(pid).announced = true
		return
	}
	var tree *Tree
	if p := f.procs[parent]; p != nil {
		tree = p.tree
	} else if g, ok := f.grave(parent); ok {
		tree = g.tree
	} else {
		f.hold(parent, n)
		return
	}
	f.add(pid, parent, tree)
	tree.put(Event{Kind: Fork, PID: pid, Parent: parent})
	f.release(pid)
}

// root makes the tree of a child of our own.
func (f *fold) root(pid int) *Tree {
	tree := newTree(f.tracker, pid)
	if !f.starting {
		tree.fate = foreign
	}
	f.trees[pid] = tree
	f.add(pid, f.self, tree)
	tree.put(Event{Kind: Fork, PID: pid, Parent: f.self})
	f.release(pid)
	return tree
}

func (f *fold) add(pid, parent int, tree *Tree) {
	f.procs[pid] = &proc{pid: pid, parent: parent, tree: tree, older: f.procs[pid]}
	tree.live++
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

// death takes in the end of the longest known process with number pid.
func (f *fold) death(pid int, status syscall.WaitStatus) {
	p := f.remove(pid)
	p.tree.put(Event{Kind: Exit, PID: pid, Status: status})
}

// remove takes the longest known process with number pid out of the table.
func (f *fold) remove(pid int) *proc {
	p := f.procs[pid]
	if p.older == nil {
		delete(f.procs, pid)
	} else {
		newer := p
		for p = p.older; p.older != nil; p = p.older {
			newer = p
		}
		newer.older = nil
	}
	p.tree.live--
	f.graves[0][pid] = grave{p.parent, p.tree}
	// Whose zombie is it? Its parent's while that lives, ours otherwise; and the
	// parent's zombies become ours when it ends.
	if parent := f.procs[p.parent]; parent != nil {
		parent.deadKids = true
	} else {
		f.sweep = true
	}
	if p.deadKids {
		f.sweep = true
	}
	return p
}

// claim says that pid is what Start has started, and ends the Start: other
// children that were born meanwhile are somebody else's. pid 0 claims none.
func (f *fold) claim(pid int) *Tree {
	var mine *Tree
	if pid != 0 {
		mine = f.trees[pid]
		if mine == nil || mine.fate != undecided {
			mine = f.root(pid)
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
	for pid, p := range f.procs {
		if p.tree == tree {
			pids = append(pids, pid)
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
