// Package site is a place a container lives in, and the landlord that always
// cleans up, whatever happened to the tenant.
//
// What a site acquires it can give back: before it acquires anything it
// writes an [Undo] for it into a [Journal]. Undos are data, so that another
// process can carry them out after a crash. A site has two stacks of them:
//
//   - held: what a stopped container keeps (root, name), unwound when the
//     container is removed;
//   - run: what only lives while it runs (jail, cgroup, mounts, run loop),
//     unwound at every stop.
//
// One story:
//
//	s := site.New("c4f6…", journal, table)
//	err := s.Run.Acquire(ctx, []site.Step{
//		{Undo: site.Undo{Kind: "jail", Data: …}, Do: createJail},
//		{Undo: site.Undo{Kind: "mount", Data: …}, Do: mountDevfs},
//	})
//	...
//	err = s.Run.Unwind(ctx) // newest first, now or after any crash
package site

import (
	"context"
	"encoding/json"
)

// Undo says how to give one thing back. It is journaled before the thing is
// acquired, so undoing something that does not exist must succeed, and an
// undo checks that what it destroys is ours.
type Undo struct {
	Kind    string          `json:"kind"`    // key of the Table
	Version int             `json:"version"` // of Data
	Data    json.RawMessage `json:"data"`
}

// Step is one thing to acquire.
type Step struct {
	Undo Undo
	Do   func(ctx context.Context) error
}

// Table tells how each kind of undo is done. A kind that is not in the table
// stays in the journal and is reported.
type Table map[string]func(ctx context.Context, u Undo) error

// Entry is an undo in a journal.
type Entry struct {
	ID   int64 // grows with every entry of a journal
	Undo Undo
}

// Stacks of a site.
const (
	Held = "held"
	Run  = "run"
)

// Journal keeps undos. engine/store has one in sqlite, [MemoryJournal] is one
// in memory.
type Journal interface {
	// Append adds undos to a stack of a site, all or none.
	Append(ctx context.Context, site, stack string, undos []Undo) ([]Entry, error)
	// Drop removes an entry. Dropping a missing entry succeeds.
	Drop(ctx context.Context, id int64) error
	// Entries returns the entries of a stack, oldest first.
	Entries(ctx context.Context, site, stack string) ([]Entry, error)
	// Sites lists the sites that have entries.
	Sites(ctx context.Context) ([]string, error)
}
