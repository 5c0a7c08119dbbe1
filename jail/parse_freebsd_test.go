package jail

import (
	"errors"
	"io/fs"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"persist": "persist", "nopersist": "nopersist", "allow.noraw_sockets": "allow.noraw_sockets", "allow.raw_sockets=1": "allow.raw_sockets",
		"securelevel=2": "securelevel=2", "children.max=3": "children.max=3", "enforce_statfs=1": "enforce_statfs=1",
		"osrelease=13.2-RELEASE": "osrelease=13.2-RELEASE", "ip4=inherit": "ip4=2", "ip4.addr=10.1.2.3": "ip4.addr=10.1.2.3",
		"host.hostuuid=x": "host.hostuuid=x", "vnet": "vnet=1", "host=inherit": "host=2",
	} {
		p, err := Parse(text)
		if err != nil || p.String() != want {
			t.Errorf("%s: %s, %v; want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"exec.start=/bin/true", "mount.devfs", "nonsense", "", "=1", "allow.nonsense=1"} {
		if _, err := Parse(text); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"securelevel=high", "securelevel", "ip4=perhaps", "persist=perhaps"} {
		if _, err := Parse(text); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSupports(t *testing.T) {
	for name, want := range map[string]bool{"sysvmsg": true, "sysvsem": true, "sysvshm": true, "persist": true, "vnet": true, "allow.mount": true, "nonsense": false, "cpuset": false} {
		if got := Supports(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
