package store

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/joyboyid/xc/site"
)

var _ site.Journal = (*Store)(nil)

// Append adds undos to a stack of a site, all or none.
func (s *Store) Append(ctx context.Context, siteID, stack string, undos []site.Undo) ([]site.Entry, error) {
	if len(undos) == 0 {
		return nil, nil
	}
	entries := make([]site.Entry, 0, len(undos))
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare("INSERT INTO undo (id, site, stack, kind, version, data) VALUES (?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		for _, u := range undos {
			s.lastUndo++ // never goes back: dropping an entry twice cannot hit another one
			bindUndo(stmt, s.lastUndo, siteID, stack, u)
			if _, err := stmt.Step(); err != nil {
				return err
			}
			if err := stmt.Reset(); err != nil {
				return err
			}
			entries = append(entries, site.Entry{ID: s.lastUndo, Undo: u})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal undos of site %s: %w", siteID, err)
	}
	return entries, nil
}

func bindUndo(stmt *sqlite.Stmt, id int64, siteID, stack string, u site.Undo) {
	stmt.BindInt64(1, id)
	stmt.BindText(2, siteID)
	stmt.BindText(3, stack)
	stmt.BindText(4, u.Kind)
	stmt.BindInt64(5, int64(u.Version))
	if u.Data == nil {
		stmt.BindNull(6)
	} else {
		stmt.BindBytes(6, u.Data)
	}
}

// Drop removes an entry. Dropping a missing entry succeeds.
func (s *Store) Drop(ctx context.Context, id int64) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "DELETE FROM undo WHERE id = ?", &sqlitex.ExecOptions{Args: []any{id}})
	})
	if err != nil {
		return fmt.Errorf("drop undo %d from the journal: %w", id, err)
	}
	return nil
}

// Entries returns the entries of a stack, oldest first.
func (s *Store) Entries(ctx context.Context, siteID, stack string) ([]site.Entry, error) {
	var entries []site.Entry
	const q = "SELECT id, kind, version, data FROM undo WHERE site = ? AND stack = ? ORDER BY id"
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, q, &sqlitex.ExecOptions{
			Args: []any{siteID, stack},
			ResultFunc: func(stmt *sqlite.Stmt) error {
				entries = append(entries, site.Entry{ID: stmt.ColumnInt64(0), Undo: site.Undo{
					Kind: stmt.ColumnText(1), Version: stmt.ColumnInt(2), Data: columnJSON(stmt, 3),
				}})
				return nil
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read undos of site %s: %w", siteID, err)
	}
	return entries, nil
}

// Sites lists the sites that have entries.
func (s *Store) Sites(ctx context.Context) ([]string, error) {
	var sites []string
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT DISTINCT site FROM undo ORDER BY site", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				sites = append(sites, stmt.ColumnText(0))
				return nil
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read sites of the journal: %w", err)
	}
	return sites, nil
}

// columnJSON copies a column; NULL is nil.
func columnJSON(stmt *sqlite.Stmt, col int) json.RawMessage {
	if stmt.ColumnType(col) == sqlite.TypeNull {
		return nil
	}
	b := make(json.RawMessage, stmt.ColumnLen(col))
	stmt.ColumnBytes(col, b)
	return b
}
