package cli_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func (f *fake) PublishPorts(_ context.Context, name string, ports []api.Port) ([]api.Port, error) {
	c, err := f.find(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range ports {
		if ports[i].HostPort == 0 {
			ports[i].HostPort = 40000
		}
	}
	c.Ports = append(c.Ports, ports...)
	return ports, nil
}

func (f *fake) UnpublishPorts(_ context.Context, name string, ports []api.Port) error {
	c, err := f.find(name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range ports {
		at := -1
		for i, has := range c.Ports {
			if has.HostPort == p.HostPort && has.Proto() == p.Proto() && (!p.Host.IsValid() || p.Host == has.Host) {
				at = i
			}
		}
		if at < 0 {
			return fmt.Errorf("port %d/%s: %w", p.HostPort, p.Proto(), fs.ErrNotExist)
		}
		c.Ports = slices.Delete(slices.Clone(c.Ports), at, at+1) // an answer may have the old ones
	}
	return nil
}

func (f *fake) PublishedPorts(_ context.Context, name string) ([]api.PublishedPort, error) {
	c, err := f.find(name)
	list := []api.PublishedPort{}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		for _, p := range c.Ports {
			list = append(list, api.PublishedPort{Port: p, Redirected: 3, Local: 1})
		}
	}
	return list, err
}

func TestPublish(t *testing.T) {
	for text, want := range map[string]any{
		"80":                  api.Port{Protocol: "tcp", Port: 80},
		"53/udp":              api.Port{Protocol: "udp", Port: 53},
		"53/UDP":              api.Port{Protocol: "udp", Port: 53},
		"8080:80":             api.Port{Protocol: "tcp", HostPort: 8080, Port: 80},
		"127.0.0.1:8080:80":   api.Port{Protocol: "tcp", Host: addr("127.0.0.1"), HostPort: 8080, Port: 80},
		"127.0.0.1::80":       api.Port{Protocol: "tcp", Host: addr("127.0.0.1"), Port: 80},
		"[::1]:8080:80/sctp":  api.Port{Protocol: "sctp", Host: addr("::1"), HostPort: 8080, Port: 80},
		"[::1]::80":           api.Port{Protocol: "tcp", Host: addr("::1"), Port: 80},
		"8000-8009:9000-9009": api.Port{Protocol: "tcp", HostPort: 8000, HostEnd: 8009, Port: 9000, End: 9009},
		"8000-8009:80":        api.Port{Protocol: "tcp", HostPort: 8000, HostEnd: 8009, Port: 80},
		"3000-3003":           api.Port{Protocol: "tcp", Port: 3000, End: 3003},
		"8080:80/tcp,from=10.1.2.3/8,from=fd00::1,interface=em0": api.Port{
			Protocol: "tcp", HostPort: 8080, Port: 80, Interface: "em0", Sources: []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::1/128")},
		},

		"":                    `"" is no port`,
		"0":                   `"0" is no port`,
		"65536":               `"65536" is no port`,
		"x":                   `"x" is no port`,
		"80:":                 `"" is no port`,
		":80:80":              "the address is missing",
		"80/icmp":             `protocol "icmp"`,
		"80/":                 `protocol ""`,
		"81-80":               "81-80 is no range",
		"127.0.0.1:80":        "127.0.0.1::80 chooses one",
		"[::1]:80":            "[::1]::80 chooses one",
		"[::1]80":             "expected [ADDRESS]",
		"::1:80:80":           "in brackets",
		"web:80:80":           `"web" is no address`,
		"80,from=x":           "from=x: expected a prefix",
		"80,interface=":       "expected the name",
		"80,to=1":             `unknown option "to=1"`,
		"1.2.3.4:1-2:3-4/tcp": api.Port{Protocol: "tcp", Host: addr("1.2.3.4"), HostPort: 1, HostEnd: 2, Port: 3, End: 4},
	} {
		f := newFake(t)
		r := f.xc(t, "create", "-p", text, "-P", "--no-local-proxy", "alpine:3", "true")
		if says, bad := want.(string); bad {
			if r.code != 125 || !strings.Contains(r.errout, says) {
				t.Errorf("-p %q: %d %s, want %q", text, r.code, r.errout, says)
			}
			continue
		}
		if r.code != 0 {
			t.Errorf("-p %q: %d %s", text, r.code, r.errout)
			continue
		}
		spec := f.first()
		if len(spec.Publish) != 1 || !reflect.DeepEqual(spec.Publish[0], want) || !spec.PublishAll || !spec.NoLocalProxy {
			t.Errorf("-p %q: %+v, want %+v", text, spec.Publish, want)
		}
	}
}

func TestPorts(t *testing.T) {
	f := newFake(t)
	hold := make(chan struct{})
	defer close(hold)
	f.programs["serve"] = func(*process) api.Exit { <-hold; return api.Exit{} }
	if r := f.xc(t, "run", "-d", "--name", "web", "alpine:3", "serve"); r.code != 0 {
		t.Fatal(r.errout)
	}
	for _, c := range []struct {
		args, out, says string
		code            int
	}{
		{"port web", "", "", 0},
		{"rdr add web 8080:80 [::1]::53/udp 8000-8001:90-91", "8080:80/tcp\n[::1]:40000:53/udp\n8000-8001:90-91/tcp\n", "", 0},
		{"port web", "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n53/udp -> [::1]:40000\n90/tcp -> 0.0.0.0:8000\n90/tcp -> [::]:8000\n91/tcp -> 0.0.0.0:8001\n91/tcp -> [::]:8001\n", "", 0},
		{"port web 80", "0.0.0.0:8080\n[::]:8080\n", "", 0},
		{"port web 53/udp", "[::1]:40000\n", "", 0},
		{"port web 53", "", "container web does not publish port 53/tcp", 125},
		{"port web x", "", `"x" is no port`, 125},
		{"port web 53/udp --format json", `{"Port":"53","Protocol":"udp","Host":"[::1]","HostPort":"40000"}` + "\n", "", 0},
		{"ps --format {{.Ports}}", "8080->80/tcp, [::1]:40000->53/udp, 8000-8001->90-91/tcp\n", "", 0},
		{"rdr ls --format {{.Container}},{{.Published}},{{.Port}},{{.Redirected}},{{.Local}}", "web,8080,80/tcp,3,1\nweb,[::1]:40000,53/udp,3,1\nweb,8000-8001,90-91/tcp,3,1\n", "", 0},
		{"rdr rm web 8080/udp", "", "file does not exist", 125},
		{"rdr rm web 8080 [::1]:40000/udp", "", "", 0},
		{"rdr rm web 8000-8001:90-91", "", "", 0},
		{"rdr rm web 127.0.0.1::80", "", "the port of the host is missing", 125},
		{"rdr ls web", "CONTAINER   PUBLISHED   PORT      INTERFACE   FROM      REDIRECTED   LOCAL\n", "", 0},
		{"rdr add nobody 80", "", "nobody", 125},
		{"rdr add web 80/x", "", `protocol "x"`, 125},
	} {
		r := f.xc(t, strings.Fields(c.args)...)
		if r.out != c.out || r.code != c.code || !strings.Contains(r.errout, c.says) {
			t.Errorf("xc %s: %d\n%s%s\nwant %d\n%s%s", c.args, r.code, r.out, r.errout, c.code, c.out, c.says)
		}
	}
}
