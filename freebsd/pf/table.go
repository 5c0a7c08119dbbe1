package pf

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
)

// Table is a table of the main rules, by its name: up to 31 bytes. Rules use it
// whether it is there or not yet.
type Table string

// CheckTable tells why a name is none of a table.
func CheckTable(name string) error {
	if !tableRule.MatchString(name) {
		return fmt.Errorf("table %q: %w: letters, digits, '_', '.', ':' and '-' only, 31 at the most", name, fs.ErrInvalid)
	}
	return nil
}

// Add puts addresses into the table, which is made if it is not there. Those that
// are in it already are no error.
func (t Table) Add(addrs ...netip.Addr) error { return t.change("add", addrs) }

// Remove takes addresses out of the table. The table stays. Addresses that are not
// in it, and a table that is not there, are no error.
func (t Table) Remove(addrs ...netip.Addr) error { return t.change("delete", addrs) }

func (t Table) change(op string, addrs []netip.Addr) error {
	if err := CheckTable(string(t)); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := checkAddr(a); err != nil {
			return fmt.Errorf("table %s: %w", t, err)
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	return changeTable(op, string(t), addrs)
}

// Addrs returns what is in the table. fs.ErrNotExist: it is not there.
func (t Table) Addrs() ([]netip.Prefix, error) {
	if err := CheckTable(string(t)); err != nil {
		return nil, err
	}
	return listTable(string(t))
}

// Drop deletes the table if it is empty and no rule uses it. Otherwise, or when it
// is not there, nothing happens.
func (t Table) Drop() error {
	if err := CheckTable(string(t)); err != nil {
		return err
	}
	return dropTable(string(t))
}

// Sizes and offsets in bytes, sys/net/pfvar.h; the same on every 64-bit machine.
const (
	tableSize  = 1064 // struct pfr_table
	tableName  = 1024
	tableFlags = 1056

	ioSize   = 1104 // struct pfioc_table: a struct pfr_table, then
	ioBuffer = 1064 // a pointer
	ioESize  = 1072 // size of what it points to an array of
	ioCount  = 1076 // elements

	addrSize = 20 // struct pfr_addr: 16 bytes of address, then
	addrAF   = 16
	addrBits = 17

	inet, inet6 = 2, 28
	persist     = 1 // PFR_TFLAG_PERSIST
)

// tableRequest is a struct pfioc_table of a table, for n elements of a size.
func tableRequest(name string, size, n int) []byte {
	b := make([]byte, ioSize)
	copy(b[tableName:], name)
	binary.NativeEndian.PutUint32(b[ioESize:], uint32(size))
	binary.NativeEndian.PutUint32(b[ioCount:], uint32(n))
	return b
}

// tableOf is a struct pfr_table.
func tableOf(name string, flags uint32) []byte {
	b := make([]byte, tableSize)
	copy(b[tableName:], name)
	binary.NativeEndian.PutUint32(b[tableFlags:], flags)
	return b
}

// encodeAddrs makes an array of struct pfr_addr.
func encodeAddrs(addrs []netip.Addr) []byte {
	b := make([]byte, len(addrs)*addrSize)
	for i, a := range addrs {
		e := b[i*addrSize:]
		copy(e, a.AsSlice())
		e[addrAF], e[addrBits] = inet, byte(a.BitLen())
		if a.Is6() {
			e[addrAF] = inet6
		}
	}
	return b
}

// decodeAddrs reads one.
func decodeAddrs(b []byte) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for ; len(b) >= addrSize; b = b[addrSize:] {
		a := netip.AddrFrom4([4]byte(b[:4]))
		if b[addrAF] == inet6 {
			a = netip.AddrFrom16([16]byte(b[:16]))
		} else if b[addrAF] != inet {
			return nil, fmt.Errorf("pf: table: address of family %d: %w", b[addrAF], fs.ErrInvalid)
		}
		p := netip.PrefixFrom(a, int(b[addrBits]))
		if !p.IsValid() {
			return nil, fmt.Errorf("pf: table: %d bits of %v: %w", b[addrBits], a, fs.ErrInvalid)
		}
		list = append(list, p)
	}
	return list, nil
}
