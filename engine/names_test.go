package engine

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestResolverText(t *testing.T) {
	files := func(resolv, resolved string) func(string) (string, error) {
		return func(name string) (string, error) {
			return map[string]string{resolvFile: resolv, resolvedFile: resolved}[name], nil
		}
	}
	unbound := func(forward string) func(string) (string, error) {
		return func(name string) (string, error) {
			return map[string]string{resolvFile: "nameserver 127.0.0.1\noptions edns0\n", unboundFile: "# Do not edit\nforward-zone:\n\tname: .\n" + forward}[name], nil
		}
	}
	host := files("# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\ndomain old\nsearch a b\noptions edns0 trust-ad\n", "")
	local := files("nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver ::1\n", "nameserver 10.0.0.2\nsearch not.this\n")
	for name, tt := range map[string]struct {
		own  bool
		dns  api.DNS
		read func(string) (string, error)
		want string
	}{
		"the host's":         {false, api.DNS{}, host, "nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions edns0 trust-ad\n"},
		"without loopback":   {true, api.DNS{}, host, "nameserver 10.0.0.1\nsearch a b\noptions edns0 trust-ad\n"},
		"of systemd":         {true, api.DNS{}, local, "nameserver 10.0.0.2\n"},
		"of unbound":         {true, api.DNS{}, unbound("\tforward-addr: 10.0.0.3\n\tforward-addr: 10.0.0.4@5353\n\tforward-addr: fd00::3\n\tforward-addr: ::1\n"), "nameserver 10.0.0.3\nnameserver fd00::3\noptions edns0\n"},
		"of unbound, by TLS": {true, api.DNS{}, unbound("\tforward-tls-upstream: yes\n\tforward-addr: 10.0.0.3@853#dns.example\n"), "options edns0\n"},
		"nothing":            {true, api.DNS{}, files("", ""), ""},
		"servers":            {true, api.DNS{Servers: []netip.Addr{netip.MustParseAddr("fd00::1")}}, host, "nameserver fd00::1\nsearch a b\noptions edns0 trust-ad\n"},
		"a loopback on wish": {true, api.DNS{Servers: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, files("", ""), "nameserver 127.0.0.1\n"},
		"search, options":    {true, api.DNS{Search: []string{"x"}, Options: []string{"ndots:2"}}, host, "nameserver 10.0.0.1\nsearch x\noptions ndots:2\n"},
		"no search":          {true, api.DNS{Search: []string{"."}}, host, "nameserver 10.0.0.1\noptions edns0 trust-ad\n"},
	} {
		if got, err := resolverText(tt.own, tt.dns, tt.read); err != nil || got != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, tt.want)
		}
	}
}

func FuzzResolver(f *testing.F) {
	f.Add("nameserver 127.0.0.1\nsearch a b\noptions x\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := resolverText(true, api.DNS{}, func(string) (string, error) { return text, nil })
		if err != nil {
			t.Fatal(err)
		}
		again, err := resolverText(true, api.DNS{}, func(string) (string, error) { return got, nil })
		if err != nil || again != got {
			t.Errorf("%q becomes %q and then %q: %v", text, got, again, err)
		}
	})
}

// The file that is mounted stays the one it is, and never shows the rest of an
// old line.
func TestWriteInPlace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "hosts")
	if err := writeInPlace(name, "first\n"); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	long := strings.Repeat("10.0.0.1\tname\n", 20000) // more than is covered by blank lines
	for _, text := range []string{long, "short\n", "", "second\n", long, "third\n"} {
		if err := writeInPlace(name, text); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != text {
			t.Errorf("%d bytes, want %d: %v", len(got), len(text), err)
		}
	}
	if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) {
		t.Errorf("it is another file: %v", err)
	}
}

func TestCheckNames(t *testing.T) {
	ok := api.ContainerSpec{Aliases: []string{"www"}, Hosts: []api.HostEntry{{Name: "a.example"}}, DNS: api.DNS{Search: []string{".", "a.example"}, Options: []string{"ndots:2"}}}
	if err := checkNames(ok); err != nil {
		t.Error(err)
	}
	for _, bad := range []api.ContainerSpec{
		{Aliases: []string{"a b"}}, {Hosts: []api.HostEntry{{Name: "a\nb"}}}, {Hosts: []api.HostEntry{{}}},
		{DNS: api.DNS{Search: []string{"a\nnameserver 6.6.6.6"}}}, {DNS: api.DNS{Options: []string{""}}}, {DNS: api.DNS{Servers: []netip.Addr{{}}}},
	} {
		if err := checkNames(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
