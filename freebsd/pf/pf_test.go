package pf

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var samples = []Redirect{
	{Proto: "tcp", First: 8080, Last: 8080, Target: addr("10.0.0.2"), Port: 80},
	{Proto: "udp", Host: addr("fd00::1"), First: 53, Last: 53, Target: addr("fd00::2"), Port: 5353, Interface: "em0"},
	{Proto: "tcp", Host: addr("192.0.2.1"), First: 8000, Last: 8010, Target: addr("10.0.0.2"), Port: 80, Except: []string{"lo0", "xc0"}, From: prefixes("10.1.2.3/8")},
	{Proto: "sctp", First: 1, Last: 1, Target: addr("10.0.0.2"), Port: 1, From: prefixes("10.0.0.0/8", "192.0.2.7/32")},
}

const golden = `rdr inet proto tcp from any to (self) port 8080 -> 10.0.0.2 port 80
rdr on "em0" inet6 proto udp from any to fd00::1 port 53 -> fd00::2 port 5353
no rdr on "lo0" inet proto tcp from any to 192.0.2.1 port 8000:8010
no rdr on "xc0" inet proto tcp from any to 192.0.2.1 port 8000:8010
rdr inet proto tcp from 10.0.0.0/8 to 192.0.2.1 port 8000:8010 -> 10.0.0.2 port 80:*
rdr inet proto sctp from 10.0.0.0/8 to (self) port 1 -> 10.0.0.2 port 1
rdr inet proto sctp from 192.0.2.7/32 to (self) port 1 -> 10.0.0.2 port 1
nat on "em0" inet from 10.0.0.0/24 to ! 10.0.0.0/24 -> (em0:0)
`

func TestRules(t *testing.T) {
	got, err := rules(samples, []NAT{{"em0", netip.MustParsePrefix("10.0.0.9/24")}})
	if err != nil || got != golden {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, golden)
	}
	if got, err := rules(nil, nil); err != nil || got != "" {
		t.Errorf("nothing: %q, %v", got, err)
	}
}

func TestRulesRefused(t *testing.T) {
	good := samples[0]
	for name, change := range map[string]func(r *Redirect){
		"protocol":          func(r *Redirect) { r.Proto = "tcp from any" },
		"no protocol":       func(r *Redirect) { r.Proto = "" },
		"port 0":            func(r *Redirect) { r.First, r.Last = 0, 0 },
		"backwards":         func(r *Redirect) { r.Last = r.First - 1 },
		"past the last":     func(r *Redirect) { r.Last, r.Port = r.First+10, 65530 },
		"no target":         func(r *Redirect) { r.Target = netip.Addr{} },
		"zone":              func(r *Redirect) { r.Target = addr("fe80::1%em0") },
		"v4 in v6":          func(r *Redirect) { r.Target = addr("::ffff:10.0.0.1") },
		"families":          func(r *Redirect) { r.Host = addr("fd00::1") },
		"unspecified":       func(r *Redirect) { r.Host = addr("0.0.0.0") },
		"family of source":  func(r *Redirect) { r.From = prefixes("fd00::/8") },
		"no source":         func(r *Redirect) { r.From = []netip.Prefix{{}} },
		"interface":         func(r *Redirect) { r.Interface = "em0\npass" },
		"quote":             func(r *Redirect) { r.Interface = `em0"` },
		"two interfaces":    func(r *Redirect) { r.Interface, r.Except = "em0", []string{"em1"} },
		"other interface":   func(r *Redirect) { r.Except = []string{"$ext"} },
		"interface is long": func(r *Redirect) { r.Interface = strings.Repeat("e", 16) },
	} {
		r := good
		change(&r)
		if text, err := rules([]Redirect{r}, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for _, n := range []NAT{{}, {"em0", netip.Prefix{}}, {"em0 ", prefixes("10.0.0.0/8")[0]}} {
		if _, err := rules(nil, []NAT{n}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	for _, a := range []string{"", "/", "a/", "/a", "a//b", "..", "a/*", "-a", "a b", "a\n", `a"`, strings.Repeat("a", 64), strings.Repeat("a/", 600) + "a"} {
		if err := Load(t.Context(), a, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("anchor %q: %v", a, err)
		}
		if _, err := Counts(t.Context(), a); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("anchor %q: %v", a, err)
		}
		if _, err := Anchors(t.Context(), a); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("anchor %q: %v", a, err)
		}
	}
	for _, name := range []string{"", "-t", "a b", strings.Repeat("a", 32), "a>", "a\x00"} {
		x := Table(name)
		_, lerr := x.Addrs()
		for op, err := range map[string]error{"add": x.Add(addr("10.0.0.1")), "remove": x.Remove(addr("10.0.0.1")), "drop": x.Drop(), "list": lerr} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s table %q: %v", op, name, err)
			}
		}
	}
	for _, a := range []netip.Addr{{}, addr("fe80::1%em0"), addr("::ffff:10.0.0.1")} {
		if err := Table("x").Add(a); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("add %v: %v", a, err)
		}
	}
}

func TestCalls(t *testing.T) {
	const out = "nat-anchor \"xc-nat/*\" all\nrdr-anchor \"xc-rdr/*\" all\nrdr-anchor \"ftp-proxy/*\" on em0 inet all\n"
	for _, c := range []struct {
		kind, parent string
		want         bool
	}{
		{"rdr-anchor", "xc-rdr", true}, {"nat-anchor", "xc-nat", true}, {"rdr-anchor", "ftp-proxy", true},
		{"nat-anchor", "xc-rdr", false}, {"rdr-anchor", "xc", false}, {"rdr-anchor", "rdr", false},
	} {
		if got := calls(out, c.kind, c.parent); got != c.want {
			t.Errorf("%s %s: %v", c.kind, c.parent, got)
		}
	}
}

// counted is what pfctl -a xc-rdr/abc -s nat -v printed on FreeBSD 14.0.
const counted = `rdr on lo0 inet proto tcp from 10.0.0.0/8 to any port 8000:8010 -> 10.0.0.2 port 80:90
  [ Evaluations: 12        Packets: 7         Bytes: 512         States: 1     ]
  [ Inserted: uid 0 pid 452 State Creations: 17    ]
rdr on lo0 inet proto tcp from 192.168.0.0/16 to any port 8000:8010 -> 10.0.0.2 port 80:90
  [ Evaluations: 12        Packets: 7         Bytes: 512         States: 1     ]
  [ Inserted: uid 0 pid 452 State Creations: 4     ]
nat on em0 inet from 10.0.0.0/24 to ! 10.0.0.0/24 -> (em0:0)
  [ Evaluations: 12        Packets: 7         Bytes: 512         States: 1     ]
  [ Inserted: uid 0 pid 452 State Creations: 99    ]
rdr pass on ! lo0 inet6 proto udp from any to fd00::1 port = domain -> fd00::2 port 53
  [ Evaluations: 0         Packets: 0         Bytes: 0           States: 0     ]
  [ Inserted: uid 0 pid 452 State Creations: 0     ]
`

func TestCounts(t *testing.T) {
	got, err := parseCounts(counted)
	if err != nil || !slices.Equal(got, []uint64{21, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseCounts("rdr x\n [ State Creations: many ]\n"); !errors.Is(err, fs.ErrInvalid) && err == nil {
		t.Error("many was read")
	}
}

func TestTableRequests(t *testing.T) {
	b := encodeAddrs([]netip.Addr{addr("10.0.0.2"), addr("fd00::2")})
	want := make([]byte, 40)
	copy(want, []byte{10, 0, 0, 2})
	want[16], want[17] = 2, 32
	want[20], want[21], want[35] = 0xfd, 0, 2
	want[36], want[37] = 28, 128
	if !slices.Equal(b, want) {
		t.Errorf("got % x\nwant % x", b, want)
	}
	back, err := decodeAddrs(b)
	if err != nil || !slices.Equal(back, prefixes("10.0.0.2/32", "fd00::2/128")) {
		t.Errorf("%v, %v", back, err)
	}
	r := tableRequest("x", addrSize, 2)
	if len(r) != 1104 || string(r[1024:1026]) != "x\x00" || binary.NativeEndian.Uint32(r[1072:]) != 20 || binary.NativeEndian.Uint32(r[1076:]) != 2 {
		t.Error(r)
	}
	if s := tableOf("x", persist); len(s) != 1064 || s[1024] != 'x' || binary.NativeEndian.Uint32(s[1056:]) != 1 {
		t.Error(s)
	}
}

func TestError(t *testing.T) {
	for _, c := range []struct {
		err  Error
		want string
		is   error
	}{
		{Error{Op: "pfctl -s info", Errno: syscall.ENOENT, Msg: "pf is not loaded: kldload pf"}, "pf: pfctl -s info: pf is not loaded: kldload pf: no such file or directory", fs.ErrNotExist},
		{Error{Op: "pfctl -f -", Msg: "stdin:1: syntax error"}, "pf: pfctl -f -: stdin:1: syntax error", nil},
	} {
		if got := c.err.Error(); got != c.want || (c.is != nil && !errors.Is(&c.err, c.is)) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// FuzzRedirect makes sure that whatever is accepted is one rule on one line, of
// characters that have no meaning but their own.
func FuzzRedirect(f *testing.F) {
	f.Add("tcp", "10.0.0.1", uint16(1), uint16(2), "10.0.0.2", uint16(80), "em0", "", "10.0.0.0/8")
	f.Add("udp", "fd00::1", uint16(1), uint16(1), "fd00::2", uint16(80), "", "xc0", "fd00::/8")
	f.Add("tcp", "", uint16(1), uint16(1), "fe80::1%em0\npass", uint16(80), "a\"\nb", "", "")
	f.Fuzz(func(t *testing.T, proto, host string, first, last uint16, target string, port uint16, on, except, from string) {
		r := Redirect{Proto: proto, First: first, Last: last, Port: port, Interface: on}
		if except != "" {
			r.Except = []string{except}
		}
		r.Host, _ = netip.ParseAddr(host)
		r.Target, _ = netip.ParseAddr(target)
		if p, err := netip.ParsePrefix(from); err == nil {
			r.From = []netip.Prefix{p}
		}
		text, err := rules([]Redirect{r}, nil)
		if err != nil {
			return
		}
		_, rule, _ := strings.Cut("\n"+text, "\nrdr ")
		if strings.Count(text, "\n") != 1+len(r.Except) || strings.Count(rule, "\n") != 1 || !strings.HasSuffix(text, "\n") {
			t.Errorf("%+v: %q", r, text)
		}
		if strings.Count(text, `"`)%2 != 0 || strings.ContainsAny(text, "${}<#\\\t;'!") {
			t.Errorf("%+v: %q", r, text)
		}
	})
}

func FuzzParseCounts(f *testing.F) {
	f.Add(counted)
	f.Add("rdr 0") // a rule whose counters pfctl does not show
	f.Fuzz(func(t *testing.T, out string) {
		if counts, err := parseCounts(out); err == nil && len(counts) > strings.Count(out, "rdr ") {
			t.Errorf("%d counts of %q", len(counts), out)
		}
	})
}

func FuzzDecodeAddrs(f *testing.F) {
	f.Add(encodeAddrs([]netip.Addr{addr("10.0.0.2"), addr("fd00::2")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeAddrs(b)
		if err == nil && len(list) != len(b)/addrSize {
			t.Errorf("%d of % x", len(list), b)
		}
	})
}
