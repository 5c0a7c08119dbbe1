package zfs

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestNvlistRoundTrip(t *testing.T) {
	for _, l := range []list{
		{},
		{"a": flag{}},
		{"b": true, "c": false, "i": int32(-5), "u": uint32(7), "l": int64(-1 << 40), "v": uint64(1 << 63), "s": "text", "": ""},
		{"snaps": list{"tank/a@s1": flag{}, "tank/a@s2": flag{}}, "z": "after"},
		{"a": list{"b": list{"c": list{}}, "d": uint64(1)}, "e": strings.Repeat("x", 5000)},
	} {
		b, err := l.pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(b)%4 != 0 {
			t.Errorf("%v: %d bytes", l, len(b))
		}
		got, err := unpack(b)
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("got %v, %v\nwant %v", got, err, l)
		}
	}
}

// What libnvpair makes of {origin: "t@s", props: {canmount: 2}} on a
// little-endian machine.
func TestNvlistBytes(t *testing.T) {
	if littleEndian() != 1 {
		t.Skip("the bytes are those of a little-endian machine")
	}
	want := "\x00\x01\x00\x00" + "\x00\x00\x00\x00" + "\x01\x00\x00\x00" +
		"\x20\x00\x00\x00" + "\x07\x00" + "\x00\x00" + "\x01\x00\x00\x00" + "\x09\x00\x00\x00" + "origin\x00\x00" + "t@s\x00\x00\x00\x00\x00" +
		"\x30\x00\x00\x00" + "\x06\x00" + "\x00\x00" + "\x01\x00\x00\x00" + "\x13\x00\x00\x00" + "props\x00\x00\x00" +
		"\x00\x00\x00\x00" + "\x01\x00\x00\x00" + strings.Repeat("\x00", 16) +
		"\x28\x00\x00\x00" + "\x09\x00" + "\x00\x00" + "\x01\x00\x00\x00" + "\x08\x00\x00\x00" + "canmount\x00" + strings.Repeat("\x00", 7) + "\x02" + strings.Repeat("\x00", 7) +
		"\x00\x00\x00\x00" +
		"\x00\x00\x00\x00"
	got, err := cloneArgs("t@s", list{"canmount": uint64(2)}).pack()
	if err != nil || string(got) != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
}

func TestNvlistRefuses(t *testing.T) {
	for _, l := range []list{{"x": 5}, {"a\x00b": flag{}}, {strings.Repeat("n", 40000): flag{}}, {"deep": list{"x": []int{}}}} {
		if _, err := l.pack(); !errors.Is(err, errNvlist) {
			t.Errorf("%.40v: %v", l, err)
		}
	}
	good, err := list{"origin": "t@s", "props": list{"n": uint64(1)}}.pack()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(good) - 1 {
		if _, err := unpack(good[:n]); !errors.Is(err, errNvlist) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	deep := list{}
	for range 20 {
		deep = list{"d": deep}
	}
	b, err := deep.pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(b); !errors.Is(err, errNvlist) {
		t.Errorf("too deep: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, l := range []list{{}, {"a": flag{}, "s": "x"}, {"p": list{"v": uint64(3), "b": true}}} {
		b, err := l.pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := unpack(b)
		if err != nil {
			return
		}
		again, err := l.pack()
		if err != nil {
			return // a type that is only read
		}
		same, err := unpack(again)
		if err != nil || !reflect.DeepEqual(same, l) {
			t.Errorf("%v became %v, %v", l, same, err)
		}
	})
}

func TestDecodeStats(t *testing.T) {
	value := func(v any) list { return list{"value": v} }
	props := list{"used": value(uint64(5)), "available": value(uint64(6)), "referenced": value(uint64(7)),
		"guid": value(uint64(8)), "creation": value(uint64(1795434015)), "origin": value("tank/a@s")}
	cmd := make([]byte, cmdSize)
	native.PutUint32(cmd[statsType:], objsetFileSystem)
	got, err := decodeStats("tank/c", cmd, props)
	if err != nil || got.Type != FileSystem || got.Used != 5 || got.Available != 6 || got.Referenced != 7 || got.GUID != 8 ||
		got.Origin != "tank/a@s" || got.Creation.Unix() != 1795434015 {
		t.Errorf("got %+v, %v", got, err)
	}
	native.PutUint32(cmd[statsType:], 3)
	if got, err := decodeStats("tank/v", cmd, props); err != nil || got.Type != Volume {
		t.Errorf("volume: %+v, %v", got, err)
	}
	if got, err := decodeStats("tank/v@s", cmd, props); err != nil || got.Type != Snapshot {
		t.Errorf("snapshot: %+v, %v", got, err)
	}
	if _, err := decodeStats("tank/c", cmd, nil); err == nil {
		t.Error("no properties, no error")
	}
}

func TestNewCmd(t *testing.T) {
	cmd, err := newCmd("tank/a")
	if err != nil || !bytes.HasPrefix(cmd, []byte("tank/a\x00")) || len(cmd) != cmdSize {
		t.Errorf("%.10q, %v", cmd, err)
	}
	for _, bad := range []string{"a\x00", strings.Repeat("n", cmdNameSize)} {
		if _, err := newCmd(bad); err == nil {
			t.Errorf("%.5q was accepted", bad)
		}
	}
}
