package kqueue

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

const simSelf = 1

// sim is a kernel: processes that fork, exit and are waited for, notes that each
// lane can lose, repeat, merge and swap, lanes that are read at different paces,
// numbers that are used again.
type sim struct {
	rng    *rand.Rand
	procs  map[int]*simProc
	queue  [lanes][]note
	next   int // where the search for a free pid goes on
	limit  int // pids are below it
	lose   float64
	silent float64 // share of the losses without NOTE_TRACKERR
	repeat float64
	swap   float64
	skew   float64 // share of the looks at a lane that see only a part of it
	spare  bool    // no birth is lost in all lanes
	again  float64 // share of the births that get the lowest free number
	forks  int
	execs  int
}

type simProc struct {
	pid, parent, root int
	zombie            bool
	watched           laneSet
	status            syscall.WaitStatus
}

func newSim(seed uint64) *sim {
	return &sim{
		rng:   rand.New(rand.NewPCG(seed, 1)),
		procs: map[int]*simProc{simSelf: {pid: simSelf, watched: allLanes}},
		next:  2, limit: 4000,
	}
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

// pid returns a free number, which no sub-tree is called by either
// (sys/kern/kern_exit.c, PROC_ID_REAP).
func (s *sim) pid() int {
	if s.chance(s.again) {
		s.next = 1
	}
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
	s.forks++
	for lane := range lanes {
		if pp.watched.has(lane) {
			s.announce(lane, p, s.spare && p.watched == 0 && pp.watched>>(lane+1) == 0)
		}
	}
	return p.pid
}

func (s *sim) announce(lane int, p *simProc, spare bool) {
	child := note{pid: p.pid, flags: noteChild, data: int64(p.parent)}
	if p.parent != simSelf && !spare && s.chance(s.lose) {
		if !s.chance(s.silent) {
			s.post(lane, note{pid: p.parent, flags: noteTrackErr})
			if s.chance(0.5) { // the first of the two notes could be made
				s.post(lane, child)
			}
		}
		return
	}
	p.watched.add(lane)
	s.post(lane, child)
	if s.chance(s.repeat) {
		s.post(lane, child)
	}
}

func (s *sim) post(lane int, n note) {
	n.lane = lane
	s.queue[lane] = append(s.queue[lane], n)
}

// tell posts what happened to p in the lanes that watch it. A note which has not
// been read takes it in.
func (s *sim) tell(p *simProc, n note) {
	for lane := range lanes {
		if !p.watched.has(lane) {
			continue
		}
		i := slices.IndexFunc(s.queue[lane], func(q note) bool { return q.pid == p.pid && q.flags&noteExec != 0 && q.flags&noteExit == 0 })
		if i < 0 {
			s.post(lane, n)
		} else {
			s.queue[lane][i].flags |= n.flags
			s.queue[lane][i].data = n.data
		}
	}
}

// queued is how many notes are to be read.
func (s *sim) queued() (n int) {
	for _, q := range s.queue {
		n += len(q)
	}
	return n
}

func (s *sim) exec(pid int) {
	p := s.procs[pid]
	s.execs++
	s.tell(p, note{pid: pid, flags: noteExec})
}

func (s *sim) exit(pid int, status syscall.WaitStatus) {
	p := s.procs[pid]
	for _, c := range s.procs {
		if c.parent == pid {
			c.parent = simSelf
		}
	}
	s.tell(p, note{pid: pid, flags: noteExit, data: int64(status)})
	p.zombie, p.watched, p.status = true, 0, status
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

func (s *sim) poll(notes []note, _ time.Duration) (n int, drained bool, err error) {
	drained = true
	for lane := range lanes {
		k, all := s.read(lane, notes[n:][:len(notes)/lanes])
		n += k
		drained = drained && all
	}
	return n, drained, nil
}

// read reads from a lane. Notes about different processes may be swapped. As with
// kevent(2), only a lane that gives fewer notes than it is asked for is known to
// hold no more.
func (s *sim) read(lane int, notes []note) (n int, all bool) {
	if s.chance(s.skew) {
		notes = notes[:s.rng.IntN(len(notes))]
	}
	n = copy(notes, s.queue[lane])
	s.queue[lane] = slices.Delete(s.queue[lane], 0, n)
	for i := 1; i < n; i++ {
		if notes[i].pid != notes[i-1].pid && s.chance(s.swap) {
			notes[i], notes[i-1] = notes[i-1], notes[i]
		}
	}
	return n, n < len(notes)
}

func (s *sim) wake() error  { return nil }
func (s *sim) close() error { return nil }

func (s *sim) watch(pid int, on bool) error {
	p := s.procs[pid]
	if p == nil {
		return syscall.ESRCH
	}
	for lane := range lanes {
		if on && p.zombie {
			s.post(lane, note{pid: pid, flags: noteExit, data: int64(p.status)})
		}
	}
	if p.watched = 0; on && !p.zombie {
		p.watched = allLanes
	}
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
