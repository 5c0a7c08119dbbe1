package tenant

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// filterGroup puts a group under the list of devices, as a host does.
func filterGroup(t *testing.T, dir string) {
	t.Helper()
	if dir == "" {
		t.Skip("needs a writable cgroup2 mount")
	}
	f, err := Devices().Load()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	must(t, err)
	g, err := cgroup.Open(dir)
	must(t, err)
	must(t, errors.Join(f.Attach(g), g.Close(), f.Close()))
}

// confinement is a way to keep a tenant to its devices.
type confinement struct {
	make func(t *testing.T, c *Config)
	// join is the file cgroup.procs that a process in there would have joined.
	join func(s *space, c *Config, tree string) string
}

func confinements() map[string]confinement {
	return map[string]confinement{
		"version 2": {
			func(t *testing.T, c *Config) {
				filterGroup(t, c.Cgroup)
				c.Filtered = true
			},
			func(s *space, _ *Config, tree string) string { return filepath.Join(s.base, tree, "cgroup.procs") },
		},
		"version 1": {
			func(t *testing.T, c *Config) {
				where, err := cgroup.Controller("devices")
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				must(t, err)
				c.DeviceGroup = filepath.Join(where.Dir, fmt.Sprintf("xctest-%d-%s", os.Getpid(), filepath.Base(t.TempDir())))
				must(t, os.Mkdir(c.DeviceGroup, 0o755))
				t.Cleanup(func() { must(t, cgroup.RemoveOne(t.Context(), c.DeviceGroup)) })
				must(t, Devices().Limit(c.DeviceGroup))
				c.Join = []string{filepath.Join(c.DeviceGroup, "cgroup.procs")}
			},
			func(_ *space, c *Config, _ string) string { return c.Join[0] },
		},
		"none": {
			func(*testing.T, *Config) {},
			func(*space, *Config, string) string { return "/dev/null" },
		},
	}
}

// opens tries each device of the arguments by a node that is there or that it makes.
const opens = `for d in %s; do
	rm -f /dev/x
	if ! mknod /dev/x ${d%%%%:*} $(IFS=:; set -- $d; echo $2 $3) 2>/dev/null; then echo $d=unmade; continue; fi
	if (exec 3</dev/x) 2>/dev/null; then echo $d=open; else echo $d=shut; fi
done; rm -f /dev/x; true`

// TestIntegrationDevices: who has all capabilities in a tenant, whatever gave them,
// opens no device of the host where there is a list.
func TestIntegrationDevices(t *testing.T) {
	for name, way := range confinements() {
		t.Run(name, func(t *testing.T) {
			need(t)
			c := Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: makeRoot(t)}}
			way.make(t, &c)
			s := openTenant(t, c)
			tr, out, err := start(t, s, runloop.Process{Args: []string{"sleep", "1000"}})
			must(t, err)
			defer out.Close()
			defer func() { must(t, errors.Join(tr.Kill(), tr.Empty(t.Context()), tr.Close())) }()

			// By ways that no process inside has: all capabilities, in its groups and
			// all its namespaces; no filter of system calls.
			host := foreignDevice(t)
			theirs, ours := "c:1:11 c:1:1 b:7:0 "+host.name(), "c:1:3 c:1:5 c:1:7 c:1:8 c:1:9 c:5:2"
			enter := "echo 0 >" + way.join(s, &c, "t1") + " || exit; exec nsenter -t " + strconv.Itoa(tr.Pid()) + " -m -p -n -i -u /bin/sh -c \"$0\""
			cmd := exec.Command("sh", "-c", enter, fmt.Sprintf(opens, ours+" "+theirs))
			cmd.Env = []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}
			b, err := cmd.CombinedOutput()
			must(t, err)
			got := map[string]string{}
			for _, line := range strings.Fields(string(b)) {
				device, state, _ := strings.Cut(line, "=")
				got[device] = state
			}
			for _, d := range strings.Fields(ours) {
				if got[d] != "open" {
					t.Errorf("%s, which it has, is %q", d, got[d])
				}
			}
			for _, d := range strings.Fields(theirs) {
				if name != "none" && got[d] != "unmade" || name == "none" && (got[d] == "unmade" || d == host.name() && got[d] != "open") {
					t.Errorf("%s, which is the host's, is %q: %s", d, got[d], b)
				}
			}

			// And by a node that somebody else has made for it.
			must(t, unix.Mknod(fmt.Sprintf("/proc/%d/root/dev/foreign", tr.Pid()), unix.S_IFCHR|0o666, int(unix.Mkdev(host.Major, host.Minor))))
			said, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "exec 3</dev/foreign"}})
			must(t, err)
			if shut := ws != 0 && strings.Contains(said, "not permitted"); shut != (name != "none") || name == "none" && ws != 0 {
				t.Errorf("a node of another device: status %#x, says %q", int(ws), said)
			}
		})
	}
}

// foreign is a device of the host that containers do not have.
type foreign struct {
	cgroup.Device
	path string
}

// name is what opens takes.
func (f foreign) name() string { return fmt.Sprintf("c:%d:%d", f.Major, f.Minor) }

// foreignDevice finds one that root can open without further capabilities.
func foreignDevice(t *testing.T) foreign {
	t.Helper()
	for _, path := range []string{"/dev/loop-control", "/dev/fuse", "/dev/net/tun", "/dev/btrfs-control"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		must(t, errors.Join(unix.Fstat(int(f.Fd()), &st), f.Close()))
		return foreign{cgroup.Device{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}, path}
	}
	t.Skip("needs a device that containers do not have")
	return foreign{}
}

// TestIntegrationOwnDevices: what programs expect can be used under the list.
func TestIntegrationOwnDevices(t *testing.T) {
	for name, way := range confinements() {
		t.Run(name, func(t *testing.T) {
			need(t)
			checkHost(t)
			c := Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: makeRoot(t)}}
			way.make(t, &c)
			s := openTenant(t, c)
			sh(t, s, "cat /dev/null && head -c 1 /dev/zero /dev/full /dev/random /dev/urandom >/dev/null && exec 3<>/dev/ptmx")

			// A terminal: the controlling one, by its names.
			pty, tty, err := s.Terminal()
			must(t, err)
			p := runloop.Process{Args: []string{"sh", "-c", "echo a >/dev/tty && echo b >/dev/console && echo c >/dev/stdout && echo d >$(tty)"},
				Env: []string{"PATH=/bin"}, Files: [3]*os.File{tty, tty, tty}, Terminal: true}
			tr, err := s.Start(&p)
			must(t, errors.Join(err, tty.Close()))
			b := make([]byte, 100)
			var out string
			for n := 0; err == nil; n, err = pty.Read(b) {
				out += string(b[:n])
			}
			ws, err := tr.Main(t.Context())
			must(t, errors.Join(err, tr.Close(), pty.Close()))
			if ws != 0 || strings.Join(strings.Fields(out), "") != "abcd" {
				t.Errorf("status %#x, output %q", int(ws), out)
			}
		})
	}
}

// TestIntegrationDeviceOfAStream: a device that a process is given it can open
// again, as programs do whose log is /dev/stdout; and no other than that.
func TestIntegrationDeviceOfAStream(t *testing.T) {
	for name, way := range confinements() {
		t.Run(name, func(t *testing.T) {
			need(t)
			checkHost(t)
			console, err := os.Open(foreignDevice(t).path)
			must(t, err)
			defer console.Close()
			c := Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: makeRoot(t)}}
			way.make(t, &c)
			s := openTenant(t, c)
			null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
			must(t, err)
			defer null.Close()
			for range 2 {
				p := runloop.Process{Args: []string{"sh", "-c", "exec 3</dev/stdin"}, Env: []string{"PATH=/bin"}, Files: [3]*os.File{console, null, null}}
				tr, err := s.Start(&p)
				must(t, err)
				ws, err := tr.Main(t.Context())
				must(t, errors.Join(err, tr.Empty(t.Context()), tr.Close()))
				if ws != 0 {
					t.Errorf("status %#x", int(ws))
				}
			}
			if len(s.guard.list) != len(Devices())+map[bool]int{true: 0, false: 1}[name == "none"] {
				t.Errorf("list %v", s.guard.list)
			}
		})
	}
}
