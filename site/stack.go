package site

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrUnknownKind is reported for an undo that the table does not know, such
// as one journaled by a later release. It stays journaled.
var ErrUnknownKind = errors.New("unknown kind of undo")

// Stack is a journaled stack of undos. It is made by [New] and safe for use
// by several goroutines.
type Stack struct {
	site    *Site
	name    string
	journal Journal
	table   Table

	mu sync.Mutex // one Plan, Acquire or Unwind at a time
}

// Plan journals undos, in one transaction, before the things they give back
// are acquired.
func (s *Stack) Plan(ctx context.Context, undos ...Undo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.planLocked(ctx, undos)
}

// Push journals one undo, for a thing that gets its name late. Call it
// before acquiring the thing: a crash in between then costs an undo with
// nothing to do, never a leak.
func (s *Stack) Push(ctx context.Context, u Undo) error { return s.Plan(ctx, u) }

// Acquire journals the undos of all steps in one transaction and then does
// the steps in order. When one fails the whole stack is unwound, also what
// was there before, even if ctx is done by then; the error is the cause
// joined with what could not be undone.
func (s *Stack) Acquire(ctx context.Context, steps []Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	undos := make([]Undo, len(steps))
	for i := range steps {
		undos[i] = steps[i].Undo
	}
	if err := s.planLocked(ctx, undos); err != nil {
		return err
	}
	for i := range steps {
		if err := s.do(ctx, i, &steps[i]); err != nil {
			return errors.Join(err, s.unwindLocked(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// Unwind gives back everything on the stack, newest first. It carries on
// past failures and unknown kinds, which stay journaled for the next Unwind
// and are returned, joined. When ctx ends it stops before the next undo.
// Unwinding an empty stack succeeds.
func (s *Stack) Unwind(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unwindLocked(ctx)
}

// Pending returns what the stack would give back, oldest first.
func (s *Stack) Pending(ctx context.Context) ([]Undo, error) {
	entries, err := s.journal.Entries(ctx, s.site.ID, s.name)
	if err != nil {
		return nil, s.errorf("read journal", err)
	}
	undos := make([]Undo, len(entries))
	for i := range entries {
		undos[i] = entries[i].Undo
	}
	return undos, nil
}

// Points names the points that Site.Trace is called at while the stack, empty
// now, acquires undos of these kinds and unwinds them, each once and in this
// order. Numbers count from the oldest, from 1. The point "done" of an undo
// lies between the deed and the removal of its entry.
func (s *Stack) Points(kinds ...string) []string {
	points := []string{s.point("plan", 0, "", "before"), s.point("plan", 0, "", "after")}
	for i, kind := range kinds {
		points = append(points, s.point("do", i+1, kind, "before"), s.point("do", i+1, kind, "after"))
	}
	for i := len(kinds); i > 0; i-- {
		for _, when := range []string{"before", "done", "after"} {
			points = append(points, s.point("undo", i, kinds[i-1], when))
		}
	}
	return points
}

func (s *Stack) planLocked(ctx context.Context, undos []Undo) error {
	if len(undos) == 0 {
		return nil
	}
	s.trace("plan", 0, "", "before")
	if _, err := s.journal.Append(ctx, s.site.ID, s.name, undos); err != nil {
		return s.errorf("plan", err)
	}
	s.trace("plan", 0, "", "after")
	return nil
}

// do does one step; i counts from 0.
func (s *Stack) do(ctx context.Context, i int, step *Step) error {
	if err := ctx.Err(); err != nil {
		return s.errorf("acquire "+step.Undo.Kind, err)
	}
	s.trace("do", i+1, step.Undo.Kind, "before")
	if step.Do != nil {
		if err := step.Do(ctx); err != nil {
			return s.errorf("acquire "+step.Undo.Kind, err)
		}
	}
	s.trace("do", i+1, step.Undo.Kind, "after")
	return nil
}

func (s *Stack) unwindLocked(ctx context.Context) error {
	entries, err := s.journal.Entries(ctx, s.site.ID, s.name)
	if err != nil {
		return s.errorf("read journal", err)
	}
	var failed []error
	for i := len(entries) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, s.errorf("unwind", err))...)
		}
		if err := s.undo(ctx, i, entries[i]); err != nil {
			failed = append(failed, s.errorf("undo "+entries[i].Undo.Kind, err))
		}
	}
	return errors.Join(failed...)
}

// undo does one undo and, when that succeeded, drops its entry; i counts
// from 0, the oldest.
func (s *Stack) undo(ctx context.Context, i int, e Entry) error {
	deed, ok := s.table[e.Undo.Kind]
	if !ok {
		return ErrUnknownKind
	}
	s.trace("undo", i+1, e.Undo.Kind, "before")
	if err := deed(ctx, e.Undo); err != nil {
		return err
	}
	s.trace("undo", i+1, e.Undo.Kind, "done")
	if err := s.journal.Drop(ctx, e.ID); err != nil {
		return fmt.Errorf("drop from journal: %w", err)
	}
	s.trace("undo", i+1, e.Undo.Kind, "after")
	return nil
}

func (s *Stack) errorf(op string, err error) error {
	return fmt.Errorf("site %s: %s: %s: %w", s.site.ID, s.name, op, err)
}

func (s *Stack) trace(op string, n int, kind, when string) {
	if s.site.Trace != nil {
		s.site.Trace(s.point(op, n, kind, when))
	}
}

// point is a stable name such as "run plan before", "run do 2 mount after".
func (s *Stack) point(op string, n int, kind, when string) string {
	if n == 0 {
		return s.name + " " + op + " " + when
	}
	return fmt.Sprintf("%s %s %d %s %s", s.name, op, n, kind, when)
}
