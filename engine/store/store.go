// Package store keeps what an engine must not forget in one sqlite file: the
// undo journal of its sites, the records of its containers, the names of its
// images, what has happened, and the instance tag.
//
// Words:
//
//   - The state directory belongs to one engine at a time, to the holder of its
//     [Lock]. Only the holder opens the database.
//   - The tag is six characters made once with the database. It is part of
//     every name the kernel sees, so that two engines on one host can tell what
//     is whose.
//   - The name of an image, and a container's state where asked for, is durable
//     when the call returns, also against a power cut (synchronous=FULL). A
//     journal entry survives the death of the process only
//     (synchronous=NORMAL): what it undoes does not survive a power cut either,
//     but for a root, which whoever recovers half a container looks for anyway, if
//     there is a record of that.
//   - An event is recorded by the transaction that records what has happened,
//     if there is one: it is there exactly when that is.
//
// One story:
//
//	lock, err := store.NewLock("/var/db/xc")      // *ErrLocked names the holder
//	defer lock.Close()
//	s, err := store.Open("/var/db/xc/xc.sqlite")
//	defer s.Close()
//	err = s.CreateContainer(ctx, store.Container{ID: "c4f…", Name: "web", …})
//	site := site.New("c4f…", s, table)            // the store is the journal
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/joyboyid/xc/ipam"
)

// Reasons for Open to refuse a file.
var (
	ErrCorrupt = errors.New("the database is damaged or not xc's")
	ErrNewer   = errors.New("the database was written by a newer xc")
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	tag string

	// mu guards the one connection. More of them would gain nothing: sqlite has
	// a single write lock, and a connection that has the file to itself needs
	// neither shared memory nor a lock for each transaction.
	mu       sync.Mutex
	conn     *sqlite.Conn // nil once closed
	sync     durability   // what conn is set to
	lastUndo int64        // id of the newest entry of the journal

	leases map[string]*ipam.Memory // by pool: what the table lease has of it, once it was read

	events    EventLimits
	lastEvent int64         // id of the newest event
	newEvent  int64         // the same, in the transaction under way
	newer     chan struct{} // closed and replaced when there are newer ones
}

// durability is a value of PRAGMA synchronous.
type durability string

const (
	survivesProcess  durability = "NORMAL"
	survivesPowerCut durability = "FULL"
)

// Open opens the database at path and makes it when there is none. The caller
// holds the lock on the state directory. The error matches ErrCorrupt or
// ErrNewer for a file that Open refuses; such a file is left as it is.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if errors.Is(explain(err), ErrCorrupt) {
		return nil, fmt.Errorf("open state database %s: %w; restore it from a copy, or move it away to begin anew", path, explain(err))
	}
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", path, explain(err))
	}
	return s, nil
}

func open(path string) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// The write-ahead log and its index get the permissions of this file.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	s := &Store{conn: conn, newer: make(chan struct{}), leases: map[string]*ipam.Memory{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := prepare(conn); err != nil {
		return nil, err
	}
	if s.tag, err = instanceTag(conn); err != nil {
		return nil, err
	}
	if s.lastUndo, err = queryInt(conn, "SELECT coalesce(max(id), 0) FROM undo"); err != nil {
		return nil, err
	}
	s.lastEvent, err = queryInt(conn, "SELECT coalesce(max(id), 0) FROM event")
	s.newEvent = s.lastEvent
	return s, err
}

// prepare checks the file and brings its schema up to date.
func prepare(conn *sqlite.Conn) error {
	// In this order: a log that is exclusive from the start has its index in
	// memory (sqlite.org/wal.html, "Use of WAL Without Shared-Memory").
	for _, pragma := range []string{"locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = " + string(survivesPowerCut)} {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, nil); err != nil {
			return err
		}
	}
	version, err := queryInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	id, err := queryInt(conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	if id != 0 && id != applicationID {
		return fmt.Errorf("%w: its application id is %#x, not %#x", ErrCorrupt, id, applicationID)
	}
	if n := int64(len(migrations)); version > n {
		return fmt.Errorf("%w: its schema is version %d, this program knows up to %d: use the newer xc", ErrNewer, version, n)
	}
	if err := check(conn); err != nil {
		return err
	}
	return sqlitemigration.Migrate(context.Background(), conn, sqlitemigration.Schema{
		AppID: applicationID, Migrations: migrations,
	})
}

// check reads the whole file, which is small, so that damage shows at the
// start and not in the middle of a run.
func check(conn *sqlite.Conn) error {
	var problem string
	err := sqlitex.ExecuteTransient(conn, "PRAGMA quick_check(1)", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			problem = stmt.ColumnText(0)
			return nil
		},
	})
	if err == nil && problem != "ok" {
		err = fmt.Errorf("%w: %s", ErrCorrupt, problem)
	}
	return err
}

func queryInt(conn *sqlite.Conn, q string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(conn, q, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			n = stmt.ColumnInt64(0)
			return nil
		},
	})
	return n, err
}

// instanceTag returns the tag, which it makes the first time.
func instanceTag(conn *sqlite.Conn) (tag string, err error) {
	fresh := strings.ToLower(rand.Text())
	fresh = string('a'+fresh[0]%26) + fresh[1:6] // an interface's name begins with a letter
	err = sqlitex.Execute(conn, "INSERT OR IGNORE INTO meta (key, value) VALUES ('tag', ?)", &sqlitex.ExecOptions{Args: []any{fresh}})
	if err != nil {
		return "", err
	}
	err = sqlitex.Execute(conn, "SELECT value FROM meta WHERE key = 'tag'", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			tag = stmt.ColumnText(0)
			return nil
		},
	})
	if err == nil && !validTag(tag) {
		err = fmt.Errorf("%w: the instance tag is %q", ErrCorrupt, tag)
	}
	return tag, err
}

func validTag(s string) bool {
	return len(s) == 6 && s[0] >= 'a' && s[0] <= 'z' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Tag is the instance tag: six characters of base32 in lower case, a letter
// first.
func (s *Store) Tag() string { return s.tag }

// Close closes the database. Closing it twice is fine.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}

// do runs op with the connection. It is not interrupted when ctx ends: it is
// over in microseconds, and half of it would be worth nothing.
func (s *Store) do(ctx context.Context, op func(*sqlite.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return fs.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return explain(op(s.conn))
}

// write runs op in a transaction.
func (s *Store) write(ctx context.Context, d durability, op func(*sqlite.Conn) error) error {
	return s.do(ctx, func(conn *sqlite.Conn) error { return s.transactLocked(conn, d, op) })
}

func (s *Store) transactLocked(conn *sqlite.Conn, d durability, op func(*sqlite.Conn) error) (err error) {
	if s.sync != d {
		if err := sqlitex.Execute(conn, "PRAGMA synchronous = "+string(d), nil); err != nil {
			return err
		}
		s.sync = d
	}
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer func() {
		end(&err)
		s.tellEventsLocked(err == nil)
	}()
	return op(conn)
}

// explain gives sqlite's codes the meaning they have elsewhere.
func explain(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case sqlite.ResultFull:
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	case sqlite.ResultPerm, sqlite.ResultReadOnly:
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return err
}
