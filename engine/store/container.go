package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Container is the record of a container. What is in Spec and State is the
// engine's affair.
type Container struct {
	ID      string
	Name    string
	Created time.Time
	Spec    json.RawMessage // what it is to be: written once
	State   json.RawMessage // what became of it: UpdateContainer replaces it
}

// ErrAmbiguous is the beginning of an id that several containers share.
var ErrAmbiguous = errors.New("ambiguous")

// CreateContainer records a container. The error matches fs.ErrExist when the
// id or the name is taken. Like the removal of a record it may be undone by a
// power cut; the first durable update makes it last.
func (s *Store) CreateContainer(ctx context.Context, c Container) error {
	if c.ID == "" || c.Name == "" {
		return errors.New("record container: it needs an id and a name")
	}
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		for _, word := range []string{c.Name, c.ID} {
			holder, err := containerCalled(conn, word)
			if err != nil {
				return err
			}
			if len(holder) > 0 {
				return fmt.Errorf("%w: the name is that of container %s", fs.ErrExist, holder[0].ID)
			}
		}
		return sqlitex.Execute(conn, "INSERT INTO container (id, name, created, spec, state) VALUES (?, ?, ?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{c.ID, c.Name, c.Created.UnixNano(), object(c.Spec), object(c.State)}})
	})
	if err != nil {
		return fmt.Errorf("record container %s: %w", c.Name, err)
	}
	return nil
}

// object is never NULL.
func object(b json.RawMessage) []byte {
	if b == nil {
		return []byte("{}")
	}
	return b
}

// UpdateContainer replaces the state of the container with this id, and records
// what has happened; when durable, it and all before it survive a power cut. The
// error matches fs.ErrNotExist when there is none.
func (s *Store) UpdateContainer(ctx context.Context, id string, state json.RawMessage, durable bool, happened ...Event) error {
	d := survivesProcess
	if durable {
		d = survivesPowerCut
	}
	err := s.write(ctx, d, func(conn *sqlite.Conn) error {
		if err := updateContainer(conn, id, state); err != nil {
			return err
		}
		return s.appendEvents(conn, happened)
	})
	if err != nil {
		return fmt.Errorf("update record of container %s: %w", id, err)
	}
	return nil
}

func updateContainer(conn *sqlite.Conn, id string, state json.RawMessage) error {
	err := sqlitex.Execute(conn, "UPDATE container SET state = ? WHERE id = ?", &sqlitex.ExecOptions{Args: []any{object(state), id}})
	if err == nil && conn.Changes() == 0 {
		err = fs.ErrNotExist
	}
	return err
}

// RenameContainer gives the container with this id another name, and records that
// it happened. The error
// matches fs.ErrExist when that is taken, fs.ErrNotExist when there is no such
// container.
func (s *Store) RenameContainer(ctx context.Context, id, name string, happened ...Event) error {
	err := s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		holder, err := containerCalled(conn, name)
		if err != nil {
			return err
		}
		if len(holder) > 0 && holder[0].ID != id {
			return fmt.Errorf("%w: the name is that of container %s", fs.ErrExist, holder[0].ID)
		}
		err = sqlitex.Execute(conn, "UPDATE container SET name = ? WHERE id = ?", &sqlitex.ExecOptions{Args: []any{name, id}})
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			return err
		}
		return s.appendEvents(conn, happened)
	})
	if err != nil {
		return fmt.Errorf("name container %s %s: %w", id, name, err)
	}
	return nil
}

// RemoveContainer removes the record with this id, and records that it happened.
// Removing a missing one succeeds, and nothing has happened.
func (s *Store) RemoveContainer(ctx context.Context, id string, happened ...Event) error {
	err := s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "DELETE FROM container WHERE id = ?", &sqlitex.ExecOptions{Args: []any{id}})
		if err != nil || conn.Changes() == 0 {
			return err
		}
		return s.appendEvents(conn, happened)
	})
	if err != nil {
		return fmt.Errorf("remove record of container %s: %w", id, err)
	}
	return nil
}

// Container finds a container by its id, its name, or the beginning of an id
// that only one has. The error matches fs.ErrNotExist or ErrAmbiguous.
func (s *Store) Container(ctx context.Context, name string) (Container, error) {
	var found []Container
	err := s.do(ctx, func(conn *sqlite.Conn) (err error) {
		found, err = containerCalled(conn, name)
		if err != nil || len(found) > 0 || name == "" {
			return err
		}
		// Above every id that begins with name: ids are ASCII.
		found, err = findContainers(conn, "id >= ?1 AND id < ?2", name, name+"\x7f")
		return err
	})
	switch {
	case err != nil:
		return Container{}, fmt.Errorf("look up container %q: %w", name, err)
	case len(found) == 0:
		return Container{}, fmt.Errorf("container %q: %w", name, fs.ErrNotExist)
	case len(found) > 1:
		var ids []string
		for _, c := range found {
			ids = append(ids, c.ID+" ("+c.Name+")")
		}
		return Container{}, fmt.Errorf("container %q is %w: it may be %s", name, ErrAmbiguous, strings.Join(ids, " or "))
	}
	return found[0], nil
}

// Containers lists all containers, newest first.
func (s *Store) Containers(ctx context.Context) ([]Container, error) {
	var list []Container
	err := s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT id, name, created, spec, state FROM container ORDER BY created DESC, id",
			&sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
				list = append(list, scanContainer(stmt))
				return nil
			}})
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return list, nil
}

// containerCalled returns the container with this id, or else this name. For both in one
// question sqlite would make a table to merge the answers, whose memory is mapped and
// unmapped each time.
func containerCalled(conn *sqlite.Conn, word string) (found []Container, err error) {
	if found, err = findContainers(conn, "id = ?", word); err != nil || len(found) > 0 {
		return found, err
	}
	return findContainers(conn, "name = ?", word)
}

// findContainers returns at most five containers, enough to tell which is meant.
func findContainers(conn *sqlite.Conn, where string, args ...any) (found []Container, err error) {
	q := "SELECT id, name, created, spec, state FROM container WHERE " + where + " ORDER BY id LIMIT 5"
	err = sqlitex.Execute(conn, q, &sqlitex.ExecOptions{Args: args, ResultFunc: func(stmt *sqlite.Stmt) error {
		found = append(found, scanContainer(stmt))
		return nil
	}})
	return found, err
}

func scanContainer(stmt *sqlite.Stmt) Container {
	return Container{
		ID: stmt.ColumnText(0), Name: stmt.ColumnText(1), Created: time.Unix(0, stmt.ColumnInt64(2)).UTC(),
		Spec: columnJSON(stmt, 3), State: columnJSON(stmt, 4),
	}
}
