package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// tries is how often a transaction is made again that another one overtook.
const tries = 50

// set puts a part in place of what the table has of it.
func (t Table) set(p part) error {
	if !nameRule.MatchString(t.Name) {
		return fmt.Errorf("table %q: %w", t.Name, unix.EINVAL)
	}
	c, err := dial(t.Name)
	if err != nil {
		return err
	}
	defer c.close()
	for range tries {
		err = c.setOnce(&p)
		if !retriable(err) {
			break
		}
	}
	return c.wrap("set "+p.kind+" "+p.name, err)
}

func (c *conn) setOnce(p *part) error {
	generation, err := c.generation()
	if err != nil {
		return err
	}
	jumps, err := c.jumps()
	if err != nil {
		return err
	}
	if err := c.resume(p, jumps); err != nil {
		return err
	}
	b := p.transaction(c.table, generation, jumps)
	if b == nil {
		return nil
	}
	err = c.commit(b)
	if len(b.ops) == 2 && errors.Is(err, unix.ENOENT) {
		return nil // the deletion of a table that is not there
	}
	return err
}

// resume lets the counters of rules that stay go on.
func (c *conn) resume(p *part, jumps []jump) error {
	for base, rules := range p.rules {
		chain := p.chain(base)
		if !slices.ContainsFunc(jumps, func(j jump) bool { return j.chain == chain }) {
			continue
		}
		old, err := c.rules(chain)
		if err != nil {
			return err
		}
		for _, r := range rules {
			i := slices.IndexFunc(old, func(o readRule) bool { return o.comment == r.comment })
			if i >= 0 && r.comment != "" {
				r.resume(old[i])
				old = slices.Delete(old, i, i+1)
			}
		}
	}
	return nil
}

func (t Table) delete() error {
	c, err := dial(t.Name)
	if err != nil {
		return err
	}
	defer c.close()
	for range tries {
		var generation uint32
		if generation, err = c.generation(); err != nil {
			break
		}
		b := newBatch(generation)
		b.add("delete table", delTable, 0, attrs(nil).str(tableName, t.Name))
		if err = c.commit(b); !retriable(err) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return c.wrap("delete", err)
}

func (t Table) parts() (Parts, error) {
	c, err := dial(t.Name)
	if err != nil {
		return Parts{}, err
	}
	defer c.close()
	if _, err := c.generation(); err != nil {
		return Parts{}, c.wrap("list", err)
	}
	jumps, err := again(c.jumps)
	var p Parts
	for _, j := range jumps {
		switch kind, name, _ := split(j.chain, j.base); kind {
		case kindSite:
			p.Sites = append(p.Sites, name)
		case kindNetwork:
			p.Networks = append(p.Networks, name)
		}
	}
	for _, list := range []*[]string{&p.Sites, &p.Networks} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return p, c.wrap("list", err)
}

func (t Table) counts(site string) ([]Count, error) {
	c, err := dial(t.Name)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if _, err := c.generation(); err != nil {
		return nil, c.wrap("count site "+site, err)
	}
	p := part{kind: kindSite, name: site}
	rules, err := again(func() ([]readRule, error) { return c.rules(p.chain("prerouting")) })
	var out []Count
	for _, r := range rules {
		if n := len(out); n > 0 && out[n-1].Redirect == r.comment {
			out[n-1].Connections += r.packets
			continue
		}
		out = append(out, Count{Redirect: r.comment, Connections: r.packets})
	}
	return out, c.wrap("count site "+site, err)
}

// retriable tells that another transaction came between a look and ours.
func retriable(err error) bool {
	return errors.Is(err, unix.ERESTART) || errors.Is(err, unix.EINTR)
}

// again makes a dump again that was overtaken by a change.
func again[T any](f func() (T, error)) (v T, err error) {
	for range tries {
		if v, err = f(); !retriable(err) {
			break
		}
	}
	return v, err
}

// conn is a netlink socket in the network stack of the thread that opened it.
type conn struct {
	fd    int
	table string
	buf   []byte
}

func dial(table string) (*conn, error) {
	c := &conn{table: table, buf: make([]byte, 64<<10)}
	var err error
	c.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err == unix.EPROTONOSUPPORT {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return nil, c.wrap("open socket", err)
	}
	err = unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, opt := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err == nil {
			err = unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, opt, 1)
		}
	}
	if err != nil {
		c.close()
		return nil, c.wrap("open socket", err)
	}
	return c, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// wrap gives an error the table's name, once.
func (c *conn) wrap(op string, err error) error {
	var e *Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &e):
		return err
	case errors.As(err, &errno):
		return &Error{Op: op, Table: c.table, Errno: errno}
	case err != nil:
		return fmt.Errorf("nftables: table %s: %s: %w", c.table, op, err)
	}
	return nil
}

func (c *conn) send(b []byte) error {
	if have, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && have < 2*len(b) {
		// A batch is one message. Who may change rules may have the memory for it.
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*len(b)); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("send", unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// receive reads one datagram of the kernel's. Without wait there may be none.
func (c *conn) receive(flags int) ([]byte, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, flags|unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("receive", err)
		case n > len(c.buf):
			return nil, os.NewSyscallError("receive", unix.EMSGSIZE)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); ok && nl.Pid == 0 {
			return c.buf[:n], nil
		}
	}
}

// commit sends a batch. The kernel has dealt with it, and answered, when the call
// returns: nothing is waited for.
func (c *conn) commit(b *batch) error {
	last := len(b.ops) - 1
	if err := c.send(b.end()); err != nil {
		return err
	}
	done := false
	var failed error
	for {
		buf, err := c.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return err
		}
		for a, err := range answers(buf) {
			if err != nil {
				return err
			}
			if a.typ != nlmError {
				continue
			}
			errno, msg, err := a.failure()
			if err != nil {
				return err
			}
			if errno != 0 && failed == nil && int(a.seq) < len(b.ops) {
				failed = &Error{Op: b.ops[a.seq], Table: c.table, Errno: errno, Msg: msg}
			}
			done = done || errno == 0 && int(a.seq) == last
		}
	}
	if failed == nil && !done {
		return fmt.Errorf("no answer to a transaction: %w", unix.EIO)
	}
	return failed
}

// ask sends one request and gives the attributes of each message of the answer.
func (c *conn) ask(msg, flags uint16, body attrs, each func(attrs) error) error {
	if err := c.send(request(nil, msg, flags, 1, body)); err != nil {
		return err
	}
	for {
		buf, err := c.receive(0)
		if err != nil {
			return err
		}
		for a, err := range answers(buf) {
			if err != nil {
				return err
			}
			switch {
			case a.flags&flagIntr != 0:
				return c.redial()
			case a.typ == nlmDone:
				return nil
			case a.typ == nlmError:
				errno, msg, err := a.failure()
				if err != nil || errno == 0 {
					return err
				}
				return &Error{Op: "look", Table: c.table, Errno: errno, Msg: msg}
			}
			list, err := a.attrs()
			if err != nil {
				return err
			}
			if err := each(list); err != nil {
				return err
			}
			if a.flags&flagMulti == 0 {
				return nil
			}
		}
	}
}

// redial leaves a dump that was overtaken: the rest of it must not be taken for
// the next answer.
func (c *conn) redial() error {
	n, err := dial(c.table)
	if err != nil {
		return err
	}
	c.close()
	c.fd = n.fd
	return unix.EINTR
}

// generation is the number of transactions that the rulesets of this network
// stack have seen.
func (c *conn) generation() (uint32, error) {
	var id uint32
	err := c.ask(getGen, 0, nil, func(a attrs) error {
		x, ok, err := a.find(genID)
		if err != nil || !ok {
			return errors.Join(err, errMalformed)
		}
		id, err = x.u32()
		return err
	})
	if errors.Is(err, unix.EINVAL) { // nfnetlink knows no nf_tables
		err = errors.ErrUnsupported
	}
	return id, err
}

// rules are those of a chain; none when there is no chain.
func (c *conn) rules(chain string) ([]readRule, error) {
	var out []readRule
	err := c.ask(getRule, flagDump, attrs(nil).str(ruleTable, c.table).str(ruleChain, chain), func(a attrs) error {
		r, err := parseRule(a)
		out = append(out, r)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return out, err
}

// jumps are the rules of the base chains.
func (c *conn) jumps() ([]jump, error) {
	var out []jump
	for _, b := range bases {
		rules, err := c.rules(b.name)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			out = append(out, jump{b.name, r.handle, r.jump})
		}
	}
	return out, nil
}

func (a attr) u32() (uint32, error) {
	if len(a.data) != 4 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint32(a.data), nil
}
