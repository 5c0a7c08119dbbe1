package site

import "context"

// Site is a place a container lives in: its two stacks.
//
// Its life, in the order in which a crash may cut it off at any point:
//
//  1. Held.Acquire makes what a stopped container keeps.
//  2. Run.Acquire makes what a running one needs. The journal now names
//     everything there is to give back, whoever does it.
//  3. Run.Unwind after every stop; then 2 again, for the next start.
//  4. Held.Unwind when the container is removed.
//
// After a crash a process that never saw the first makes a Site with the same
// id, journal and table, and goes on with Unwind: a site holds no state but
// its journal's. [Journal.Sites] lists the sites that have something left.
//
// A Site may be used by several goroutines; each stack does one thing at a
// time.
type Site struct {
	ID   string
	Held *Stack
	Run  *Stack
	// Trace, when set, is called before and after each plan, acquisition and
	// undo with the name of the point (see [Stack.Points]). Crash tests kill
	// the process there. Set it before the site is used.
	Trace func(point string)
}

// New returns the site id, whose undos are kept in j and done by table.
func New(id string, j Journal, table Table) *Site {
	s := &Site{ID: id}
	s.Held = &Stack{site: s, name: Held, journal: j, table: table}
	s.Run = &Stack{site: s, name: Run, journal: j, table: table}
	return s
}

// Unwind gives back everything the site has: the run stack, then what it
// held. It carries on past failures, which stay journaled.
func (s *Site) Unwind(ctx context.Context) error {
	if err := s.Run.Unwind(ctx); err != nil {
		// What runs lives in what is held (mounts in a root): taking the
		// ground away below something that could not be removed is no help.
		return err
	}
	return s.Held.Unwind(ctx)
}
