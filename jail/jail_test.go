package jail

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestParams(t *testing.T) {
	a4, b4, a6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::2")
	for _, c := range []struct {
		p     Param
		name  string
		value string
		flag  bool
		bad   bool
		show  string
	}{
		{p: String("path", "/x y"), name: "path", value: "/x y\x00", show: "path=/x y"},
		{p: String("host.hostname", ""), name: "host.hostname", value: "\x00", show: "host.hostname="},
		{p: String("name", "a\x00b"), name: "name", bad: true, show: "name=(has a NUL byte)"},
		{p: Int("securelevel", -1), name: "securelevel", value: "\xff\xff\xff\xff", show: "securelevel=-1"},
		{p: Int("children.max", 0x01010101), name: "children.max", value: "\x01\x01\x01\x01", show: "children.max=16843009"},
		{p: Int("vnet", New), name: "vnet", value: string(Int("", 1).value), show: "vnet=1"},
		{p: Flag("persist"), name: "persist", flag: true, show: "persist"},
		{p: Bool("persist", false), name: "nopersist", flag: true, show: "nopersist"},
		{p: Bool("allow.raw_sockets", false), name: "allow.noraw_sockets", flag: true, show: "allow.noraw_sockets"},
		{p: Bool("allow.mount.zfs", true), name: "allow.mount.zfs", flag: true, show: "allow.mount.zfs"},
		{p: Addrs("ip4.addr", a4, b4), name: "ip4.addr", value: "\x0a\x00\x00\x02\x0a\x00\x00\x03", show: "ip4.addr=10.0.0.2,10.0.0.3"},
		{p: Addrs("ip6.addr", a6), name: "ip6.addr", value: "\xfd" + strings.Repeat("\x00", 14) + "\x02", show: "ip6.addr=fd00::2"},
		{p: Addrs("ip4.addr"), name: "ip4.addr", value: "", show: "ip4.addr="},
		{p: Addrs("ip4.addr", a6), name: "ip4.addr", bad: true, show: "ip4.addr=(address fd00::2 does not belong there)"},
		{p: Addrs("ip6.addr", netip.MustParseAddr("::ffff:10.0.0.2")), name: "ip6.addr", bad: true, show: "ip6.addr=(address ::ffff:10.0.0.2 does not belong there)"},
		{p: Addrs("ip6.addr", netip.MustParseAddr("fe80::1%em0")), name: "ip6.addr", bad: true, show: "ip6.addr=(address fe80::1%em0 has a zone)"},
	} {
		if c.p.name != c.name || (c.p.err != nil) != c.bad || !c.bad && (string(c.p.value) != c.value || (c.p.value == nil) != c.flag) {
			t.Errorf("%s: %+v", c.show, c.p)
		}
		if got := c.p.String(); got != c.show {
			t.Errorf("shown as %q, want %q", got, c.show)
		}
		if err := check("jail_set", []Param{String("name", "j"), c.p}); (err != nil) != c.bad || c.bad && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: check: %v", c.show, err)
		}
	}
	if err := check("jail_set", []Param{{}}); err == nil {
		t.Error("the zero Param was accepted")
	}
}

func TestValues(t *testing.T) {
	v := Values{
		"jid": Int("", 7).value, "parent": Int("", 0).value, "vnet": Int("", New).value, "dying": Int("", 1).value,
		"name": []byte("web\x00"), "path": []byte("/jails/web\x00\x00"), "host.hostname": []byte("\x00"),
		"ip4.addr": {10, 0, 0, 2}, "ip6.addr": append([]byte{0xfd}, append(make([]byte, 14), 2)...),
		"host.hostid": {1, 0, 0, 0, 0, 0, 0, 0},
	}
	got, err := v.info()
	want := Info{ID: 7, Name: "web", Path: "/jails/web", VNET: true, Dying: true,
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for name, read := range map[string]func() error{
		"missing":   func() error { _, err := v.Int("persist"); return err },
		"no number": func() error { _, err := v.Int("path"); return err },
		"no text":   func() error { _, err := Values{"x": []byte("abc")}.String("x"); return err },
		"no list":   func() error { _, err := Values{"ip4.addr": []byte("abc")}.Addrs("ip4.addr"); return err },
	} {
		if read() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, good := range map[string]bool{
		"web": true, "xc-a1b2": true, "a.b": true, "a1": true, strings.Repeat("n", 255): true,
		"": false, "12": false, "a.12": false, ".a": false, "a.": false, "a..b": false, "a\x00": false, strings.Repeat("n", 256): false,
	} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestError(t *testing.T) {
	err := error(&Error{Op: "jail_get", Jail: "web", Errno: syscall.ENOENT, Msg: `jail "web" not found`})
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		t.Error("sentinel is lost")
	}
	if got, want := err.Error(), `jail_get web: jail "web" not found: no such file or directory`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(&Error{Errno: syscall.EEXIST}, fs.ErrExist) || !errors.Is(&Error{Errno: syscall.EPERM}, fs.ErrPermission) {
		t.Error("sentinels are lost")
	}
}

func TestSubject(t *testing.T) {
	for want, ps := range map[string][]Param{
		"web": {Int("jid", 3), String("name", "web")},
		"3":   {Int("jid", 3), Flag("persist")},
		"":    {Flag("persist"), Flag("name")},
	} {
		if got := subject(ps); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAwait(t *testing.T) {
	gone, asked := &Error{Errno: syscall.ENOENT}, 0
	err := await(context.Background(), 5, func() error {
		if asked++; asked < 3 {
			return nil
		}
		return gone
	})
	if err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = await(ctx, 5, func() error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "jail_remove 5") {
		t.Errorf("cancelled: %v", err)
	}
	if err := await(context.Background(), 5, func() error { return syscall.EPERM }); !errors.Is(err, syscall.EPERM) {
		t.Errorf("refused: %v", err)
	}
}
