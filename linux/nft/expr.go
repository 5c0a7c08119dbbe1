package nft

import (
	"encoding/binary"
	"net/netip"
)

// Attributes of expressions, which are named after the kernel's nft_NAME.c.
const (
	immediateDreg, immediateData                                       = 1, 2
	cmpSreg, cmpOp, cmpData                                            = 1, 2, 3
	metaDreg, metaKey                                                  = 1, 2
	ctDreg, ctKey                                                      = 1, 2
	payloadDreg, payloadBase, payloadOffset, payloadLen                = 1, 2, 3, 4
	bitwiseSreg, bitwiseDreg, bitwiseLen, bitwiseMask, bitwiseXor      = 1, 2, 3, 4, 5
	lookupSet, lookupSreg, lookupDreg, lookupSetID                     = 1, 2, 3, 4
	fibDreg, fibResult, fibFlags                                       = 1, 2, 3
	natType, natFamily, natAddrMin, natAddrMax, natPortMin, natPortMax = 1, 2, 3, 4, 5, 6
	counterBytes, counterPackets                                       = 1, 2
)

// rule is a list of expressions: data is loaded into register 1 and compared
// there, and what does not match ends the rule.
type rule struct {
	exprs   attrs
	comment string // of libnftnl: nft(8) shows it
	counter int    // where in exprs its values are; 0: it has none
}

func (r *rule) expr(name string, data attrs) {
	r.exprs = r.exprs.nest(listElem, attrs(nil).str(exprName, name).nest(exprData, data))
}

func (r *rule) cmp(op uint32, value []byte) {
	r.expr("cmp", attrs(nil).u32(cmpSreg, reg1).u32(cmpOp, op).nest(cmpData, attrs(nil).bytes(dataValue, value)))
}

func (r *rule) meta(key uint32, op uint32, value []byte) {
	r.expr("meta", attrs(nil).u32(metaDreg, reg1).u32(metaKey, key))
	r.cmp(op, value)
}

// iface compares the name of an interface, which is padded.
func (r *rule) iface(key uint32, op uint32, name string) {
	b := make([]byte, ifnameSize)
	copy(b, name)
	r.meta(key, op, b)
}

func (r *rule) load(base, offset, size uint32) {
	r.expr("payload", attrs(nil).u32(payloadDreg, reg1).u32(payloadBase, base).u32(payloadOffset, offset).u32(payloadLen, size))
}

func (r *rule) and(mask, want []byte, op uint32) {
	r.expr("bitwise", attrs(nil).u32(bitwiseSreg, reg1).u32(bitwiseDreg, reg1).u32(bitwiseLen, uint32(len(mask))).
		nest(bitwiseMask, attrs(nil).bytes(dataValue, mask)).
		nest(bitwiseXor, attrs(nil).bytes(dataValue, make([]byte, len(mask)))))
	r.cmp(op, want)
}

// conntrack compares bits of what the connection tracker says with none of them.
func (r *rule) conntrack(key uint32, bits uint32, op uint32) {
	r.expr("ct", attrs(nil).u32(ctDreg, reg1).u32(ctKey, key))
	r.and(binary.NativeEndian.AppendUint32(nil, bits), make([]byte, 4), op)
}

// family is v4 or v6, and where their headers have addresses.
type family struct {
	proto             byte
	size              uint32 // of an address, bytes
	source, dest      uint32 // offsets
	typ               uint32
	destLocalRegister uint32 // after an address in register 1
}

var (
	v4 = family{familyV4, 4, 12, 16, typeV4, reg32 + 1}
	v6 = family{familyV6, 16, 8, 24, typeV6, reg32 + 4}
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return v4
	}
	return v6
}

func (r *rule) is(f family) { r.meta(metaNfproto, cmpEq, []byte{f.proto}) }

// within compares the address at an offset with a prefix, as nft(8) would.
func (r *rule) within(f family, offset uint32, p netip.Prefix) {
	addr, bits := p.Masked().Addr().AsSlice(), p.Bits()
	switch {
	case bits == 0:
	case bits%8 == 0:
		r.load(networkHeader, offset, uint32(bits/8))
		r.cmp(cmpEq, addr[:bits/8])
	default:
		mask := make([]byte, f.size)
		for i := range bits {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		r.load(networkHeader, offset, f.size)
		r.and(mask, addr, cmpEq)
	}
}

// local lets pass what is for an address of the host.
func (r *rule) local() {
	r.expr("fib", attrs(nil).u32(fibDreg, reg1).u32(fibResult, fibAddrType).u32(fibFlags, fibDaddr))
	r.cmp(cmpEq, binary.NativeEndian.AppendUint32(nil, addrLocal))
}

func (r *rule) ports(proto string, first, last uint16) {
	r.meta(metaL4proto, cmpEq, []byte{protocols[proto]})
	r.load(transportHeader, 2, 2)
	if first == last {
		r.cmp(cmpEq, be16(first))
		return
	}
	r.cmp(cmpGte, be16(first))
	r.cmp(cmpLte, be16(last))
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func (r *rule) lookup(s *set, dreg bool) {
	a := attrs(nil).str(lookupSet, s.name).u32(lookupSreg, reg1).u32(lookupSetID, s.id)
	if dreg {
		a = a.u32(lookupDreg, reg1)
	}
	r.expr("lookup", a)
}

func (r *rule) immediate(reg uint32, value []byte) {
	r.expr("immediate", attrs(nil).u32(immediateDreg, reg).nest(immediateData, attrs(nil).bytes(dataValue, value)))
}

func (r *rule) verdict(code uint32, chain string) {
	v := attrs(nil).u32(verdictCode, code)
	if chain != "" {
		v = v.str(verdictChain, chain)
	}
	r.expr("immediate", attrs(nil).u32(immediateDreg, 0).nest(immediateData, attrs(nil).nest(dataVerdict, v)))
}

// count adds a counter, which begins at 0 unless resume says otherwise.
func (r *rule) count() {
	data := attrs(nil).u64(counterBytes, 0).u64(counterPackets, 0)
	r.expr("counter", data)
	r.counter = len(r.exprs) - len(data)
}

// resume lets the counter go on.
func (r *rule) resume(old readRule) {
	if r.counter > 0 {
		copy(r.exprs[r.counter:], attrs(nil).u64(counterBytes, old.bytes).u64(counterPackets, old.packets))
	}
}

// dnat changes the destination to the address in register 1 and, if port is not 0,
// the port in that register.
func (r *rule) dnat(f family, port uint32) {
	a := attrs(nil).u32(natType, natDestination).u32(natFamily, uint32(f.proto)).u32(natAddrMin, reg1).u32(natAddrMax, reg1)
	if port != 0 {
		a = a.u32(natPortMin, port).u32(natPortMax, port)
	}
	r.expr("nat", a)
}

func (r *rule) masquerade() { r.expr("masq", nil) }

func (r *rule) body(table, chain string) attrs {
	a := attrs(nil).str(ruleTable, table).str(ruleChain, chain).nest(ruleExprs, r.exprs)
	if r.comment != "" {
		text := append([]byte(r.comment), 0)
		a = a.bytes(ruleUserdata, append([]byte{userdataComment, byte(len(text))}, text...))
	}
	return a
}
