package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/zfsstore"
)

// procedures are what no single command provides: their fixes are for the operator to
// read.
var procedures = []string{"FreeBSD 14", "vimage", "image_dataset, container_dataset", `rdr-anchor "` + anchors + `/*"`, "vfs.zfs.version.ioctl"}

// What provides a thing is a command that this system has, and nothing but that.
func TestCheckFixesAreCommands(t *testing.T) {
	c := Config{DevfsOffset: checkOffset, ImageDataset: "tank/images", ContainerDataset: "tank/containers", VolumeDataset: "tank/volumes"}
	found := map[string]bool{}
	for _, h := range []*Host{{cfg: c}, {cfg: c, datas: new(zfsstore.Store)}} {
		for _, n := range h.needs() {
			if slices.Contains(procedures, n.name) {
				found[n.name] = true
				continue
			}
			if out, err := exec.Command("sh", "-n", "-c", n.fix).CombinedOutput(); err != nil {
				t.Errorf("%s: %q: %v: %s", n.name, n.fix, err, out)
			}
			for command := range strings.SplitSeq(n.fix, "&&") {
				word, _, _ := strings.Cut(strings.TrimSpace(command), " ")
				if _, err := exec.LookPath(word); err != nil {
					t.Errorf("%s: %q: %v", n.name, n.fix, err)
				}
			}
		}
	}
	if len(found) != len(procedures) {
		t.Errorf("no longer there among %q: %v", procedures, found)
	}
}

// checkOffset is that of the rulesets of these tests: they are deleted.
const checkOffset = 4300

// Whatever is there and whatever is missing, to look at it changes nothing: no module
// is loaded, nothing set, mounted or made.
func TestIntegrationCheckChangesNothing(t *testing.T) {
	needRoot(t)
	for _, tc := range []struct {
		name   string
		config func(t *testing.T, c *Config)
	}{
		{"directories", func(*testing.T, *Config) {}},
		{"datasets", func(t *testing.T, c *Config) {
			if os.Getenv(datasetEnv) == "" {
				t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
			}
			c.ImageDataset, c.ContainerDataset = makeDatasets(t)
			c.VolumeDataset = c.ImageDataset + "/missing"
		}},
		{"volumes", func(_ *testing.T, c *Config) { c.VolumeDataset = "no-such-pool/volumes" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testConfig(t)
			c.DevfsOffset = checkOffset
			tc.config(t, &c)
			t.Cleanup(func() { deleteRules(t, 0) })
			h := openHost(t, c)
			deleteRules(t, 1) // all but the first are missing
			before := machine(t, c)
			list := h.Check(t.Context())
			if after := machine(t, c); !slices.Equal(after, before) {
				t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			for i, want := range []string{ok, missing, missing, missing} {
				name := fmt.Sprint("ruleset ", checkOffset+i)
				if !slices.ContainsFunc(list, func(c Check) bool { return c.Name == name && c.State == want }) {
					t.Errorf("%s is not %s: %+v", name, want, list)
				}
			}
			for _, c := range list {
				t.Logf("%-8s %-10s %-28s %s", c.State, c.Area, c.Name, c.Detail)
			}
		})
	}
}

// deleteRules deletes the rulesets of these tests from one on.
func deleteRules(t *testing.T, first uint16) {
	t.Helper()
	for n := uint16(checkOffset) + first; n < checkOffset+4; n++ {
		if err := devfs.Delete(n); err != nil {
			t.Error(err)
		}
	}
}

// machine is what a check could have changed, as the programs of base tell of it; they
// load nothing themselves, but for zfs(8).
func machine(t *testing.T, c Config) []string {
	t.Helper()
	commands := []string{
		"kldstat -v",
		"sysctl -i kern.osreldate kern.module_path kern.racct.enable kern.features compat.linux kern.elf64 net.inet.ip.forwarding net.inet6.ip6.forwarding vfs.zfs.version security.jail.param",
		"mount -p", "jls -h name", "ifconfig -l",
		"pfctl -s info | grep -o 'Status: [A-Za-z]*'", "pfctl -s nat", "pfctl -s rules", "pfctl -s Anchors -v", "pfctl -s Tables -v",
		"devfs rule showsets", fmt.Sprint("devfs rule -s ", checkOffset, " show"),
		"cat /etc/rc.conf /boot/loader.conf",
		"find " + c.StateDir + " " + c.RunDir,
	}
	if there, _, err := loaded("zfs")(context.Background()); err != nil {
		t.Fatal(err)
	} else if there {
		commands = append(commands, "zfs list -H -t all -o name,origin,mountpoint,mounted", "zfs get -H -s local,received -o name,property,value all", "zpool list -H -o name,health")
	}
	var state []string
	for _, command := range commands {
		// What fails does so before and after: pfctl(8) without pf.
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		state = append(state, fmt.Sprintf("%s (%v)\n%s", command, err, out))
	}
	return state
}
