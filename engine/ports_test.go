package engine

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestCheckPort(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	tests := map[string]struct {
		port    api.Port
		noProxy bool
		want    string // ports, or what the error says
	}{
		"one":                {port: api.Port{HostPort: 8080, Port: 80}, want: "8080:80/tcp"},
		"chosen":             {port: api.Port{Port: 80, Protocol: "udp"}, want: "80/udp"},
		"chosen, of address": {port: api.Port{Host: v6, Port: 80}, want: "[2001:db8::1]::80/tcp"},
		"range":              {port: api.Port{HostPort: 8000, HostEnd: 8002, Port: 80, End: 82}, want: "8000-8002:80-82/tcp"},
		"range, by its size": {port: api.Port{HostPort: 8000, Port: 80, End: 82}, want: "8000-8002:80-82/tcp"},
		"one of a range":     {port: api.Port{HostPort: 8000, HostEnd: 8002, Port: 80}, want: "8000-8002:80/tcp"},
		"range, chosen":      {port: api.Port{Port: 80, End: 82}, want: "80/tcp 81/tcp 82/tcp"},
		"all ports":          {port: api.Port{HostPort: 1, Port: 1, End: 65535}, noProxy: true, want: "1-65535:1-65535/tcp"},
		"mapped address":     {port: api.Port{Host: netip.MustParseAddr("::ffff:192.0.2.1"), HostPort: 8080, Port: 80}, want: "192.0.2.1:8080:80/tcp"},

		"all ports, proxied": {port: api.Port{HostPort: 1, Port: 1, End: 65535}, want: "1024 at the most with a local proxy"},
		"no port":            {port: api.Port{HostPort: 80}, want: "no port of the container"},
		"backwards":          {port: api.Port{HostPort: 80, Port: 80, End: 79}, want: "no port of the container"},
		"host backwards":     {port: api.Port{HostPort: 80, HostEnd: 79, Port: 80}, want: "no ports of the host"},
		"sizes":              {port: api.Port{HostPort: 80, HostEnd: 82, Port: 80, End: 81}, want: "3 ports of the host for 2"},
		"beyond":             {port: api.Port{HostPort: 65535, Port: 80, End: 81}, want: "no ports of the host"},
		"end alone":          {port: api.Port{HostEnd: 80, Port: 80}, want: "no port of the host"},
		"protocol":           {port: api.Port{Port: 80, Protocol: "icmp"}, want: `"icmp" is none of`},
		"zone":               {port: api.Port{Host: netip.MustParseAddr("fe80::1%eth0"), Port: 80}, want: "no address of a host"},
		"source":             {port: api.Port{Port: 80, Host: v4, Sources: []netip.Prefix{netip.MustParsePrefix("fd00::/8")}}, want: "another family"},
		"loopback, on":       {port: api.Port{Port: 80, Host: netip.MustParseAddr("127.0.0.1"), Interface: "eth0"}, want: "by no interface"},
		"too many":           {port: api.Port{Port: 1, End: 2000}, want: "2000 ports to choose"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := checkPort(tt.port, tt.noProxy)
			if err != nil {
				if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			var words []string
			for _, p := range list {
				words = append(words, p.String())
			}
			if got := strings.Join(words, " "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	parse := func(host string) netip.Addr {
		if host == "" {
			return netip.Addr{}
		}
		return netip.MustParseAddr(host)
	}
	port := func(host, protocol, iface string, first, last uint16) api.Port {
		return api.Port{Host: parse(host), Protocol: protocol, Interface: iface, HostPort: first, HostEnd: last}
	}
	a := port("", "tcp", "", 8000, 8010)
	for _, tt := range []struct {
		a, b api.Port
		want bool
	}{
		{a, port("", "tcp", "", 8010, 8010), true},
		{a, port("", "tcp", "", 8011, 8020), false},
		{a, port("", "udp", "", 8000, 8010), false},
		{a, port("127.0.0.1", "tcp", "", 8001, 8001), true},
		{a, port("::1", "tcp", "", 8001, 8001), true},
		{a, port("", "tcp", "", 0, 0), false},
		{port("127.0.0.1", "tcp", "", 80, 80), port("127.0.0.2", "tcp", "", 80, 80), false},
		{port("127.0.0.1", "tcp", "", 80, 80), port("0.0.0.0", "tcp", "", 80, 80), true},
		{port("::1", "tcp", "", 80, 80), port("0.0.0.0", "tcp", "", 80, 80), false},
		{port("::1", "tcp", "", 80, 80), port("::", "tcp", "", 80, 80), true},
		{port("", "tcp", "eth0", 80, 80), port("", "tcp", "eth1", 80, 80), false},
		{port("", "tcp", "eth0", 80, 80), port("", "tcp", "", 80, 80), true},
	} {
		if overlap(tt.a, tt.b) != tt.want || overlap(tt.b, tt.a) != tt.want {
			t.Errorf("%s and %s: not %v", tt.a, tt.b, tt.want)
		}
	}
}

func TestExposedPorts(t *testing.T) {
	e := &Engine{}
	p := plan{Spec: api.ContainerSpec{PublishAll: true, Publish: []api.Port{{HostPort: 8080, Port: 80}}}, Networks: []attachment{{}}}
	if err := e.planPorts(&p, api.Image{ExposedPorts: []string{"53/udp", "80", "90-91/tcp"}}); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, p := range p.Ports {
		words = append(words, p.String())
	}
	if want := []string{"8080:80/tcp", "53/udp", "90/tcp", "91/tcp"}; !slices.Equal(words, want) {
		t.Errorf("%q, want %q", words, want)
	}
	for _, text := range []string{"0", "80/icmp", "91-90", "99999", "1-65535"} {
		if err := e.planPorts(&p, api.Image{ExposedPorts: []string{text}}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
