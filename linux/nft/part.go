package nft

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
)

const (
	kindSite    = "site"
	kindNetwork = "network"
)

// base is a base chain: all that the kernel calls of ours.
type base struct {
	name     string
	typ      string
	hook     uint32
	priority int32
}

// The priorities are those that nft(8) calls dstnat, filter and srcnat.
var bases = []base{
	{"prerouting", "nat", hookPrerouting, -100},
	{"forward", "filter", hookForward, 0},
	{"postrouting", "nat", hookPostrouting, 100},
}

// part is what a site or a network has of the table; nothing without rules.
type part struct {
	kind, name string
	sets       []*set
	rules      map[string][]*rule // by base chain
}

func (p *part) chain(base string) string { return p.kind + "-" + p.name + "-" + base }

// split finds the part that a chain belongs to.
func split(chain, base string) (kind, name string, ok bool) {
	kind, rest, ok := strings.Cut(chain, "-")
	name, ok2 := strings.CutSuffix(rest, "-"+base)
	return kind, name, ok && ok2 && (kind == kindSite || kind == kindNetwork)
}

// setNames are the names of the sets that a part has, whether it needs them or
// not, so that they can be deleted unseen.
func (p *part) setNames() []string {
	if p.kind != kindNetwork {
		return nil
	}
	return []string{p.kind + "-" + p.name + "-4", p.kind + "-" + p.name + "-6"}
}

// set is a set or map that is made in the batch.
type set struct {
	name              string
	id                uint32 // in the batch
	flags             uint32
	keyType, keyLen   uint32
	dataType, dataLen uint32
	elems             []attrs
}

func (s *set) body(table string) attrs {
	a := attrs(nil).str(setTable, table).str(setName, s.name).u32(setFlags, s.flags).
		u32(setKeyType, s.keyType).u32(setKeyLen, s.keyLen).u32(setID, s.id)
	if s.flags&setMap != 0 {
		a = a.u32(setDataType, s.dataType).u32(setDataLen, s.dataLen)
	}
	return a
}

// chunk is how many elements go into one message: an attribute holds 64 KiB.
const chunk = 500

func (s *set) chunks(table string) []attrs {
	var out []attrs
	for at := 0; at < len(s.elems); at += chunk {
		var list attrs
		for _, e := range s.elems[at:min(at+chunk, len(s.elems))] {
			list = list.nest(listElem, e)
		}
		out = append(out, attrs(nil).str(elemsTable, table).str(elemsSet, s.name).u32(elemsSetID, s.id).nest(elems, list))
	}
	return out
}

// prefixes makes a set of the prefixes of one family.
func prefixes(name string, id uint32, f family, list []netip.Prefix) *set {
	s := &set{name: name, id: id, flags: setInterval, keyType: f.typ, keyLen: f.size}
	for _, p := range list {
		first := p.Masked().Addr()
		s.elems = append(s.elems, attrs(nil).nest(elemKey, attrs(nil).bytes(dataValue, first.AsSlice())))
		if end := after(p); end.IsValid() {
			s.elems = append(s.elems, attrs(nil).nest(elemKey, attrs(nil).bytes(dataValue, end.AsSlice())).u32(elemFlags, elemIntervalEnd))
		}
	}
	return s
}

// after is the first address behind a prefix; invalid when there is none.
func after(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Next()
}

func (n *Network) part() (part, error) {
	p := part{kind: kindNetwork, name: n.Name, rules: map[string][]*rule{}}
	if !nameRule.MatchString(n.Name) {
		return p, fmt.Errorf("its name is not of letters, digits, '.', '_' and '-': %w", fs.ErrInvalid)
	}
	if n.Bridge == "" || len(n.Bridge) >= ifnameSize || len(n.Prefixes) == 0 {
		return p, fmt.Errorf("bridge %q with %d prefixes: %w", n.Bridge, len(n.Prefixes), fs.ErrInvalid)
	}
	for i, f := range []family{v4, v6} {
		var list []netip.Prefix
		for _, x := range n.Prefixes {
			if !x.IsValid() || x.Addr().Is4In6() {
				return p, fmt.Errorf("prefix %s: %w", x, fs.ErrInvalid)
			}
			if familyOf(x.Addr()) == f {
				list = append(list, x)
			}
		}
		s := prefixes(p.setNames()[i], uint32(i+1), f, list)
		p.sets = append(p.sets, s)
		if len(list) > 0 && n.Masquerade {
			p.rules["postrouting"] = append(p.rules["postrouting"], n.masqueraded(f, s))
		}
	}
	if n.Isolated {
		r := &rule{}
		r.iface(metaOifname, cmpEq, n.Bridge)
		r.iface(metaIifname, cmpNeq, n.Bridge)
		r.conntrack(ctState, stateEstablished|stateRelated, cmpEq)
		r.conntrack(ctStatus, statusDNAT, cmpEq)
		r.count()
		r.verdict(verdictDrop, "")
		p.rules["forward"] = []*rule{r}
	}
	return p, nil
}

// masqueraded is the rule for what leaves the network.
func (n *Network) masqueraded(f family, s *set) *rule {
	r := &rule{}
	r.is(f)
	r.load(networkHeader, f.source, f.size)
	r.lookup(s, false)
	r.iface(metaOifname, cmpNeq, n.Bridge)
	r.masquerade()
	return r
}

func (s *Site) part() (part, error) {
	p := part{kind: kindSite, name: s.Name, rules: map[string][]*rule{}}
	if !nameRule.MatchString(s.Name) {
		return p, fmt.Errorf("its name is not of letters, digits, '.', '_' and '-': %w", fs.ErrInvalid)
	}
	for _, r := range s.Redirects {
		if err := r.Check(); err != nil {
			return p, err
		}
		from := r.From
		if len(from) == 0 {
			from = []netip.Prefix{netip.PrefixFrom(r.Target, 0)}
		}
		for _, source := range from {
			m := r.portMap(uint32(len(p.sets) + 1)) // an anonymous set is one rule's
			if m != nil {
				p.sets = append(p.sets, m)
			}
			p.rules["prerouting"] = append(p.rules["prerouting"], r.rule(source, m))
		}
	}
	for _, subnet := range s.Subnets {
		if len(s.Redirects) == 0 {
			break
		}
		if !subnet.IsValid() || subnet.Addr().Is4In6() {
			return p, fmt.Errorf("subnet %s: %w", subnet, fs.ErrInvalid)
		}
		p.rules["postrouting"] = append(p.rules["postrouting"], hairpin(subnet))
	}
	return p, nil
}

// hairpin is the rule for calls from a subnet that were redirected into it.
func hairpin(subnet netip.Prefix) *rule {
	f := familyOf(subnet.Addr())
	r := &rule{}
	r.is(f)
	r.within(f, f.source, subnet)
	r.within(f, f.dest, subnet)
	r.conntrack(ctStatus, statusDNAT, cmpNeq)
	r.masquerade()
	return r
}

// rule is the one for calls from a source.
func (r *Redirect) rule(from netip.Prefix, m *set) *rule {
	f := familyOf(r.Target)
	x := &rule{comment: r.String()}
	if r.Interface != "" {
		x.iface(metaIifname, cmpEq, r.Interface)
	}
	x.is(f)
	x.within(f, f.source, from)
	if r.Host.IsValid() {
		x.within(f, f.dest, netip.PrefixFrom(r.Host, r.Host.BitLen()))
	} else {
		x.local()
	}
	x.ports(r.Proto, r.First, r.Last)
	x.count()
	switch {
	case m != nil:
		x.load(transportHeader, 2, 2)
		x.lookup(m, true)
		x.dnat(f, f.destLocalRegister)
	case r.First == r.Port:
		// Without a port the kernel keeps the one that was called. Given a range
		// it would look for a free one in it.
		x.immediate(reg1, r.Target.AsSlice())
		x.dnat(f, 0)
	default:
		x.immediate(reg1, r.Target.AsSlice())
		x.immediate(f.destLocalRegister, be16(r.Port))
		x.dnat(f, f.destLocalRegister)
	}
	return x
}

// portMap maps the ports of a range to others: nftables has no addition. It is
// not needed when there is one port, or when they stay the same.
func (r *Redirect) portMap(id uint32) *set {
	if r.First == r.Last || r.First == r.Port {
		return nil
	}
	f := familyOf(r.Target)
	s := &set{
		name: "__map%d", id: id, flags: setAnonymous | setConstant | setMap, keyType: typeService, keyLen: 2,
		dataType: f.typ<<typeBits | typeService, dataLen: f.size + 4,
	}
	for i := range int(r.Last-r.First) + 1 {
		data := binary.BigEndian.AppendUint16(r.Target.AsSlice(), r.Port+uint16(i))
		s.elems = append(s.elems, attrs(nil).nest(elemKey, attrs(nil).bytes(dataValue, be16(r.First+uint16(i)))).
			nest(elemData, attrs(nil).bytes(dataValue, append(data, 0, 0))))
	}
	return s
}

// jump is a rule of a base chain that leads to a part.
type jump struct {
	base   string
	handle uint64
	chain  string
}

// transaction builds the batch that puts p in place of what the table has of it.
func (p *part) transaction(table string, generation uint32, jumps []jump) *batch {
	b := newBatch(generation)
	others, mine := 0, []jump{}
	for _, j := range jumps {
		if kind, name, _ := split(j.chain, j.base); kind == p.kind && name == p.name {
			mine = append(mine, j)
		} else {
			others++
		}
	}
	empty := true
	for _, r := range p.rules {
		empty = empty && len(r) == 0
	}
	named := attrs(nil).str(tableName, table)
	if empty && others == 0 {
		b.add("delete table", delTable, 0, named)
		return b
	}
	if empty && len(mine) == 0 {
		return nil
	}
	for _, j := range mine {
		b.add("delete jump", delRule, 0, attrs(nil).str(ruleTable, table).str(ruleChain, j.base).u64(ruleHandle, j.handle))
		b.add("flush chain "+j.chain, delRule, 0, attrs(nil).str(ruleTable, table).str(ruleChain, j.chain))
		b.add("delete chain "+j.chain, delChain, 0, attrs(nil).str(chainTable, table).str(chainName, j.chain))
	}
	for _, name := range p.setNames() {
		if len(mine) > 0 {
			b.add("delete set "+name, delSet, 0, attrs(nil).str(setTable, table).str(setName, name))
		}
	}
	if !empty {
		p.create(b, table)
	}
	return b
}

func (p *part) create(b *batch, table string) {
	b.add("add table", newTable, flagCreate, attrs(nil).str(tableName, table))
	for _, c := range bases {
		hook := attrs(nil).u32(hookNum, c.hook).u32(hookPriority, uint32(c.priority))
		b.add("add chain "+c.name, newChain, flagCreate, attrs(nil).str(chainTable, table).str(chainName, c.name).
			nest(chainHook, hook).str(chainType, c.typ))
	}
	for _, s := range p.sets {
		b.add("add set "+s.name, newSet, flagCreate, s.body(table))
		for _, c := range s.chunks(table) {
			b.add("add elements to "+s.name, newSetElem, flagCreate, c)
		}
	}
	for _, c := range bases {
		if len(p.rules[c.name]) == 0 {
			continue
		}
		chain := p.chain(c.name)
		b.add("add chain "+chain, newChain, flagCreate, attrs(nil).str(chainTable, table).str(chainName, chain))
		for _, r := range p.rules[c.name] {
			b.add("add rule", newRule, flagCreate|flagAppend, r.body(table, chain))
		}
		var j rule
		j.verdict(verdictJump, chain)
		b.add("add jump", newRule, flagCreate|flagAppend, j.body(table, c.name))
	}
}
