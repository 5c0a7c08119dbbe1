package netif

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestAddrRequest(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1/8": "6c6f30" + zeros(13) + "10020000" + "7f000001" + zeros(8) + zeros(16) + "10020000" + "ff000000" + zeros(8) + zeros(4),
		"10.1.2.3/20": "6c6f30" + zeros(13) + "10020000" + "0a010203" + zeros(8) + "10020000" + "0a010fff" + zeros(8) + "10020000" + "fffff000" + zeros(8) + zeros(4),
		"10.1.2.3/32": "6c6f30" + zeros(13) + "10020000" + "0a010203" + zeros(8) + zeros(16) + "10020000" + "ffffffff" + zeros(8) + zeros(4),
		"fd00::2/65":  "6c6f30" + zeros(13) + "1c1c" + zeros(6) + "fd00" + zeros(13) + "02" + zeros(4) + zeros(28) + "1c1c" + zeros(6) + "ffffffffffffffff80" + zeros(7) + zeros(4) + zeros(20) + "ffffffffffffffff" + zeros(8),
	} {
		b, err := addrRequest("lo0", netip.MustParsePrefix(in))
		if got := hex.EncodeToString(b); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", in, err, got, want)
		}
	}
	for _, name := range []string{"", strings.Repeat("n", nameSize), "a\x00"} {
		if err := Up(name); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", name, err)
		}
		if err := AddAddr(name, netip.MustParsePrefix("10.0.0.1/8")); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("::ffff:1.2.3.4/128")} {
		if err := AddAddr("lo0", p); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func zeros(n int) string { return strings.Repeat("00", n) }
