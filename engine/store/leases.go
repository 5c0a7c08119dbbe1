package store

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/joyboyid/xc/ipam"
)

// leases is the ledger of one pool. Like the journal it survives the death of the
// process: after a power cut nothing runs that has an address.
type leases struct {
	s    *Store
	pool string
}

var _ ipam.Ledger = leases{}

// Leases returns the ledger of the pool of that name, which is empty at first.
func (s *Store) Leases(pool string) ipam.Ledger { return leases{s, pool} }

// query runs q and calls result, if there is one, with each row.
func query(conn *sqlite.Conn, q string, result func(*sqlite.Stmt), args ...any) error {
	return sqlitex.Execute(conn, q, &sqlitex.ExecOptions{Args: args, ResultFunc: func(stmt *sqlite.Stmt) error {
		if result != nil {
			result(stmt)
		}
		return nil
	}})
}

func columnAddr(stmt *sqlite.Stmt, col int) netip.Addr {
	var b [16]byte
	a, _ := netip.AddrFromSlice(b[:stmt.ColumnBytes(col, b[:])])
	return a
}

// run is a row of lease_run; invalid when there is none.
type run struct{ first, last netip.Addr }

// runAt returns the run with the highest first address up to a.
func (l leases) runAt(conn *sqlite.Conn, a netip.Addr) (r run, err error) {
	err = query(conn, "SELECT first, last FROM lease_run WHERE pool = ? AND first <= ? ORDER BY first DESC LIMIT 1",
		func(stmt *sqlite.Stmt) { r = run{columnAddr(stmt, 0), columnAddr(stmt, 1)} }, l.pool, a.AsSlice())
	return r, err
}

func (l leases) putRun(conn *sqlite.Conn, r run) error {
	return query(conn, "INSERT OR REPLACE INTO lease_run (pool, first, last) VALUES (?, ?, ?)", nil,
		l.pool, r.first.AsSlice(), r.last.AsSlice())
}

func (l leases) dropRun(conn *sqlite.Conn, first netip.Addr) error {
	return query(conn, "DELETE FROM lease_run WHERE pool = ? AND first = ?", nil, l.pool, first.AsSlice())
}

// NextFree implements [ipam.Ledger].
func (l leases) NextFree(ctx context.Context, from, last netip.Addr) (netip.Addr, bool, error) {
	a := from
	err := l.s.do(ctx, func(conn *sqlite.Conn) error {
		r, err := l.runAt(conn, from)
		if r.last.IsValid() && from.Compare(r.last) <= 0 {
			a = r.last.Next()
		}
		return err
	})
	if err != nil || !a.IsValid() || last.Less(a) {
		return netip.Addr{}, false, err
	}
	return a, true, nil
}

// Claim implements [ipam.Ledger].
func (l leases) Claim(ctx context.Context, a netip.Addr, owner string) error {
	return l.s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		known, has := false, ""
		err := query(conn, "SELECT owner FROM lease WHERE pool = ? AND addr = ?",
			func(stmt *sqlite.Stmt) { known, has = true, stmt.ColumnText(0) }, l.pool, a.AsSlice())
		if err != nil || has == owner {
			return err
		}
		if has != "" {
			return fmt.Errorf("%w: it is %s's", fs.ErrExist, has)
		}
		err = query(conn, "INSERT OR REPLACE INTO lease (pool, addr, owner) VALUES (?, ?, ?)", nil, l.pool, a.AsSlice(), owner)
		if err != nil || known { // what rested is in a run already
			return err
		}
		return l.occupy(conn, a)
	})
}

// occupy adds a to the runs and joins those it touches.
func (l leases) occupy(conn *sqlite.Conn, a netip.Addr) error {
	joined := run{a, a}
	before, err := l.runAt(conn, a)
	if err != nil {
		return err
	}
	if before.last.IsValid() && before.last.Next() == a {
		joined.first = before.first
	}
	if next := a.Next(); next.IsValid() {
		after, err := l.runAt(conn, next)
		if err != nil {
			return err
		}
		if after.first == next {
			joined.last = after.last
			if err := l.dropRun(conn, after.first); err != nil {
				return err
			}
		}
	}
	return l.putRun(conn, joined)
}

// vacate takes a out of the runs.
func (l leases) vacate(conn *sqlite.Conn, a netip.Addr) error {
	r, err := l.runAt(conn, a)
	if err != nil {
		return err
	}
	if !r.last.IsValid() || r.last.Less(a) {
		return fmt.Errorf("%w: lease of %s is in no run", ErrCorrupt, a)
	}
	if err := l.dropRun(conn, r.first); err != nil {
		return err
	}
	if r.first != a {
		if err := l.putRun(conn, run{r.first, a.Prev()}); err != nil {
			return err
		}
	}
	if r.last != a {
		return l.putRun(conn, run{a.Next(), r.last})
	}
	return nil
}

// Release implements [ipam.Ledger].
func (l leases) Release(ctx context.Context, owner string, until time.Time) error {
	return l.s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		return query(conn, "UPDATE lease SET owner = NULL, until = ? WHERE pool = ? AND owner = ?", nil, until.UnixNano(), l.pool, owner)
	})
}

// Expire implements [ipam.Ledger].
func (l leases) Expire(ctx context.Context, now time.Time) error {
	var ripe []netip.Addr
	list := func(conn *sqlite.Conn) error {
		ripe = nil
		return query(conn, "SELECT addr FROM lease WHERE pool = ? AND owner IS NULL AND until <= ?",
			func(stmt *sqlite.Stmt) { ripe = append(ripe, columnAddr(stmt, 0)) }, l.pool, now.UnixNano())
	}
	// Mostly there is nothing, which needs no transaction.
	if err := l.s.do(ctx, list); err != nil || len(ripe) == 0 {
		return err
	}
	return l.s.write(ctx, survivesProcess, func(conn *sqlite.Conn) error {
		if err := list(conn); err != nil {
			return err
		}
		for _, a := range ripe {
			if err := query(conn, "DELETE FROM lease WHERE pool = ? AND addr = ?", nil, l.pool, a.AsSlice()); err != nil {
				return err
			}
			if err := l.vacate(conn, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// Owner implements [ipam.Ledger].
func (l leases) Owner(ctx context.Context, a netip.Addr) (owner string, err error) {
	err = l.s.do(ctx, func(conn *sqlite.Conn) error {
		return query(conn, "SELECT owner FROM lease WHERE pool = ? AND addr = ? AND owner IS NOT NULL",
			func(stmt *sqlite.Stmt) { owner = stmt.ColumnText(0) }, l.pool, a.AsSlice())
	})
	if err == nil && owner == "" {
		err = fmt.Errorf("owner of %s: %w", a, fs.ErrNotExist)
	}
	return owner, err
}

// Owned implements [ipam.Ledger].
func (l leases) Owned(ctx context.Context, owner string) (addrs []netip.Addr, err error) {
	err = l.s.do(ctx, func(conn *sqlite.Conn) error {
		return query(conn, "SELECT addr FROM lease WHERE pool = ? AND owner = ? ORDER BY addr",
			func(stmt *sqlite.Stmt) { addrs = append(addrs, columnAddr(stmt, 0)) }, l.pool, owner)
	})
	return addrs, err
}
