package netif

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"reflect"
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
}

func TestDelRequest(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3": "6c6f30" + zeros(13) + "10020000" + "0a010203" + zeros(8),
		"fd00::2":  "6c6f30" + zeros(13) + "1c1c" + zeros(6) + "fd00" + zeros(13) + "02" + zeros(4) + zeros(ifreq6Size-16-28),
	} {
		b, err := delRequest("lo0", netip.MustParseAddr(in))
		if got := hex.EncodeToString(b); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", in, err, got, want)
		}
	}
}

// TestRefusals looks at what must not get as far as the kernel.
func TestRefusals(t *testing.T) {
	var s Stack
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, name := range []string{"", strings.Repeat("n", nameSize), "a\x00", "a b", "../x"} {
		_, cerr := s.Create(name)
		for op, err := range map[string]error{
			"create": cerr, "destroy": s.Destroy(name), "rename": s.Rename("lo0", name), "up": s.Up(name),
			"mtu": s.SetMTU(name, 1500), "mac": s.SetMAC(name, mac), "move": s.Move(name, 1), "return": s.Return(name, 1),
			"address": s.AddAddr(name, netip.MustParsePrefix("10.0.0.1/8")), "remove": s.RemoveAddr(name, netip.MustParseAddr("fd00::1")),
			"member": s.AddMember("bridge0", name),
		} {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s %q: %v", op, name, err)
			}
		}
	}
	for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("::ffff:1.2.3.4/128")} {
		if err := s.AddAddr("lo0", p); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", p, err)
		}
		if err := s.RemoveAddr("lo0", p.Addr()); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", p, err)
		}
	}
	for _, m := range []net.HardwareAddr{nil, {1, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}} {
		if err := s.SetMAC("lo0", m); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", m, err)
		}
	}
	if _, err := Enter(0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("jail 0: %v", err)
	}
	if err := (*Stack)(nil).Close(); err != nil {
		t.Error(err)
	}
}

func TestRequests(t *testing.T) {
	if got, want := hex.EncodeToString(ifreq("em0", intArg(1400))), "656d30"+zeros(13)+hex.EncodeToString(binary.NativeEndian.AppendUint32(nil, 1400))+zeros(12); got != want {
		t.Errorf("mtu\n got %s\nwant %s", got, want)
	}
	if got, want := hex.EncodeToString(linkArg(net.HardwareAddr{2, 1, 2, 3, 4, 5})), "0612020102030405"; got != want {
		t.Errorf("mac: got %s, want %s", got, want)
	}
	two := append(ifbreq("epair0a"), ifbreq("tap1")...)
	if got := parseNames(append(two, 1, 2, 3), ifbreqSize); !reflect.DeepEqual(got, []string{"epair0a", "tap1"}) {
		t.Errorf("members %q", got)
	}
	for bits := range 129 {
		p := netip.PrefixFrom(netip.IPv6Unspecified(), bits)
		if got := maskBits(mask(p).AsSlice()); got != bits {
			t.Errorf("mask of %v has %d bits", p, got)
		}
	}
}

func TestError(t *testing.T) {
	err := error(&Error{Op: "up", Name: "em9", Errno: syscall.ENOENT, Msg: "no such interface"})
	if got := err.Error(); got != "up em9: no such interface: no such file or directory" || !errors.Is(err, fs.ErrNotExist) {
		t.Error(got)
	}
}

func zeros(n int) string { return strings.Repeat("00", n) }
