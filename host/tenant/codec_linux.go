package tenant

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// encoder appends values to a message: numbers as varints, strings with their
// length before them, lists with their count. Both ends of the socket are the
// same program, so a message needs no names; and the stub, which lives for one
// container, would spend more time on preparing a JSON decoder than on mounts.
type encoder []byte

func (e *encoder) num(n int) { *e = binary.AppendVarint(*e, int64(n)) }

func (e *encoder) flag(b bool) {
	n := byte(0)
	if b {
		n = 1
	}
	*e = append(*e, n)
}

func (e *encoder) str(s string) {
	e.num(len(s))
	*e = append(*e, s...)
}

func (e *encoder) list(l []string) {
	e.num(len(l))
	for _, s := range l {
		e.str(s)
	}
}

// decoder takes them off again. After an error it gives zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail() {
	d.rest, d.err = nil, fmt.Errorf("malformed message: %w", syscall.EBADMSG)
}

func (d *decoder) num() int {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return int(n)
}

// count reads the length of something whose parts take a byte or more each.
func (d *decoder) count() int {
	n := d.num()
	if n < 0 || n > len(d.rest) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) flag() bool {
	if len(d.rest) == 0 || d.rest[0] > 1 {
		d.fail()
		return false
	}
	b := d.rest[0] == 1
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) str() string {
	n := d.count()
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) list() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	l := make([]string, n)
	for i := range l {
		l[i] = d.str()
	}
	return l
}

// end returns the error of all the reading, one for what is left over included.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail()
	}
	return d.err
}
