package tenant

import "syscall"

// request is what the run loop asks of the stub. Exactly one field is set.
type request struct {
	setup   *setupRequest // with the detached trees of the mounts, in order, and the network
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
	filter   string // of system calls, as the kernel takes it; none when empty
}

type startRequest struct {
	args, env []string
	dir, user string
	terminal  bool
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
			network: d.flag(), cgroup: d.flag(), shmSize: d.num(), filter: d.str(),
		}
	case askStart:
		q.start = &startRequest{args: d.list(), env: d.list(), dir: d.str(), user: d.str(), terminal: d.flag()}
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
