package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Event is something that has happened. What is in Data is the engine's affair.
type Event struct {
	ID   int64 // given when it is recorded: the last one's and 1
	At   time.Time
	Data json.RawMessage
}

// EventLimits bound the events that are kept.
type EventLimits struct {
	Max int           // how many; DefaultEvents when 0
	Age time.Duration // how old; for ever when 0
}

// DefaultEvents is how many events are kept when nothing else is said: some
// hundred bytes each.
const DefaultEvents = 10_000

// eventSlack is how many more than Max may be there, so that most events cost
// one row written and none removed.
const eventSlack = 256

// LimitEvents sets how many events are kept from now on.
func (s *Store) LimitEvents(ctx context.Context, l EventLimits) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		s.events = l
		return s.pruneEvents(conn, s.lastEvent)
	})
	if err != nil {
		return fmt.Errorf("limit events: %w", err)
	}
	return nil
}

// AppendEvents records events for which there is no other change to record.
func (s *Store) AppendEvents(ctx context.Context, list ...Event) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error { return s.appendEvents(conn, list) })
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	return nil
}

// appendEvents adds events to the transaction under way. write makes them known
// when it is committed.
func (s *Store) appendEvents(conn *sqlite.Conn, list []Event) error {
	for _, e := range list {
		s.newEvent++
		err := sqlitex.Execute(conn, "INSERT INTO event (id, at, data) VALUES (?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{s.newEvent, e.At.UnixNano(), object(e.Data)}})
		if err != nil {
			return err
		}
		if s.newEvent%eventSlack == 0 {
			if err := s.pruneEvents(conn, s.newEvent); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneEvents removes the oldest. The newest stays, so that no id is given twice.
func (s *Store) pruneEvents(conn *sqlite.Conn, last int64) error {
	most := int64(s.events.Max)
	if most <= 0 {
		most = DefaultEvents
	}
	err := sqlitex.Execute(conn, "DELETE FROM event WHERE id <= ?", &sqlitex.ExecOptions{Args: []any{last - most}})
	if err != nil || s.events.Age <= 0 {
		return err
	}
	// Of those that stay the first is found first: they are in order, but for
	// what happened at once, and for a clock that was set back.
	return sqlitex.Execute(conn, "DELETE FROM event WHERE id < coalesce((SELECT id FROM event WHERE at >= ?1 ORDER BY id LIMIT 1), ?2)",
		&sqlitex.ExecOptions{Args: []any{time.Now().Add(-s.events.Age).UnixNano(), last}})
}

// Events returns events with ids above after, in order, at most limit of them.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]Event, error) {
	var list []Event
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT id, at, data FROM event WHERE id > ? ORDER BY id LIMIT ?", &sqlitex.ExecOptions{
			Args: []any{after, limit},
			ResultFunc: func(stmt *sqlite.Stmt) error {
				list = append(list, Event{ID: stmt.ColumnInt64(0), At: time.Unix(0, stmt.ColumnInt64(1)).UTC(), Data: columnJSON(stmt, 2)})
				return nil
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return list, nil
}

// LastEvent returns the newest event's id, 0 when there is none, and a channel
// that is closed when there is a newer one.
func (s *Store) LastEvent() (id int64, newer <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastEvent, s.newer
}

// tellEventsLocked makes the events of a transaction known, or forgets those of one
// that failed.
func (s *Store) tellEventsLocked(committed bool) {
	if !committed {
		s.newEvent = s.lastEvent
	}
	if s.newEvent == s.lastEvent {
		return
	}
	s.lastEvent = s.newEvent
	close(s.newer)
	s.newer = make(chan struct{})
}
