package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"syscall"
)

// attrs is a list of netlink attributes. Numbers in them are big-endian, but for
// the length and type of the attribute itself.
type attrs []byte

func (a attrs) bytes(typ uint16, b []byte) attrs {
	a = binary.NativeEndian.AppendUint16(a, uint16(4+len(b)))
	a = binary.NativeEndian.AppendUint16(a, typ)
	a = append(a, b...)
	return append(a, make([]byte, align(len(b))-len(b))...)
}

func (a attrs) str(typ uint16, s string) attrs { return a.bytes(typ, append([]byte(s), 0)) }
func (a attrs) u32(typ uint16, v uint32) attrs {
	return a.bytes(typ, binary.BigEndian.AppendUint32(nil, v))
}
func (a attrs) u64(typ uint16, v uint64) attrs {
	return a.bytes(typ, binary.BigEndian.AppendUint64(nil, v))
}
func (a attrs) nest(typ uint16, in attrs) attrs { return a.bytes(typ|nested, in) }

func align(n int) int { return (n + 3) &^ 3 }

var errMalformed = fmt.Errorf("%w: malformed answer of the kernel", fs.ErrInvalid)

// all goes through attributes. One that does not fit ends it with an error.
func (a attrs) all() iter.Seq2[attr, error] {
	return func(yield func(attr, error) bool) {
		for rest := a; len(rest) > 0; {
			if len(rest) < 4 {
				yield(attr{}, errMalformed)
				return
			}
			n := int(binary.NativeEndian.Uint16(rest))
			if n < 4 || n > len(rest) {
				yield(attr{}, errMalformed)
				return
			}
			if !yield(attr{binary.NativeEndian.Uint16(rest[2:]) & typeMask, attrs(rest[4:n])}, nil) {
				return
			}
			rest = rest[min(align(n), len(rest)):]
		}
	}
}

type attr struct {
	typ  uint16
	data attrs
}

func (a attr) str() string { return string(bytes.TrimRight(a.data, "\x00")) }

func (a attr) u64() (uint64, error) {
	if len(a.data) != 8 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint64(a.data), nil
}

// find returns the first attribute of a type.
func (a attrs) find(typ uint16) (attr, bool, error) {
	for x, err := range a.all() {
		if err != nil || x.typ == typ {
			return x, err == nil, err
		}
	}
	return attr{}, false, nil
}

const (
	headerSize = 16 // struct nlmsghdr
	genSize    = 4  // struct nfgenmsg
)

// request builds one message of nf_tables for a table of family inet.
func request(b []byte, msg, flags uint16, seq uint32, body attrs) []byte {
	return appendMessage(b, subsystem<<8|msg, flags, seq, [genSize]byte{familyInet}, body)
}

func appendMessage(b []byte, typ, flags uint16, seq uint32, gen [genSize]byte, body attrs) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(headerSize+genSize+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|flagRequest)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, gen[:]...)
	return append(b, body...)
}

// batch is a transaction: all of it is done, or nothing.
type batch struct {
	buf []byte
	ops []string // of the message with that number
}

// newBatch begins one that is refused with ERESTART unless the rulesets of the
// network stack are those of a generation.
func newBatch(generation uint32) *batch {
	b := &batch{ops: []string{"begin"}}
	b.buf = appendMessage(nil, batchBegin, 0, 0, [genSize]byte{2: 0, 3: subsystem}, attrs(nil).u32(batchGenID, generation))
	return b
}

func (b *batch) add(op string, msg, flags uint16, body attrs) {
	b.buf = request(b.buf, msg, flags, uint32(len(b.ops)), body)
	b.ops = append(b.ops, op)
}

// end asks for an answer to the last message and ends the batch.
func (b *batch) end() []byte {
	last := 0
	for at := 0; at < len(b.buf); at += int(binary.NativeEndian.Uint32(b.buf[at:])) {
		last = at
	}
	flags := binary.NativeEndian.Uint16(b.buf[last+6:])
	binary.NativeEndian.PutUint16(b.buf[last+6:], flags|flagAck)
	return appendMessage(b.buf, batchEnd, 0, uint32(len(b.ops)), [genSize]byte{3: subsystem}, nil)
}

// answer is one message of the kernel.
type answer struct {
	typ, flags uint16
	seq        uint32
	body       []byte // what follows struct nlmsghdr
}

// answers goes through what one read gave.
func answers(b []byte) iter.Seq2[answer, error] {
	return func(yield func(answer, error) bool) {
		for len(b) > 0 {
			if len(b) < headerSize {
				yield(answer{}, errMalformed)
				return
			}
			n := int(binary.NativeEndian.Uint32(b))
			if n < headerSize || n > len(b) {
				yield(answer{}, errMalformed)
				return
			}
			a := answer{
				typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
				seq: binary.NativeEndian.Uint32(b[8:]), body: b[headerSize:n],
			}
			if !yield(a, nil) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// attrs are those of a message of nf_tables.
func (a answer) attrs() (attrs, error) {
	if len(a.body) < genSize {
		return nil, errMalformed
	}
	return attrs(a.body[genSize:]), nil
}

// failure reads an NLMSG_ERROR: 0 is an acknowledgement.
func (a answer) failure() (errno syscall.Errno, msg string, err error) {
	if len(a.body) < 4 {
		return 0, "", errMalformed
	}
	errno = syscall.Errno(-int32(binary.NativeEndian.Uint32(a.body)))
	if a.flags&flagAckTLVs == 0 || len(a.body) < 4+headerSize {
		return errno, "", nil
	}
	skip := 4 + headerSize
	if a.flags&flagCapped == 0 {
		skip = 4 + align(int(binary.NativeEndian.Uint32(a.body[4:])))
	}
	if skip < 4 || skip > len(a.body) {
		return errno, "", errMalformed
	}
	m, ok, err := attrs(a.body[skip:]).find(ackMsg)
	if err != nil || !ok {
		return errno, "", err
	}
	return errno, m.str(), nil
}

// rule is what we read of one.
type readRule struct {
	handle  uint64
	jump    string // chain
	comment string
	packets uint64 // of its first counter
	bytes   uint64
}

// parseRule reads a rule of a dump. Expressions it does not know it skips.
func parseRule(a attrs) (readRule, error) {
	var r readRule
	for x, err := range a.all() {
		if err != nil {
			return r, err
		}
		switch x.typ {
		case ruleHandle:
			r.handle, err = x.u64()
		case ruleUserdata:
			r.comment, err = comment(x.data)
		case ruleExprs:
			err = r.parseExprs(x.data)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// comment finds the comment among libnftnl's user data: type and length, a byte
// each, and the value.
func comment(b []byte) (string, error) {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return "", errMalformed
		}
		if b[0] == userdataComment {
			return string(bytes.TrimRight(b[2:2+b[1]], "\x00")), nil
		}
		b = b[2+int(b[1]):]
	}
	return "", nil
}

func (r *readRule) parseExprs(list attrs) error {
	for e, err := range list.all() {
		if err != nil {
			return err
		}
		name, _, err := e.data.find(exprName)
		data, ok, err2 := e.data.find(exprData)
		if err := errors.Join(err, err2); err != nil || !ok {
			return err
		}
		switch name.str() {
		case "immediate":
			err = r.parseJump(data.data)
		case "counter":
			err = r.parseCounter(data.data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *readRule) parseJump(a attrs) error {
	for _, typ := range []uint16{immediateData, dataVerdict} {
		x, ok, err := a.find(typ)
		if err != nil || !ok {
			return err
		}
		a = x.data
	}
	x, ok, err := a.find(verdictChain)
	if ok {
		r.jump = x.str()
	}
	return err
}

func (r *readRule) parseCounter(a attrs) error {
	for x, err := range a.all() {
		if err != nil {
			return err
		}
		switch x.typ {
		case counterBytes:
			r.bytes, err = x.u64()
		case counterPackets:
			r.packets, err = x.u64()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
