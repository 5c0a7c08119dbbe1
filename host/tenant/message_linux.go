package tenant

import (
	"syscall"

	"github.com/joyboyid/xc/site/control"
)

// request is what the run loop asks of the stub. Exactly one field is set.
type request struct {
	setup   *setupRequest // with the detached trees of the mounts, in order, the files to join by, and the network
	start   *startRequest // with the files for 0, 1, 2, and the group's
	killAll bool
	pty     bool
}

// setupRequest is what the stub needs of a Config.
type setupRequest struct {
	root     Root
	readOnly bool
	mounts   []string // destinations
	hostname string
	network  bool // the last descriptor is a network namespace to enter
	cgroup   bool // a cgroup namespace of its own
	shmSize  int
	join     int    // so many files of cgroups to join come after the mounts
	limited  bool   // trees have a group of their own, apart from the stub's
	filter   string // of system calls, as the kernel takes it; none when empty
}

type startRequest struct {
	args, env []string
	dir, user string
	terminal  bool
	ulimits   []control.Ulimit
}

// message is what the stub says: an answer, or a report of ended processes.
type message struct {
	answer bool
	err    *Error
	pid    int // of what was started, in the tenant's pid namespace

	exits []exit // of what was started; orphans are reaped unnamed
	none  bool   // nothing lives in the pid namespace but the stub
}

type exit struct {
	pid    int
	status syscall.WaitStatus
}

// Kinds of requests.
const (
	askSetup = iota
	askStart
	askKill
	askPty
)

func (q *request) encode(e *encoder) {
	switch {
	case q.setup != nil:
		e.num(askSetup)
		q.setup.encode(e)
	case q.start != nil:
		e.num(askStart)
		s := q.start
		e.list(s.args)
		e.list(s.env)
		e.str(s.dir)
		e.str(s.user)
		e.flag(s.terminal)
		e.num(len(s.ulimits))
		for _, u := range s.ulimits {
			e.str(u.Name)
			e.num(int(u.Soft))
			e.num(int(u.Hard))
		}
	case q.killAll:
		e.num(askKill)
	case q.pty:
		e.num(askPty)
	}
}

func (s *setupRequest) encode(e *encoder) {
	r := s.root
	e.str(r.Kind)
	e.list(r.Lower)
	e.str(r.Upper)
	e.str(r.Work)
	e.flag(r.Volatile)
	e.str(r.Dir)
	e.flag(s.readOnly)
	e.list(s.mounts)
	e.str(s.hostname)
	e.flag(s.network)
	e.flag(s.cgroup)
	e.num(s.shmSize)
	e.num(s.join)
	e.flag(s.limited)
	e.str(s.filter)
}

func (q *request) decode(b []byte) error {
	d := decoder{rest: b}
	switch d.num() {
	case askSetup:
		q.setup = &setupRequest{
			root: Root{
				Kind: d.str(), Lower: d.list(), Upper: d.str(), Work: d.str(), Volatile: d.flag(), Dir: d.str(),
			},
			readOnly: d.flag(), mounts: d.list(), hostname: d.str(),
			network: d.flag(), cgroup: d.flag(), shmSize: d.num(),
			join: d.num(), limited: d.flag(), filter: d.str(),
		}
	case askStart:
		q.start = &startRequest{args: d.list(), env: d.list(), dir: d.str(), user: d.str(), terminal: d.flag()}
		if n := d.count(); n > 0 {
			q.start.ulimits = make([]control.Ulimit, n)
			for i := range q.start.ulimits {
				q.start.ulimits[i] = control.Ulimit{Name: d.str(), Soft: int64(d.num()), Hard: int64(d.num())}
			}
		}
	case askKill:
		q.killAll = true
	case askPty:
		q.pty = true
	default:
		d.fail()
	}
	return d.end()
}

func (m *message) encode(e *encoder) {
	e.flag(m.answer)
	if m.answer {
		e.num(m.pid)
		e.flag(m.err != nil)
		if m.err != nil {
			e.str(m.err.Op)
			e.str(m.err.Object)
			e.num(int(m.err.Errno))
			e.str(m.err.Msg)
		}
		return
	}
	e.flag(m.none)
	e.num(len(m.exits))
	for _, x := range m.exits {
		e.num(x.pid)
		e.num(int(x.status))
	}
}

func (m *message) decode(b []byte) error {
	d := decoder{rest: b}
	if m.answer = d.flag(); m.answer {
		m.pid = d.num()
		if d.flag() {
			m.err = &Error{Op: d.str(), Object: d.str(), Errno: syscall.Errno(d.num()), Msg: d.str()}
		}
		return d.end()
	}
	m.none = d.flag()
	if n := d.count(); n > 0 {
		m.exits = make([]exit, n)
		for i := range m.exits {
			m.exits[i] = exit{d.num(), syscall.WaitStatus(d.num())}
		}
	}
	return d.end()
}
