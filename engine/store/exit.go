package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// keepExits is how many ends of removed containers are remembered.
const keepExits = 1000

// EndContainer is an UpdateContainer, not durable, of a container that is about
// to be removed. How it ended is remembered after that, by its id, for those who
// ask then. The oldest are forgotten.
func (s *Store) EndContainer(ctx context.Context, id string, state, exit json.RawMessage, happened ...Event) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		if err := updateContainer(conn, id, state); err != nil {
			return err
		}
		err := sqlitex.Execute(conn, "INSERT OR REPLACE INTO exit (id, at, exit) VALUES (?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{id, time.Now().UnixNano(), []byte(exit)}})
		if err != nil {
			return err
		}
		if err := forgetExits(conn); err != nil {
			return err
		}
		return s.appendEvents(conn, happened)
	})
	if err != nil {
		return fmt.Errorf("record the end of container %s: %w", id, err)
	}
	return nil
}

// forgetExits removes the oldest. It asks first, as a DELETE with a question in it makes a
// table of the answers, also where there are none.
func forgetExits(conn *sqlite.Conn) error {
	newest := int64(-1) // of those to be forgotten
	err := query(conn, "SELECT at FROM exit ORDER BY at DESC LIMIT 1 OFFSET ?", func(stmt *sqlite.Stmt) { newest = stmt.ColumnInt64(0) }, keepExits)
	if err != nil || newest < 0 {
		return err
	}
	return query(conn, "DELETE FROM exit WHERE at <= ?", nil, newest)
}

// Exit returns what EndContainer was given for an id. The error matches
// fs.ErrNotExist when nothing is remembered.
func (s *Store) Exit(ctx context.Context, id string) (exit json.RawMessage, err error) {
	err = s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT exit FROM exit WHERE id = ?", &sqlitex.ExecOptions{
			Args:       []any{id},
			ResultFunc: func(stmt *sqlite.Stmt) error { exit = columnJSON(stmt, 0); return nil },
		})
	})
	if err == nil && exit == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("end of container %q: %w", id, err)
	}
	return exit, nil
}
