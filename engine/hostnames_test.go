package engine_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine"
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

// reachesName tells whether one container reaches another by a name. Who does
// not know the name would wait for DNS, so it is looked for first.
func reachesName(t *testing.T, e *engine.Engine, from, to string) bool {
	t.Helper()
	hosts, _ := execIn(t, e, from, "cat /etc/hosts")
	if !slices.Contains(strings.Fields(hosts), to) {
		return false
	}
	_, four := execIn(t, e, from, ping4+to)
	_, six := execIn(t, e, from, ping6+to)
	if four != 0 || six != 0 {
		t.Errorf("%s knows %s and does not reach it: exit codes %d, %d", from, to, four, six)
	}
	return true
}

func TestIntegrationNames(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	createNetwork(t, e, twoFamilies("db", "2"))
	web, db := api.Attachment{Network: "web"}, api.Attachment{Network: "db"}
	sleeper(t, e, "first", web)
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{
		Name: "second", Hostname: "deux", Aliases: []string{"www"}, Image: "root", Command: []string{"sleep", "1000"},
		Networks: []api.Attachment{web, db}, Hosts: []api.HostEntry{{Name: "up"}, {Name: "far", Addr: addr("203.0.113.9")}},
	})
	if err == nil {
		err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	sleeper(t, e, "third", db)
	check := func(when string, pairs map[string]bool) {
		t.Helper()
		for pair, want := range pairs {
			from, to, _ := strings.Cut(pair, " ")
			if reachesName(t, e, from, to) != want {
				hosts, _ := execIn(t, e, from, "cat /etc/hosts")
				t.Errorf("%s: %s reaches %s: not %v:\n%s", when, from, to, want, hosts)
			}
		}
	}
	check("at first", map[string]bool{
		"first second": true, "first deux": true, "first www": true, "first " + c.ID: true, "first first": true, "first third": false,
		"second first": true, "second third": true, "second deux": true, "second localhost": true, "second up": true,
		"third second": true, "third first": false,
	})
	if hosts, _ := execIn(t, e, "second", "cat /etc/hosts"); !strings.HasPrefix(hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ") || !strings.Contains(hosts, "203.0.113.9\tfar\n") || !strings.Contains(hosts, "\tdeux second www "+c.ID+"\n") {
		t.Errorf("hosts of second: %q", hosts)
	}
	if err := e.RenameContainer(t.Context(), "first", "premier"); err != nil {
		t.Fatal(err)
	}
	check("renamed", map[string]bool{"second premier": true, "second first": false, "premier second": true})
	for _, name := range []string{"premier", "second"} {
		var list []string
		err := e.DiffContainer(t.Context(), name, func(c api.Change) error {
			list = append(list, c.Path)
			return nil
		})
		if err != nil || len(list) > 0 && slices.ContainsFunc(list, func(p string) bool { return strings.Contains(p, "hosts") || strings.Contains(p, "resolv") }) {
			t.Errorf("diff of %s: %q %v", name, list, err)
		}
	}
	// What the daemon misses: the death of a container, and its own.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	defer removeNetworks(t, e)
	check("after a restart", map[string]bool{"premier second": true, "second third": true, "third www": true})
	sleeper(t, e, "fourth", web)
	check("another comes", map[string]bool{"premier fourth": true, "fourth second": true, "fourth third": false})
	now := 0
	if err := e.StopContainer(t.Context(), "second", api.StopOptions{Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), "second", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	check("another address", map[string]bool{"premier second": true, "second fourth": true, "third www": true})
	if err := e.RemoveContainer(t.Context(), "second", api.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	check("one goes", map[string]bool{"premier second": false, "premier www": false, "premier fourth": true})
}

// The files are the container's in every kind of root.
func TestIntegrationNameFiles(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	rootfs := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(rootfs, 0o755))
	unpackRoot(t, rootfs)
	must(os.Symlink("../run/systemd/resolve/stub.conf", filepath.Join(rootfs, "etc/resolv.conf")))
	must(os.WriteFile(filepath.Join(rootfs, "etc/hosts"), []byte("of the root\n"), 0o644))
	dns := api.DNS{Servers: []netip.Addr{addr("10.9.9.9")}}
	for name, spec := range map[string]api.ContainerSpec{
		"image":           {Image: "root", Networks: []api.Attachment{{Network: "web"}}},
		"read-only":       {Image: "root", ReadOnly: true, Networks: []api.Attachment{{Network: "web"}}},
		"directory":       {Rootfs: rootfs, Networks: []api.Attachment{{Network: "web"}}},
		"without network": {Image: "root", Hosts: []api.HostEntry{{Name: "web", Addr: addr("10.70.1.2")}}},
		"host's":          {Image: "root", Networks: []api.Attachment{{Network: "host"}}, Hosts: []api.HostEntry{{Name: "web", Addr: addr("10.70.1.2")}}},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Name, spec.DNS, spec.Hostname = "x", dns, "web"
			spec.Command = []string{"cat", "/etc/hosts", "/etc/resolv.conf"}
			out, code := runSpec(t, e, spec)
			if code != 0 || !strings.Contains(out, "10.70.1.") || !strings.Contains(out, "web") || !strings.HasSuffix(out, "nameserver 10.9.9.9\n") || strings.Contains(out, "of the root") {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
	mine := filepath.Join(t.TempDir(), "hosts")
	must(os.WriteFile(mine, []byte("mine\n"), 0o644))
	out, code := runSpec(t, e, api.ContainerSpec{
		Name: "x", Image: "root", Networks: []api.Attachment{{Network: "web"}}, Command: []string{"cat", "/etc/hosts"},
		Mounts: []api.Mount{{Source: mine, Destination: "/etc/hosts"}},
	})
	if code != 0 || out != "mine\n" {
		t.Errorf("the user's own hosts file: %d %q", code, out)
	}
	if out, code := runSpec(t, e, api.ContainerSpec{Name: "x", Image: "root", Command: []string{"sh", "-c", "test ! -s /etc/hosts && test ! -s /etc/resolv.conf"}}); code != 0 { // empty they may be: host.Config, RootFiles
		t.Errorf("who is on no network has files it did not ask for: %q", out)
	}
	if got, err := os.ReadFile(filepath.Join(rootfs, "etc/hosts")); err != nil || string(got) != "of the root\n" {
		t.Errorf("the root's own file: %q %v", got, err)
	}
}

// runSpec runs a container to its end and removes it.
func runSpec(t *testing.T, e *engine.Engine, spec api.ContainerSpec) (string, int) {
	t.Helper()
	out := tempFile(t)
	spec.AutoRemove = true
	exit, err := e.RunContainer(t.Context(), spec, api.StartOptions{Stdio: api.Stdio{Stdout: out, Stderr: out}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), exit.Code
}
