package kqueue

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

const simSelf = 1

// sim is a kernel: processes that fork, exit and are waited for, notes that can
// be lost, repeated and swapped, numbers that are used again.
type sim struct {
	rng    *rand.Rand
	procs  map[int]*simProc
	queue  []note
	next   int // where the search for a free pid goes on
	limit  int // pids are below it
	lose   float64
	silent float64 // share of the losses without NOTE_TRACKERR
	repeat float64
	swap   float64
}

type simProc struct {
	pid, parent, root int
	zombie, watched   bool
	status            syscall.WaitStatus
}

func newSim(seed uint64) *sim {
	return &sim{
		rng:   rand.New(rand.NewPCG(seed, 1)),
		procs: map[int]*simProc{simSelf: {pid: simSelf, watched: true}},
		next:  2, limit: 4000,
	}
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

// pid returns a free number, which no sub-tree is called by either
// (sys/kern/kern_exit.c, PROC_ID_REAP).
func (s *sim) pid() int {
	for {
		if s.next++; s.next >= s.limit {
			s.next = 2
		}
		used := s.procs[s.next] != nil
		for _, p := range s.procs {
			used = used || p.root == s.next
		}
		if !used {
			return s.next
		}
	}
}

func (s *sim) fork(parent int) int {
	pp := s.procs[parent]
	p := &simProc{pid: s.pid(), parent: parent, root: pp.root}
	if parent == simSelf {
		p.root = p.pid
	}
	s.procs[p.pid] = p
	if !pp.watched {
		return p.pid
	}
	if parent != simSelf && s.chance(s.lose) {
		if !s.chance(s.silent) {
			s.queue = append(s.queue, note{pid: parent, flags: noteTrackErr})
			if s.chance(0.5) { // the first of the two notes could be made
				s.queue = append(s.queue, note{pid: p.pid, flags: noteChild, data: int64(parent)})
			}
		}
		return p.pid
	}
	p.watched = true
	child := note{pid: p.pid, flags: noteChild, data: int64(parent)}
	s.queue = append(s.queue, child)
	if s.chance(s.repeat) {
		s.queue = append(s.queue, child)
	}
	return p.pid
}

func (s *sim) exec(pid int) {
	if s.procs[pid].watched {
		s.queue = append(s.queue, note{pid: pid, flags: noteExec})
	}
}

func (s *sim) exit(pid int, status syscall.WaitStatus) {
	p := s.procs[pid]
	for _, c := range s.procs {
		if c.parent == pid {
			c.parent = simSelf
		}
	}
	if p.watched {
		s.queue = append(s.queue, note{pid: pid, flags: noteExit, data: int64(status)})
	}
	p.zombie, p.watched, p.status = true, false, status
}

// alive returns the living members of root's sub-tree in ascending order.
func (s *sim) alive(root int) []int {
	var pids []int
	for pid, p := range s.procs {
		if p.root == root && !p.zombie {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// exists counts the members of root's sub-tree, zombies included.
func (s *sim) exists(root int) int {
	n := 0
	for _, p := range s.procs {
		if p.root == root {
			n++
		}
	}
	return n
}

func (s *sim) poll(notes []note, _ time.Duration) (int, error) {
	n := copy(notes, s.queue)
	s.queue = slices.Delete(s.queue, 0, n)
	for i := 1; i < n; i++ {
		if notes[i].pid != notes[i-1].pid && s.chance(s.swap) {
			notes[i], notes[i-1] = notes[i-1], notes[i]
		}
	}
	return n, nil
}

func (s *sim) wake() error  { return nil }
func (s *sim) close() error { return nil }

func (s *sim) watch(pid int, on bool) error {
	p := s.procs[pid]
	if p == nil {
		return syscall.ESRCH
	}
	if on && p.zombie {
		s.queue = append(s.queue, note{pid: pid, flags: noteExit, data: int64(p.status)})
		return nil
	}
	p.watched = on
	return nil
}

func (s *sim) census() ([]member, error) {
	var ms []member
	for _, p := range s.procs {
		if p.pid == simSelf {
			continue
		}
		m := member{pid: p.pid, root: p.root, flags: memberValid}
		if p.parent == simSelf {
			m.flags |= memberChild
		}
		if p.zombie {
			m.flags |= memberZombie
		}
		ms = append(ms, m)
	}
	return ms, nil
}

func (s *sim) wait(pid int, keep bool) (bool, error) {
	p := s.procs[pid]
	if p == nil || p.parent != simSelf {
		return true, nil
	}
	if p.zombie && !keep {
		delete(s.procs, pid)
	}
	return p.zombie, nil
}

func (s *sim) kill(root int, sig syscall.Signal) error {
	pids := s.alive(root)
	if len(pids) == 0 {
		return syscall.ESRCH
	}
	for _, pid := range pids {
		s.exit(pid, syscall.WaitStatus(sig))
	}
	return nil
}
