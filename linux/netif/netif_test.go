package netif

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// The bytes are what ip(8) sends on a machine of this byte order, taken from
// strace(1), but for attributes that it adds, and the NUL after a kind.
func TestMessages(t *testing.T) {
	if []byte(hex.EncodeToString(request{kind: 1}.pack(0)))[0] != '1' {
		t.Skip("bytes of a little-endian machine")
	}
	for name, tt := range map[string]struct {
		r    request
		want string
	}{
		"get link": {getLink("xc0"), "28000000" + "1200" + "0500" + "07000000" + "00000000" +
			strings.Repeat("00", 16) + "0800" + "0300" + "78633000"},
		"add bridge": {newBridge(Bridge{Name: "xc0"}), "38000000" + "1000" + "0506" + "07000000" + "00000000" +
			strings.Repeat("00", 16) + "0800" + "0300" + "78633000" + "1000" + "1200" + "0b00" + "0100" + "627269646765" + "0000"},
		"add address": {changeAddr(rtmNewAddr, 5, netip.MustParsePrefix("10.1.2.3/20")), "28000000" + "1400" + "0506" + "07000000" + "00000000" +
			"02140000" + "05000000" + "0800" + "0200" + "0a010203" + "0800" + "0100" + "0a010203"},
		"default route": {changeRoute(rtmNewRoute, 0, Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.1")}),
			"24000000" + "1800" + "0506" + "07000000" + "00000000" + "02000000" + "fe030001" + "00000000" + "0800" + "0500" + "0a010001"},
	} {
		got := hex.EncodeToString(tt.r.pack(7))
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	var c Conn
	for _, name := range []string{"", ".", "..", strings.Repeat("n", nameSize), "a/b", "a b", "a\x00"} {
		_, err := c.Lookup(name)
		for _, err := range []error{err, c.AddBridge(Bridge{Name: name}), c.AddVeth(Veth{End: End{Name: name}, Peer: End{Name: "p"}}), c.Delete(name), c.Set(name, Change{Up: Yes})} {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if err := c.AddAddr("lo", netip.Prefix{}); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	for _, r := range []Route{{}, {Name: "lo"}, {Prefix: netip.MustParsePrefix("10.0.0.0/8"), Gateway: netip.MustParseAddr("fd00::1")}} {
		if err := c.AddRoute(r); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// Whatever the kernel sends, nothing is read beyond it.
func FuzzAnswers(f *testing.F) {
	f.Add(newVeth(Veth{End: End{Name: "a", MTU: 9000}, Peer: End{Name: "b"}}).pack(1))
	f.Add(changeAddr(rtmNewAddr, 5, netip.MustParsePrefix("fd00::1/64")).pack(2))
	f.Add(changeRoute(rtmNewRoute, 3, Route{Prefix: netip.MustParsePrefix("10.0.0.0/9")}).pack(3))
	f.Add(request{kind: nlmsgError, flags: flagAckTLVs, body: append([]byte{0xef, 0xff, 0xff, 0xff}, getLink("x").pack(1)...)}.pack(4))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := unpack(b)
		if err != nil && list != nil {
			t.Error("both answers and an error")
		}
		for _, a := range list {
			_ = a.verdict()
			parseLink(a)
			parseAddr(a)
			parseRoute(a)
		}
	})
}

func TestParseOwnMessages(t *testing.T) {
	read := func(r request) answer {
		t.Helper()
		list, err := unpack(r.pack(9))
		if err != nil || len(list) != 1 || list[0].seq != 9 {
			t.Fatalf("%+v %v", list, err)
		}
		return list[0]
	}
	mac := []byte{2, 3, 4, 5, 6, 7}
	if i, ok := parseLink(read(newBridge(Bridge{Name: "br", MAC: mac, MTU: 9000}))); !ok || i.Name != "br" || i.Kind != "bridge" || i.MTU != 9000 || i.MAC.String() != "02:03:04:05:06:07" {
		t.Errorf("link: %+v", i)
	}
	for _, text := range []string{"10.1.2.3/20", "fd00::3/64", "fe80::1/10"} {
		p := netip.MustParsePrefix(text)
		if index, got, ok := parseAddr(read(changeAddr(rtmNewAddr, 5, p))); !ok || got != p || index != 5 {
			t.Errorf("address %s: %d %s", p, index, got)
		}
	}
	for _, want := range []Route{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.1")},
		{Prefix: netip.MustParsePrefix("fd00:1::/32")},
	} {
		if r, index, ok := parseRoute(read(changeRoute(rtmNewRoute, 3, want))); !ok || r != want || index != 3 {
			t.Errorf("route %+v: %d %+v", want, index, r)
		}
	}
}
