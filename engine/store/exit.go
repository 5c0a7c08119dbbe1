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

// PutExit remembers how a container ended that is about to be removed, for
// those who ask afterwards, by its id. The oldest are forgotten.
func (s *Store) PutExit(ctx context.Context, id string, exit json.RawMessage) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "INSERT OR REPLACE INTO exit (id, at, exit) VALUES (?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{id, time.Now().UnixNano(), []byte(exit)}})
		if err != nil {
			return err
		}
		return sqlitex.Execute(conn, "DELETE FROM exit WHERE id IN (SELECT id FROM exit ORDER BY at DESC LIMIT -1 OFFSET ?)",
			&sqlitex.ExecOptions{Args: []any{keepExits}})
	})
	if err != nil {
		return fmt.Errorf("remember the end of container %s: %w", id, err)
	}
	return nil
}

// Exit returns what PutExit was given for an id. The error matches
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
