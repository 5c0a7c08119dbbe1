package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// PutChannel records a channel, or changes its record. What is in it is the
// engine's affair. It is durable when PutChannel returns.
func (s *Store) PutChannel(ctx context.Context, path string, channel json.RawMessage) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "INSERT OR REPLACE INTO channel (path, channel) VALUES (?, ?)",
			&sqlitex.ExecOptions{Args: []any{path, object(channel)}})
	})
	if err != nil {
		return fmt.Errorf("record channel %s: %w", path, err)
	}
	return nil
}

// RemoveChannel removes the record of a channel. The error matches
// fs.ErrNotExist when there is none.
func (s *Store) RemoveChannel(ctx context.Context, path string) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "DELETE FROM channel WHERE path = ?", &sqlitex.ExecOptions{Args: []any{path}})
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrNotExist
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove record of channel %s: %w", path, err)
	}
	return nil
}

// Channels returns the records of all channels, by path.
func (s *Store) Channels(ctx context.Context) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT path, channel FROM channel", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error { all[stmt.ColumnText(0)] = columnJSON(stmt, 1); return nil },
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	return all, nil
}
