package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Refs is the ledger of image names, as image/store asks for it: from
// references in full to the descriptors of manifests.
type Refs struct{ s *Store }

// Refs returns the ledger of image names.
func (s *Store) Refs() Refs { return Refs{s} }

// Resolve returns what a name stands for. The error matches fs.ErrNotExist
// when it is not set.
func (r Refs) Resolve(ctx context.Context, name string) (ispec.Descriptor, error) {
	found, err := r.find(ctx, "SELECT name, descriptor FROM image_ref WHERE name = ?", name)
	if err != nil {
		return ispec.Descriptor{}, fmt.Errorf("look up image %s: %w", name, err)
	}
	desc, ok := found[name]
	if !ok {
		return ispec.Descriptor{}, fmt.Errorf("image %s: %w", name, fs.ErrNotExist)
	}
	return desc, nil
}

// List returns all names; the map is the caller's.
func (r Refs) List(ctx context.Context) (map[string]ispec.Descriptor, error) {
	found, err := r.find(ctx, "SELECT name, descriptor FROM image_ref")
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return found, nil
}

func (r Refs) find(ctx context.Context, q string, args ...any) (map[string]ispec.Descriptor, error) {
	found := map[string]ispec.Descriptor{}
	err := r.s.do(ctx, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, q, &sqlitex.ExecOptions{Args: args, ResultFunc: func(stmt *sqlite.Stmt) error {
			var desc ispec.Descriptor
			if err := json.Unmarshal(columnJSON(stmt, 1), &desc); err != nil {
				return fmt.Errorf("%w: descriptor of %s: %w", ErrCorrupt, stmt.ColumnText(0), err)
			}
			found[stmt.ColumnText(0)] = desc
			return nil
		}})
	})
	return found, err
}

// Put sets a name, whether or not it was set. It is durable when Put returns.
func (r Refs) Put(ctx context.Context, name string, desc ispec.Descriptor) error {
	b, err := json.Marshal(desc)
	if err != nil {
		return fmt.Errorf("set image %s: %w", name, err)
	}
	err = r.s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "INSERT OR REPLACE INTO image_ref (name, digest, descriptor) VALUES (?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{name, desc.Digest.String(), b}})
	})
	if err != nil {
		return fmt.Errorf("set image %s: %w", name, err)
	}
	return nil
}

// Delete removes a name. The error matches fs.ErrNotExist when it is not set.
func (r Refs) Delete(ctx context.Context, name string) error {
	err := r.s.write(ctx, survivesPowerCut, func(conn *sqlite.Conn) error {
		err := sqlitex.Execute(conn, "DELETE FROM image_ref WHERE name = ?", &sqlitex.ExecOptions{Args: []any{name}})
		if err == nil && conn.Changes() == 0 {
			err = fs.ErrNotExist
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return nil
}
