package engine_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// A container that is on no network has the names it asks for, in a file that
// is none of its root.
func TestIntegrationHostsAndResolver(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	spec := api.ContainerSpec{
		Hosts: []api.HostEntry{{Name: "db", Addr: netip.MustParseAddr("10.9.0.1")}, {Name: "six", Addr: netip.MustParseAddr("fd09::1")}},
		DNS:   api.DNS{Servers: []netip.Addr{netip.MustParseAddr("10.9.0.53")}, Search: []string{"a.example"}, Options: []string{"ndots:2"}},
	}
	for _, spec.ReadOnly = range []bool{false, true} {
		out, exit := sh(t, e, spec, "cat /etc/hosts /etc/resolv.conf")
		want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.9.0.1\tdb\nfd09::1\tsix\n" +
			"nameserver 10.9.0.53\nsearch a.example\noptions ndots:2\n"
		if out != want || exit.Code != 0 {
			t.Errorf("read-only %v: %q, %+v", spec.ReadOnly, out, exit)
		}
	}
	spec.ReadOnly, spec.Name, spec.Image, spec.Command = false, "c", "root", []string{"sh", "-c", "echo 10.9.0.2 mine >>/etc/hosts; echo x >/tmp/x"}
	if _, err := e.RunContainer(t.Context(), spec, api.StartOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	var changed []string
	err := e.DiffContainer(t.Context(), "c", func(c api.Change) error {
		changed = append(changed, c.Path)
		return nil
	})
	if err != nil || !slices.Contains(changed, "/tmp/x") || slices.ContainsFunc(changed, func(p string) bool { return strings.HasPrefix(p, "/etc/") }) {
		t.Errorf("diff: %q %v", changed, err)
	}
}
