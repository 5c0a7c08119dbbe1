package sitetest

import (
	"os"
	"strings"
	"testing"

	"github.com/joyboyid/xc/site"
)

func TestConformance(t *testing.T) {
	Run(t, func(t *testing.T) Host { return newFake(t) })
}

func newFake(t *testing.T) *Fake {
	t.Helper()
	f, err := NewFake(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The script of a life is what one would have typed.
func TestScript(t *testing.T) {
	f := newFake(t)
	src := t.TempDir()
	t.Run("life", func(t *testing.T) {
		h := &harness{T: t, host: f}
		h.journal = &site.MemoryJournal{}
		b := h.hold(Container{Hostname: "web", ReadOnly: true, Mounts: []Mount{h.mount(src, "/srv", false)}}).up()
		h.wants(b.start(command("exit", "3"), nil).wait(), 3, "")
		b.down()
	})
	want := `mkdir /var/db/xc/sites/c1
zfs clone tank/images/t3qk5z-sitetest@frozen tank/containers/t3qk5z-c1
mount -t zfs -o ro tank/containers/t3qk5z-c1 /var/db/xc/mnt/c1
mount -t devfs -o ruleset=1000 devfs /var/db/xc/mnt/c1/dev
mount -t nullfs SRC /var/db/xc/mnt/c1/srv
jail -c name=xc-t3qk5z-c1 path=/var/db/xc/mnt/c1 host.hostname=web persist enforce_statfs=2 allow.noset_hostname vnet=new
daemon xc-runloop c1
jexec xc-t3qk5z-c1 /bin/probe exit 3
pkill -f 'xc-runloop c1'
jail -r xc-t3qk5z-c1
umount /var/db/xc/mnt/c1/srv
umount /var/db/xc/mnt/c1/dev
umount /var/db/xc/mnt/c1
zfs destroy tank/containers/t3qk5z-c1
rm -r /var/db/xc/sites/c1
`
	if got := strings.ReplaceAll(f.String(), src, "SRC"); got != want {
		t.Errorf("script:\n%s\nwant:\n%s", got, want)
	}
}

// docs/conformance.md lists the promises as they are.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Skipf("needs the rest of the tree: %v", err)
	}
	doc, _, _ := strings.Cut(string(b), "\n# What every reaper promises\n") // package kqueue/kqueuetest has those
	names := map[string]bool{}
	for _, p := range Promises() {
		if names[p.Name] {
			t.Errorf("two promises are named %s", p.Name)
		}
		names[p.Name] = true
		if line := "| `" + p.Name + "` | " + p.Text + " |\n"; !strings.Contains(doc, line) {
			t.Errorf("docs/conformance.md lacks: %s", line)
		}
	}
	if rows := strings.Count(doc, "\n| `"); rows != len(names) {
		t.Errorf("docs/conformance.md has %d promises, the table %d", rows, len(names))
	}
}
