package kqueue

import (
	"iter"
	"slices"
)

// lanes is how many kqueues follow every process.
//
// One is not enough. While a fork is announced the note of the parent is in
// flux, and the process lock is dropped; another thread of the parent that forks
// meanwhile passes over such a note, and its child is neither announced nor
// followed (kern_event.c, knote_fork). A thread holds one note at a time and looks
// for the first that is free under the process lock. So with a note in each of n
// lanes none is lost while no more than n threads of one process are in
// knote_fork at once. More need as many processors, or threads that lose theirs in
// there. On two processors, with four threads that do nothing but fork, one lane
// loses up to one fork in a thousand, and two have lost none of 90,000. The third
// is for machines with more processors; it costs less than can be measured.
//
// What one lane tells of one number is in order: a birth (perhaps repeated),
// programs, the end. Between lanes there is none but this: all of them have
// queued the birth of a process before it runs (kern_fork.c, do_fork), and its
// end before its number is free (kern_exit.c, exit1). Hence
//
//   - a program or an end is of the process that its lane has announced by that
//     number and not ended: there is no other;
//   - a birth is that of a process which another lane has announced and this one
//     has not, if number and parent are the same;
//   - of a process that has ended nothing more is told once all lanes have been
//     read to where they were when its end was known.
const lanes = 3

// laneSet is a set of lanes.
type laneSet uint8

const allLanes laneSet = 1<<lanes - 1

func (s laneSet) has(lane int) bool { return s&(1<<lane) != 0 }

func (s *laneSet) add(lane int) { *s |= 1 << lane }

// maxGraves bounds the dead that are remembered while the lanes cannot be read
// as fast as they fill, in each of two generations: two megabytes. Lanes are read
// at the same pace, so that what the faster one has told is not forgotten before
// the slower one tells it.
const maxGraves = 1 << 13

// proc is a process that a lane or a census has told of. It is remembered after
// its end until no lane can have more to tell of it.
type proc struct {
	pid, parent int // parent 0: not known
	tree        *Tree
	older       *proc // had this pid before

	born, ended laneSet // lanes that have announced it, and told its end
	execs       [lanes]int
	told        int // the most in execs: a note may stand for several, an Event for one

	dead     bool
	acted    bool // a lane has told of its program or child: all have queued its birth
	watched  bool // by number: its end is told also by lanes that have not announced it
	missing  bool // the last census did not list it
	deadKids bool // a child died, perhaps still a zombie, that it has to wait for
}

// whole reports whether there is nothing to be done for p to be followed by all
// lanes.
func (p *proc) whole() bool { return p.dead || p.watched || p.born == allLanes }

// acts takes in that p runs: lanes which have not announced it soon have lost it.
// Before that they may be about to, and to watch p then would watch it twice.
func (f *fold) acts(p *proc) {
	if !p.acted && !p.whole() {
		f.young[0] = append(f.young[0], p)
	}
	p.acted = true
}

// exec reports whether a program that lane tells of has not been told of yet.
// The lane that has told the most always tells of the next one.
func (p *proc) exec(lane int) bool {
	p.execs[lane]++
	news := p.execs[lane] > p.told && !p.dead
	p.told = max(p.told, p.execs[lane])
	return news
}

// follow says that p is watched by number in all lanes.
func (p *proc) follow() {
	for lane := range lanes {
		if !p.born.has(lane) {
			p.execs[lane] = p.told
		}
	}
	p.watched = true
}

// follow says that the process which has the number pid, if it is known, is
// watched by number in all lanes.
func (f *fold) follow(pid int) {
	if p := f.living(pid); p != nil {
		p.follow()
	}
}

// living returns the process that has the number pid, nil if there is none.
func (f *fold) living(pid int) *proc {
	for p := f.procs[pid]; p != nil; p = p.older {
		if !p.dead {
			return p
		}
	}
	return nil
}

// died reports whether a process that had the number pid has ended lately.
func (f *fold) died(pid int) bool {
	for p := f.procs[pid]; p != nil; p = p.older {
		if p.dead {
			return true
		}
	}
	return false
}

// alive lists the processes that live.
func (f *fold) alive() iter.Seq[*proc] {
	return func(yield func(*proc) bool) {
		for _, p := range f.procs {
			for ; p != nil; p = p.older {
				if !p.dead && !yield(p) {
					return
				}
			}
		}
	}
}

// current returns the process that lane means by pid: announced there, and not
// ended. At most one is.
func (f *fold) current(pid, lane int) *proc {
	for p := f.procs[pid]; p != nil; p = p.older {
		if p.born.has(lane) && !p.ended.has(lane) {
			return p
		}
	}
	return nil
}

// subject returns the process about which lane tells more than a birth: that
// which it has announced, or else one that is watched by number.
func (f *fold) subject(pid, lane int) *proc {
	p := f.current(pid, lane)
	for q := f.procs[pid]; p == nil && q != nil; q = q.older {
		if q.watched && !q.born.has(lane) && !q.ended.has(lane) {
			p = q
		}
	}
	return p
}

// forker returns the process that lane means by pid, the parent in a birth. Its
// end may have overtaken that: it is told where a program of it was queued.
func (f *fold) forker(pid, lane int) *proc {
	if p := f.subject(pid, lane); p != nil {
		return p
	}
	for p := f.procs[pid]; p != nil; p = p.older {
		if p.born.has(lane) {
			return p
		}
	}
	return f.procs[pid]
}

// announced returns the process that n, a birth, tells of, if it is known:
// n is repeated, or another lane, Start or a census was quicker.
func (f *fold) announced(n note) *proc {
	parent := int(n.data)
	if p := f.current(n.pid, n.lane); p != nil {
		if p.parent == parent || p.parent == 0 {
			return p
		}
		f.overdue(p, n.lane)
	}
	var known *proc // the oldest: lanes keep the order
	for p := f.procs[n.pid]; p != nil; p = p.older {
		if !p.born.has(n.lane) && (p.parent == parent || p.parent == 0 && !p.dead) {
			known = p
		}
	}
	if known != nil {
		known.born.add(n.lane)
	}
	return known
}

// overdue takes in that lane has given away p's number and not told p's end.
func (f *fold) overdue(p *proc, lane int) {
	p.ended.add(lane)
	if !p.dead && !p.watched && p.born == p.ended {
		f.lose(p)
	}
}

// turn is called after each batch of notes. drained says that it was the last:
// all that had been queued when it was asked for has been read. Then the
// dead of earlier batches are forgotten, and what acted in an earlier batch has
// been lost by the lanes that have not announced it.
func (f *fold) turn(drained bool) {
	for i := range f.young {
		f.young[i] = slices.DeleteFunc(f.young[i], (*proc).whole)
	}
	if drained {
		f.partial = append(f.partial, f.young[1]...)
		clear(f.young[1])
		f.young = [2][]*proc{f.young[1][:0], f.young[0]}
	}
	if drained || len(f.graves[0]) >= maxGraves {
		for _, p := range f.graves[1] {
			f.drop(p)
		}
		clear(f.graves[1])
		f.graves = [2][]*proc{f.graves[1][:0], f.graves[0]}
	}
}
