package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestCheck(t *testing.T) {
	good := Redirect{Proto: "tcp", First: 80, Last: 80, Target: netip.MustParseAddr("10.0.0.1"), Port: 80}
	tests := map[string]struct {
		change func(*Redirect)
		want   string // "": no error
	}{
		"good":             {func(*Redirect) {}, ""},
		"sctp":             {func(r *Redirect) { r.Proto = "sctp" }, ""},
		"all ports":        {func(r *Redirect) { r.First, r.Last, r.Port = 1, 65535, 1 }, ""},
		"protocol":         {func(r *Redirect) { r.Proto = "icmp" }, "protocol"},
		"port 0":           {func(r *Redirect) { r.First = 0 }, "no range"},
		"backwards":        {func(r *Redirect) { r.First, r.Last = 81, 80 }, "no range"},
		"over the end":     {func(r *Redirect) { r.First, r.Last, r.Port = 1, 100, 65500 }, "no range"},
		"no target":        {func(r *Redirect) { r.Target = netip.Addr{} }, "target"},
		"mapped target":    {func(r *Redirect) { r.Target = netip.MustParseAddr("::ffff:10.0.0.1") }, "target"},
		"other family":     {func(r *Redirect) { r.Host = netip.MustParseAddr("::1") }, "families"},
		"source of other":  {func(r *Redirect) { r.From = []netip.Prefix{netip.MustParsePrefix("fd00::/8")} }, "source fd00::/8"},
		"long interface":   {func(r *Redirect) { r.Interface = "sixteen-letters-" }, "interface"},
		"interface, slash": {func(r *Redirect) { r.Interface = "a/b" }, "interface"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := good
			tt.change(&r)
			err := r.Check()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want something about %q", err, tt.want)
			}
			if _, err := (&Site{Name: "a", Redirects: []Redirect{r}}).part(); err == nil {
				t.Error("a site has it all the same")
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "a b", "a\"b", "-a", strings.Repeat("a", 101), "ä", "a/b"} {
		if _, err := (&Site{Name: name}).part(); err == nil {
			t.Errorf("site %q", name)
		}
		if _, err := (&Network{Name: name, Bridge: "b", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}).part(); err == nil {
			t.Errorf("network %q", name)
		}
	}
	for _, n := range []Network{{Name: "a"}, {Name: "a", Bridge: "b"}, {Name: "a", Bridge: "b", Prefixes: make([]netip.Prefix, 1)}} {
		if _, err := n.part(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// ops are the operations of the transaction that puts a part in place.
func ops(p part, jumps []jump) []string {
	b := p.transaction("t", 1, jumps)
	if b == nil {
		return nil
	}
	n := 0
	for a, err := range answers(b.end()) {
		if err != nil {
			return []string{err.Error()}
		}
		if want := uint32(n); a.seq != want {
			return []string{fmt.Sprintf("message %d has number %d", want, a.seq)}
		}
		n++
	}
	if n != len(b.ops)+1 {
		return []string{fmt.Sprintf("%d messages", n)}
	}
	return b.ops[1:]
}

// TestTransaction: what is deleted is what the part has, and the table with the
// last.
func TestTransaction(t *testing.T) {
	site := func(name string, redirects ...Redirect) part {
		p, err := (&Site{Name: name, Redirects: redirects}).part()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	r := Redirect{Proto: "tcp", First: 80, Last: 81, Target: netip.MustParseAddr("10.0.0.1"), Port: 8080}
	mine := []jump{{"prerouting", 7, "site-a-prerouting"}}
	both := append(mine, jump{"postrouting", 8, "network-a-postrouting"}, jump{"prerouting", 9, "site-a-b-prerouting"})
	const create = "add table, add chain prerouting, add chain forward, add chain postrouting, add set __map%d, add elements to __map%d, add chain site-a-prerouting, add rule, add jump"
	const drop = "delete jump, flush chain site-a-prerouting, delete chain site-a-prerouting"
	tests := map[string]struct {
		p     part
		jumps []jump
		want  string
	}{
		"new":                    {site("a", r), nil, create},
		"beside others":          {site("a", r), both[1:], create},
		"in place":               {site("a", r), both, drop + ", " + create},
		"the last":               {site("a"), mine, "delete table"},
		"not the last":           {site("a"), both, drop},
		"nothing, no others":     {site("a"), nil, "delete table"}, // which may not be there
		"nothing, beside others": {site("a"), both[1:], ""},
		"a network": {part{kind: kindNetwork, name: "a"}, both,
			"delete jump, flush chain network-a-postrouting, delete chain network-a-postrouting, delete set network-a-4, delete set network-a-6"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(ops(tt.p, tt.jumps), ", "); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestParseRule(t *testing.T) {
	r := Redirect{Proto: "tcp", First: 80, Last: 80, Target: netip.MustParseAddr("10.0.0.1"), Port: 8080}
	x := r.rule(netip.MustParsePrefix("0.0.0.0/0"), nil)
	x.resume(readRule{packets: 3, bytes: 180})
	got, err := parseRule(x.body("t", "c").u64(ruleHandle, 5))
	if want := (readRule{handle: 5, comment: r.String(), packets: 3, bytes: 180}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	var j rule
	j.verdict(verdictJump, "site-a-prerouting")
	got, err = parseRule(j.body("t", "c"))
	if want := (readRule{jump: "site-a-prerouting"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// refusal is an NLMSG_ERROR as the kernel sends it with NETLINK_EXT_ACK, with or
// without NETLINK_CAP_ACK.
func refusal(errno syscall.Errno, msg string, capped bool) answer {
	a := answer{typ: nlmError, flags: flagAckTLVs}
	a.body = binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	req := request(nil, newRule, 0, 4, attrs(nil).str(1, "some table"))
	if capped {
		a.flags |= flagCapped
		req = req[:headerSize]
	}
	a.body = append(append(a.body, req...), attrs(nil).str(ackMsg, msg)...)
	return a
}

func TestFailure(t *testing.T) {
	for _, capped := range []bool{true, false} {
		errno, msg, err := refusal(syscall.EBUSY, "chain is in use", capped).failure()
		if errno != syscall.EBUSY || msg != "chain is in use" || err != nil {
			t.Errorf("capped %v: %v, %q, %v", capped, errno, msg, err)
		}
	}
	if errno, _, err := (answer{body: make([]byte, 4)}).failure(); errno != 0 || err != nil {
		t.Errorf("an acknowledgement: %v, %v", errno, err)
	}
	if _, _, err := (answer{body: make([]byte, 3)}).failure(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("cut off: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	r := Redirect{Proto: "tcp", First: 80, Last: 82, Target: netip.MustParseAddr("10.0.0.1"), Port: 8080}
	var j rule
	j.verdict(verdictJump, "site-a-prerouting")
	for _, body := range []attrs{r.rule(netip.MustParsePrefix("10.0.0.0/9"), r.portMap(1)).body("t", "c"), j.body("t", "c"), attrs(nil).u32(genID, 9)} {
		f.Add(request(nil, newRule, flagMulti, 1, body))
	}
	for _, capped := range []bool{true, false} {
		a := refusal(syscall.ENOENT, "no such chain", capped)
		f.Add(bytes.Join([][]byte{appendMessage(nil, nlmError, a.flags, 2, [4]byte(a.body[:4]), a.body[4:]), request(nil, newGen, 0, 1, nil)}, nil))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		for a, err := range answers(b) {
			if err != nil {
				return
			}
			_, _, _ = a.failure()
			list, err := a.attrs()
			if err != nil {
				continue
			}
			_, _ = parseRule(list)
			_, _, _ = list.find(genID)
		}
	})
}
