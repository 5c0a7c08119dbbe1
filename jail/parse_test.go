package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestEncodeWords(t *testing.T) {
	for _, c := range []struct {
		name  string
		k     kind
		value string
		given bool
		want  string // as jail(8) shows it; "" is an error
	}{
		{"allow.raw_sockets", kindFlag, "", false, "allow.raw_sockets"},
		{"allow.raw_sockets", kindFlag, "true", true, "allow.raw_sockets"},
		{"allow.raw_sockets", kindFlag, "0", true, "allow.noraw_sockets"},
		{"allow.raw_sockets", kindFlag, "perhaps", true, ""},
		{"children.max", kindNumber, "10", true, "children.max=10"},
		{"securelevel", kindNumber, "-1", true, "securelevel=-1"},
		{"securelevel", kindNumber, "high", true, ""},
		{"securelevel", kindNumber, "", false, ""},
		{"host.hostid", kindLong, "7", true, ""},
		{"osrelease", kindText, "13.2-RELEASE", true, "osrelease=13.2-RELEASE"},
		{"osrelease", kindText, "a\x00b", true, ""},
		{"sysvshm", kindMode, "new", true, "sysvshm=1"},
		{"sysvshm", kindMode, "2", true, "sysvshm=2"},
		{"sysvshm", kindMode, "", false, "sysvshm=1"},
		{"sysvshm", kindMode, "shared", true, ""},
		{"ip4.addr", kindAddr4, "10.0.0.1, 10.0.0.2", true, "ip4.addr=10.0.0.1,10.0.0.2"},
		{"ip4.addr", kindAddr4, "fd00::1", true, ""},
		{"ip6.addr", kindAddr6, "fd00::1", true, "ip6.addr=fd00::1"},
	} {
		p := encode(c.name, c.k, c.value, c.given)
		if c.k == kindLong {
			if p.err != nil || len(p.value) != 8 || binary.NativeEndian.Uint64(p.value) != 7 {
				t.Errorf("%s=%s: %v, %v", c.name, c.value, p.value, p.err)
			}
			continue
		}
		if (p.err != nil) != (c.want == "") || p.err == nil && p.String() != c.want {
			t.Errorf("%s %q: %s, %v; want %q", c.name, c.value, p, p.err, c.want)
		}
	}
}

func TestMerge(t *testing.T) {
	got := fmt.Sprint(Merge([]Param{Flag("persist"), Int("enforce_statfs", 2), Bool("allow.set_hostname", false)},
		Flag("allow.set_hostname"), Int("securelevel", 1), Int("enforce_statfs", 1)))
	if want := "[persist enforce_statfs=1 allow.set_hostname securelevel=1]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestKindOfSysctl(t *testing.T) {
	info := func(kind uint32, format string) []byte {
		return append(binary.NativeEndian.AppendUint32(nil, 0x80000000|kind), format+"\x00"...)
	}
	for _, c := range []struct {
		info []byte
		want kind
	}{
		{info(ctlTypeInt, "B"), kindFlag}, {info(ctlTypeInt, "I"), kindNumber}, {info(ctlTypeInt, "E,jailsys"), kindMode},
		{info(ctlTypeUlong, "LU"), kindLong}, {info(ctlTypeString, "A"), kindText},
		{info(ctlTypeStruct, "S,in_addr,A"), kindAddr4}, {info(ctlTypeStruct, "S,in6_addr,A"), kindAddr6},
		{info(1, "N"), 0}, {info(ctlTypeStruct, "S,else"), 0}, {nil, 0}, {[]byte{1, 2}, 0},
	} {
		if got, err := kindOfSysctl(c.info); got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%q: %v, %v; want %v", c.info, got, err, c.want)
		}
	}
}

func FuzzKindOfSysctl(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x80E,jailsys\x00"))
	f.Add([]byte("\x05\x00\x00\x80S,in_addr,A\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := kindOfSysctl(b); (k == 0) != (err != nil) {
			t.Errorf("%v, %v", k, err)
		}
	})
}

func TestParseElsewhere(t *testing.T) {
	if _, err := kindOf("persist"); !errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this is FreeBSD: TestParse asks its kernel")
	}
	if _, err := Parse("persist"); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "persist") {
		t.Errorf("error: %v", err)
	}
}
