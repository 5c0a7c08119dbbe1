package site

import (
	"context"
	"slices"
	"sync"
)

// MemoryJournal is a [Journal] in memory, for tests and for programs whose
// sites die with them. The zero value is empty and ready; it is safe for use
// by several goroutines.
type MemoryJournal struct {
	mu      sync.Mutex
	last    int64
	entries []memoryEntry
}

type memoryEntry struct {
	site, stack string
	Entry
}

// Append implements [Journal].
func (j *MemoryJournal) Append(_ context.Context, site, stack string, undos []Undo) ([]Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	added := make([]Entry, len(undos))
	for i, u := range undos {
		j.last++
		u.Data = slices.Clone(u.Data)
		added[i] = Entry{ID: j.last, Undo: u}
		j.entries = append(j.entries, memoryEntry{site, stack, added[i]})
	}
	return added, nil
}

// Drop implements [Journal].
func (j *MemoryJournal) Drop(_ context.Context, id int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = slices.DeleteFunc(j.entries, func(e memoryEntry) bool { return e.ID == id })
	return nil
}

// Entries implements [Journal].
func (j *MemoryJournal) Entries(_ context.Context, site, stack string) ([]Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []Entry
	for _, e := range j.entries {
		if e.site == site && e.stack == stack {
			found = append(found, e.Entry)
		}
	}
	return found, nil
}

// Sites implements [Journal]; the sites come in the order of their oldest entry.
func (j *MemoryJournal) Sites(context.Context) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var sites []string
	for _, e := range j.entries {
		if !slices.Contains(sites, e.site) {
			sites = append(sites, e.site)
		}
	}
	return sites, nil
}
