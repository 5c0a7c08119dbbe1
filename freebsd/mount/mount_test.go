package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestEncode(t *testing.T) {
	pairs, err := Entry{Type: "devfs", Path: "/j/dev", Options: []string{"ruleset=4", "ro", "empty="}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `fstype="devfs\x00" fspath="/j/dev\x00" from="devfs\x00" ruleset="4\x00" ro="" empty="\x00"`
	var got []string
	for _, p := range pairs {
		got = append(got, fmt.Sprintf("%s=%q", p.name, p.value))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, " "), want)
	}
	if pairs[4].value != nil || pairs[5].value == nil {
		t.Error("an option without a value and one with an empty value are the same")
	}
	for _, e := range []Entry{
		{Path: "/x"}, {Type: "nullfs", Path: "x"}, {Type: "nullfs", Path: "/x\x00y"}, {Type: "a\x00", Path: "/x"},
		{Type: "nullfs", Path: "/x", Options: []string{""}}, {Type: "nullfs", Path: "/x", Options: []string{"from=/etc"}},
		{Type: "nullfs", Path: "/x", Options: []string{"fspath=/etc"}}, {Type: "nullfs", Path: "/x", Options: []string{"r\x00o"}},
	} {
		if err := Mount(e); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", e, err)
		}
	}
	if err := Unmount("x", false); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("relative: %v", err)
	}
}

func TestOptions(t *testing.T) {
	if got := strings.Join(options(0x1|0x8|0x10000000|0x1000), ","); got != "ro,nosuid,noatime" {
		t.Error(got)
	}
	if got := (FSID{-5, 7}).String(); got != "FSID:-5:7" {
		t.Error(got)
	}
	err := error(&Error{Op: "mount", Path: "/x", Errno: syscall.ENOENT, Msg: "no such dataset"})
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "mount /x: no such dataset: no such file or directory" {
		t.Error(err)
	}
}
