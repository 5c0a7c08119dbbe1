package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Volume is the record of a volume. What is in Spec and State is the engine's
// affair.
type Volume struct {
	Name    string
	Created time.Time
	Spec    json.RawMessage // what it is to be: written once
	State   json.RawMessage // what became of it: UpdateVolume replaces it
}

// CreateVolume records a volume. The error matches fs.ErrExist when the name is
// taken. Like the removal of a record it may be undone by a power cut; the first
// update makes it last.
func (s *Store) CreateVolume(ctx context.Context, v Volume) error {
	if v.Name == "" {
		return errors.New("record volume: it needs a name")
	}
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "INSERT OR IGNORE INTO volume (name, created, spec, state) VALUES (?, ?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{v.Name, v.Created.UnixNano(), object(v.Spec), object(v.State)}})
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrExist
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("record volume %s: %w", v.Name, err)
	}
	return nil
}

// UpdateVolume replaces the state of a volume; it is durable when the call
// returns. The error matches fs.ErrNotExist when there is none of that name.
func (s *Store) UpdateVolume(ctx context.Context, name string, state json.RawMessage) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "UPDATE volume SET state = ? WHERE name = ?", &sqlitex.ExecOptions{Args: []any{object(state), name}})
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrNotExist
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("update record of volume %s: %w", name, err)
	}
	return nil
}

// RemoveVolume removes the record of a volume. Removing a missing one succeeds.
func (s *Store) RemoveVolume(ctx context.Context, name string) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "DELETE FROM volume WHERE name = ?", &sqlitex.ExecOptions{Args: []any{name}})
	})
	if err != nil {
		return fmt.Errorf("remove record of volume %s: %w", name, err)
	}
	return nil
}

// Volumes lists all volumes by name.
func (s *Store) Volumes(ctx context.Context) ([]Volume, error) {
	var list []Volume
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT name, created, spec, state FROM volume ORDER BY name",
			&sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
				list = append(list, Volume{
					Name: stmt.ColumnText(0), Created: time.Unix(0, stmt.ColumnInt64(1)).UTC(),
					Spec: columnJSON(stmt, 2), State: columnJSON(stmt, 3),
				})
				return nil
			}})
	})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	return list, nil
}
