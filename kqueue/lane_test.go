package kqueue

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// merge is a fold whose tree has main, 2, which all lanes have announced.
type merge struct {
	*fold
	tree *Tree
}

func newMerge() *merge {
	m := &merge{fold: newFold(simSelf, nil)}
	m.starting = true
	for lane := range lanes {
		m.birth(lane, 2, simSelf)
	}
	m.tree = m.claim(2)
	return m
}

func (m *merge) birth(lane, pid, parent int) {
	m.apply(note{lane: lane, pid: pid, flags: noteChild, data: int64(parent)})
}

func (m *merge) exec(lane, pid int) { m.apply(note{lane: lane, pid: pid, flags: noteExec}) }

func (m *merge) exit(lane, pid int, code int64) {
	m.apply(note{lane: lane, pid: pid, flags: noteExit, data: code << 8})
}

// told returns the events after main's birth.
func (m *merge) told(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var lines []string
	for {
		e, err := m.tree.Next(ctx)
		if err != nil {
			return lines[1:]
		}
		lines = append(lines, e.String())
	}
}

func TestLanes(t *testing.T) {
	for _, c := range []struct {
		name string
		tell func(m *merge)
		want string
	}{
		{"all is told by both", func(m *merge) {
			for lane := range lanes {
				m.birth(lane, 3, 2)
				m.exec(lane, 3)
				m.exit(lane, 3, 7)
			}
		}, "fork 3 of 2, exec 3, exit 3 status 7"},
		{"in step", func(m *merge) {
			for _, tell := range []func(lane int){
				func(lane int) { m.birth(lane, 3, 2) }, func(lane int) { m.exec(lane, 3) }, func(lane int) { m.exit(lane, 3, 7) },
			} {
				for lane := range lanes {
					tell(lane)
				}
			}
		}, "fork 3 of 2, exec 3, exit 3 status 7"},
		{"a birth lost in the first", func(m *merge) {
			m.birth(1, 3, 2)
			m.exec(1, 3)
			m.birth(1, 4, 3)
			m.exit(1, 3, 7)
			m.exit(1, 4, 0)
		}, "fork 3 of 2, exec 3, fork 4 of 3, exit 3 status 7, exit 4 status 0"},
		{"a birth repeated", func(m *merge) {
			for range 2 {
				m.birth(0, 3, 2)
			}
			for range 2 {
				m.birth(1, 3, 2)
			}
			m.exit(1, 3, 7)
			m.exit(0, 3, 7)
		}, "fork 3 of 2, exit 3 status 7"},
		{"a number used again, the second lane behind", func(m *merge) {
			for lane := range lanes {
				m.birth(lane, 3, 2)
				m.exit(lane, 3, 1)
				m.birth(lane, 3, 2)
				m.exit(lane, 3, 2)
			}
		}, "fork 3 of 2, exit 3 status 1, fork 3 of 2, exit 3 status 2"},
		{"an end told late is not that of the next with the number", func(m *merge) {
			m.birth(0, 3, 2)
			m.birth(1, 3, 2)
			m.exit(0, 3, 1)
			m.turn(true)
			m.birth(0, 3, 2)
			m.exit(1, 3, 1)
			m.birth(1, 3, 2)
			m.exit(1, 3, 2)
			m.exit(0, 3, 2)
		}, "fork 3 of 2, exit 3 status 1, fork 3 of 2, exit 3 status 2"},
		{"an end told late, the next lost in that lane", func(m *merge) {
			m.birth(0, 3, 2)
			m.birth(1, 3, 2)
			m.exit(0, 3, 1)
			m.birth(0, 3, 2)
			m.exit(1, 3, 1)
			m.exit(0, 3, 2)
		}, "fork 3 of 2, exit 3 status 1, fork 3 of 2, exit 3 status 2"},
		{"a number used again, each life lost in one lane", func(m *merge) {
			m.birth(0, 4, 2)
			m.birth(1, 4, 2)
			m.birth(0, 3, 2)
			m.birth(1, 3, 4)
			m.exit(0, 3, 1)
			m.exit(1, 3, 2)
		}, "fork 4 of 2, fork 3 of 2, fork 3 of 4, exit 3 status 1, exit 3 status 2"},
		{"an end that no lane tells", func(m *merge) {
			for lane := range lanes {
				m.birth(lane, 4, 2)
				m.birth(lane, 3, 2)
			}
			for lane := range lanes {
				m.birth(lane, 3, 4)
			}
		}, "fork 4 of 2, fork 3 of 2, fork 3 of 4, lost 3"},
		{"two programs, one note in the first lane", func(m *merge) {
			m.exec(0, 2)
			m.exec(1, 2)
			m.exec(1, 2)
		}, "exec 2, exec 2"},
		{"three programs, notes in both lanes stand for two", func(m *merge) {
			m.exec(0, 2) // the first and second
			m.exec(1, 2) // the first
			m.exec(1, 2) // the second and third
			m.exec(0, 2) // the third
		}, "exec 2, exec 2"},
		{"a program told late", func(m *merge) {
			m.exec(0, 2)
			m.exit(0, 2, 0)
			m.exec(1, 2)
			m.exec(1, 2)
			m.exit(1, 2, 0)
		}, "exec 2, exit 2 status 0"},
		{"a program after the other lane has lost the birth and it is watched", func(m *merge) {
			m.birth(0, 3, 2)
			m.exec(0, 3)
			m.follow(3)
			m.exec(1, 3)
			m.exec(0, 3)
			m.exit(1, 3, 7)
			m.exit(0, 3, 7)
		}, "fork 3 of 2, exec 3, exec 3, exit 3 status 7"},
		{"a birth after the end of the parent", func(m *merge) {
			for lane := range lanes {
				m.apply(note{lane: lane, pid: 2, flags: noteExec | noteExit})
				m.turn(false)
				m.birth(lane, 3, 2)
			}
		}, "exec 2, exit 2 status 0, fork 3 of 2"},
		{"a birth lost in both, the child watched", func(m *merge) {
			census := []member{{pid: 2, root: 2}, {pid: 3, root: 2}}
			unknown, _ := m.reconcile(census, nil)
			m.birth(1, 4, 3)
			m.reconcile(append(census, member{pid: 4, root: 2}), map[int]bool{unknown[0]: true})
			m.exit(1, 3, 7)
			m.exit(0, 3, 7)
			m.exit(1, 4, 7)
		}, "lost 3, fork 4 of 3, exit 3 status 7, exit 4 status 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMerge()
			c.tell(m)
			if got := strings.Join(m.told(t), ", "); got != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
			lives := len(m.members(m.tree))
			if m.tree.live != lives {
				t.Errorf("%d live, the tree says %d", lives, m.tree.live)
			}
			m.turn(true)
			m.turn(true)
			if n := len(m.procs); n != lives || len(m.waiting) > 0 {
				t.Errorf("%d numbers are remembered and %d waited for, %d processes live", n, len(m.waiting), lives)
			}
		})
	}
}

// The end may come before what Start has started is known by number, which an
// earlier process had of whom not all is told.
func TestStartGetsANumberAgain(t *testing.T) {
	m := newMerge()
	m.birth(0, 3, 2)
	m.starting = true
	tree := m.claim(3)
	m.follow(3)
	m.exit(0, 3, 1)
	m.birth(0, 3, simSelf)
	for lane := 1; lane < lanes; lane++ {
		m.birth(lane, 3, 2)
		m.exit(lane, 3, 1)
		m.birth(lane, 3, simSelf)
	}
	if got, want := strings.Join(m.told(t), ", "), "fork 3 of 2, exit 3 status 1"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	m.tree = tree
	m.exit(1, 3, 2)
	m.exit(0, 3, 2)
	if got, want := strings.Join(m.told(t), ", "), "exit 3 status 2"; got != want {
		t.Errorf("told %q of what was started, want %q", got, want)
	}
}

// What a lane has lost is watched in it once all must have announced it, and let
// go when that was too late.
func TestLostInOneLane(t *testing.T) {
	m := newMerge()
	m.birth(0, 3, 2)
	for range 3 {
		m.turn(true)
	}
	if len(m.partial) > 0 {
		t.Error("to be watched before it has run")
	}
	m.exec(0, 3)
	m.turn(true)
	if len(m.partial) > 0 {
		t.Error("to be watched while the other lane has not been read")
	}
	m.turn(false)
	if len(m.partial) > 0 {
		t.Error("to be watched while the other lane has not been read to its end")
	}
	m.turn(true)
	if len(m.partial) != 1 || m.partial[0].pid != 3 {
		t.Fatalf("to be watched: %v", m.partial)
	}
	m.partial[0].follow()
	m.partial = nil
	m.exec(0, 3)
	m.exit(0, 3, 0)
	for range 2 {
		m.turn(true)
	}
	if !slices.Equal(m.strays, []int{3}) || len(m.partial) > 0 {
		t.Errorf("to be let go: %v; to be watched: %v", m.strays, m.partial)
	}
}

// A process may be watched whose number has become another's that is followed.
func TestStrayThatIsFollowed(t *testing.T) {
	m := newMerge()
	m.birth(0, 3, 2)
	m.follow(3)
	m.exit(0, 3, 0)
	for lane := range lanes {
		m.birth(lane, 3, 2)
	}
	for range 2 {
		m.turn(true)
	}
	if len(m.strays) > 0 {
		t.Errorf("to be let go: %v", m.strays)
	}
}

// However long the lanes are not read to their end, the dead take a bounded
// room, and one that lags behind by less tells nothing again.
func TestGravesAreBounded(t *testing.T) {
	const n = 10 * maxGraves
	m := newMerge()
	m.tree.end(syscall.EPIPE) // nobody reads
	for i := range n {
		m.birth(0, 3+i, 2)
		m.exit(0, 3+i, 0)
		if late := i - maxGraves/2; late >= 0 {
			m.birth(1, 3+late, 2)
			if m.tree.live != 1 {
				t.Fatalf("%d is born again", 3+late)
			}
			m.exit(1, 3+late, 0)
		}
		if m.turn(false); len(m.procs) > 2*maxGraves+2 {
			t.Fatalf("%d are remembered", len(m.procs))
		}
	}
	m.turn(true)
	m.turn(true)
	if len(m.procs) != 1 {
		t.Errorf("%d are remembered of one that lives", len(m.procs))
	}
}
