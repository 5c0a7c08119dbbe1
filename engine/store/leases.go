package store

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/joyboyid/xc/ipam"
)

// leases is the ledger of one pool: one in memory, whose changes are transactions first.
// Like the journal it survives the death of the process: after a power cut nothing runs
// that has an address.
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

// memoryLocked is what the database has of the pool, which is read once.
func (l leases) memoryLocked(ctx context.Context, conn *sqlite.Conn) (*ipam.Memory, error) {
	if m := l.s.leases[l.pool]; m != nil {
		return m, nil
	}
	const resting = "nobody"
	m, failed := ipam.NewMemory(), error(nil)
	err := query(conn, "SELECT addr, owner, until FROM lease WHERE pool = ?", func(stmt *sqlite.Stmt) {
		a, owner := columnAddr(stmt, 0), stmt.ColumnText(1)
		if owner != "" {
			failed = errors.Join(failed, m.Claim(ctx, a, owner))
			return
		}
		failed = errors.Join(failed, m.Claim(ctx, a, resting), m.Release(ctx, resting, time.Unix(0, stmt.ColumnInt64(2))))
	}, l.pool)
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	l.s.leases[l.pool] = m
	return m, nil
}

// with has f do something with the ledger.
func (l leases) with(ctx context.Context, f func(*sqlite.Conn, *ipam.Memory) error) error {
	return l.s.do(ctx, func(conn *sqlite.Conn) error {
		m, err := l.memoryLocked(ctx, conn)
		if err != nil {
			return err
		}
		return f(conn, m)
	})
}

// eachLocked carries out q, whose first parameters are args, the pool and an address, for
// all addresses in one transaction; for none there is none.
func (l leases) eachLocked(conn *sqlite.Conn, q string, addrs []netip.Addr, args ...any) error {
	if len(addrs) == 0 {
		return nil
	}
	return l.s.transactLocked(conn, survivesProcess, func(conn *sqlite.Conn) error {
		for _, a := range addrs {
			if err := query(conn, q, nil, append(args, l.pool, a.AsSlice())...); err != nil {
				return err
			}
		}
		return nil
	})
}

// NextFree implements [ipam.Ledger].
func (l leases) NextFree(ctx context.Context, from, last netip.Addr) (a netip.Addr, ok bool, err error) {
	err = l.with(ctx, func(_ *sqlite.Conn, m *ipam.Memory) (err error) {
		a, ok, err = m.NextFree(ctx, from, last)
		return err
	})
	return a, ok, err
}

// Claim implements [ipam.Ledger].
func (l leases) Claim(ctx context.Context, a netip.Addr, owner string) error {
	return l.with(ctx, func(conn *sqlite.Conn, m *ipam.Memory) error {
		_, err := m.Owner(ctx, a)
		if errors.Is(err, fs.ErrNotExist) {
			err = l.eachLocked(conn, "INSERT OR REPLACE INTO lease (owner, pool, addr) VALUES (?, ?, ?)", []netip.Addr{a}, owner)
		}
		if err != nil {
			return err
		}
		return m.Claim(ctx, a, owner)
	})
}

// Release implements [ipam.Ledger].
func (l leases) Release(ctx context.Context, owner string, until time.Time) error {
	return l.with(ctx, func(conn *sqlite.Conn, m *ipam.Memory) error {
		addrs, err := m.Owned(ctx, owner)
		if err == nil {
			err = l.eachLocked(conn, "UPDATE lease SET owner = NULL, until = ? WHERE pool = ? AND addr = ?", addrs, until.UnixNano())
		}
		if err != nil {
			return err
		}
		return m.Release(ctx, owner, until)
	})
}

// Expire implements [ipam.Ledger].
func (l leases) Expire(ctx context.Context, now time.Time) error {
	return l.with(ctx, func(conn *sqlite.Conn, m *ipam.Memory) error {
		if err := l.eachLocked(conn, "DELETE FROM lease WHERE pool = ? AND addr = ?", m.Ripe(now)); err != nil {
			return err
		}
		return m.Expire(ctx, now)
	})
}

// Owner implements [ipam.Ledger].
func (l leases) Owner(ctx context.Context, a netip.Addr) (owner string, err error) {
	err = l.with(ctx, func(_ *sqlite.Conn, m *ipam.Memory) (err error) {
		owner, err = m.Owner(ctx, a)
		return err
	})
	return owner, err
}

// Owned implements [ipam.Ledger].
func (l leases) Owned(ctx context.Context, owner string) (addrs []netip.Addr, err error) {
	err = l.with(ctx, func(_ *sqlite.Conn, m *ipam.Memory) (err error) {
		addrs, err = m.Owned(ctx, owner)
		return err
	})
	return addrs, err
}
