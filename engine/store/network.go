package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"zombiezen.com/go/sqlite"
)

// Network is the record of a network. What is in Spec is the engine's affair.
type Network struct {
	ID      string
	Name    string
	Created time.Time
	Spec    json.RawMessage
	Ready   bool // all of it is there; else it is being made or removed
}

// CreateNetwork records a network that is not ready. The error matches
// fs.ErrExist when the name is taken.
func (s *Store) CreateNetwork(ctx context.Context, n Network) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		taken := false
		if err := query(conn, "SELECT 1 FROM network WHERE name = ?1 OR id = ?1", func(*sqlite.Stmt) { taken = true }, n.Name); err != nil || taken {
			if taken {
				err = fs.ErrExist
			}
			return err
		}
		return query(conn, "INSERT INTO network (id, name, created, spec, ready) VALUES (?, ?, ?, ?, 0)", nil,
			n.ID, n.Name, n.Created.UnixNano(), object(n.Spec))
	})
	if err != nil {
		return fmt.Errorf("record network %s: %w", n.Name, err)
	}
	return nil
}

// ReadyNetwork says of a network whether all of it is there. The error matches
// fs.ErrNotExist when there is none with this id.
func (s *Store) ReadyNetwork(ctx context.Context, id string, ready bool) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		err := query(conn, "UPDATE network SET ready = ? WHERE id = ?", nil, ready, id)
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrNotExist
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("update record of network %s: %w", id, err)
	}
	return nil
}

// RemoveNetwork removes the record with this id, and what the ledgers of these
// pools have. Removing a missing one succeeds.
func (s *Store) RemoveNetwork(ctx context.Context, id string, pools ...string) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		for _, pool := range pools {
			if err := query(conn, "DELETE FROM lease WHERE pool = ?", nil, pool); err != nil {
				return err
			}
			delete(s.leases, pool)
		}
		return query(conn, "DELETE FROM network WHERE id = ?", nil, id)
	})
	if err != nil {
		return fmt.Errorf("remove record of network %s: %w", id, err)
	}
	return nil
}

// Networks lists all networks by name.
func (s *Store) Networks(ctx context.Context) ([]Network, error) {
	var list []Network
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		list = nil
		return query(conn, "SELECT id, name, created, spec, ready FROM network ORDER BY name", func(stmt *sqlite.Stmt) {
			list = append(list, Network{
				ID: stmt.ColumnText(0), Name: stmt.ColumnText(1), Created: time.Unix(0, stmt.ColumnInt64(2)).UTC(),
				Spec: columnJSON(stmt, 3), Ready: stmt.ColumnBool(4),
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	return list, nil
}
