package tenant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

func overlay(t testing.TB, lower ...string) Root {
	t.Helper()
	return Root{Kind: Overlay, Lower: lower, Upper: t.TempDir(), Work: t.TempDir()}
}

func TestIntegrationOverlay(t *testing.T) {
	need(t)
	checkHost(t)
	root := makeRoot(t)
	top := t.TempDir()
	must(t, os.WriteFile(filepath.Join(top, "layer"), []byte("top\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "layer"), []byte("bottom\n"), 0o644))
	for _, volatile := range []bool{false, true} {
		r := overlay(t, top, root)
		r.Volatile = volatile
		s := openTenant(t, Config{ID: "test", Network: "none", Root: r})
		if out := sh(t, s, "cat /layer; echo new >/file; ls /bin/busybox"); out != "top\n/bin/busybox\n" {
			t.Errorf("output %q", out)
		}
		must(t, s.Close())
		if b, err := os.ReadFile(filepath.Join(r.Upper, "file")); string(b) != "new\n" || err != nil {
			t.Errorf("upper: %q, %v", b, err)
		}
	}
	if exists(filepath.Join(root, "file")) {
		t.Error("a lower directory was written to")
	}
}

// TestIntegrationManyLayers: as many as an image may have, with long names.
func TestIntegrationManyLayers(t *testing.T) {
	need(t)
	checkHost(t)
	root := makeRoot(t)
	base := filepath.Join(t.TempDir(), strings.Repeat("long:name,\\", 18), strings.Repeat("x", 100))
	var lower []string
	for i := range 127 {
		dir := filepath.Join(base, fmt.Sprint(i))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("layer%d", i)), nil, 0o644))
		lower = append(lower, dir)
	}
	s := openTenant(t, Config{ID: "test", Network: "none", Root: overlay(t, append(lower, root)...)})
	if out := sh(t, s, "ls / | grep -c layer"); out != "127\n" {
		t.Errorf("%s layers", out)
	}
}

func TestIntegrationReadOnly(t *testing.T) {
	need(t)
	checkHost(t)
	src := t.TempDir()
	root := makeRoot(t)
	must(t, os.Remove(filepath.Join(root, "sys"))) // is made before the root is read-only
	for _, r := range []Root{overlay(t, root), {Kind: Bind, Dir: root}, {Kind: Overlay, Lower: []string{t.TempDir(), root}}} {
		if len(r.Lower) == 2 {
			must(t, os.Mkdir(filepath.Join(r.Lower[0], "sys"), 0o755))
			must(t, os.Mkdir(filepath.Join(r.Lower[0], "rw"), 0o755))
		}
		s := openTenant(t, Config{ID: "test", Network: "none", Root: r, ReadOnly: true, Mounts: []Mount{{Source: src, Destination: "/rw"}}})
		out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "echo y >/rw/y; echo y >/dev/shm/y && echo x >/x"}})
		if err != nil || ws == 0 || !strings.Contains(out, "Read-only file system") {
			t.Errorf("%s: %#x, %q, %v", r.Kind, int(ws), out, err)
		}
		if _, ws, _ := run(t, s, runloop.Process{Args: []string{"mount", "-o", "remount,rw", "/"}}); ws == 0 {
			t.Error("remounted")
		}
		must(t, s.Close())
		must(t, os.Remove(filepath.Join(src, "y")))
	}
}

func TestIntegrationMounts(t *testing.T) {
	need(t)
	checkHost(t)
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "hosts")
	must(t, os.WriteFile(file, []byte("127.0.0.1 localhost\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "in"), []byte("data\n"), 0o644))
	must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	root := makeRoot(t)
	must(t, os.Symlink("/tmp", filepath.Join(root, "link")))
	s := openTenant(t, Config{ID: "test", Network: "none", Root: Root{Kind: Bind, Dir: root}, Mounts: []Mount{
		{Source: dir, Destination: "/data"},
		{Source: dir, Destination: "/deep/er/ro", ReadOnly: true},
		{Source: file, Destination: "/etc/hosts", ReadOnly: true},
		{Source: dir, Destination: "/link/below"},
	}})
	if out := sh(t, s, "cat /data/in /etc/hosts /tmp/below/in; echo out >/data/out; cat /deep/er/ro/out"); out != "data\n127.0.0.1 localhost\ndata\nout\n" {
		t.Errorf("output %q", out)
	}
	for script, says := range map[string]string{
		"echo x >/deep/er/ro/x":          "Read-only",
		"echo x >/etc/hosts":             "Read-only",
		"mount -o remount,rw /etc/hosts": "denied",
		"echo x >/data/null":             "Permission denied",
	} {
		out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", script}})
		if err != nil || ws == 0 || !strings.Contains(out, says) {
			t.Errorf("%s: %#x, %q, %v", script, int(ws), out, err)
		}
	}
	// The file is rewritten in place on the host, and seen inside.
	must(t, os.WriteFile(file, []byte("10.0.0.2 db\n"), 0o644))
	if out := sh(t, s, "cat /etc/hosts"); out != "10.0.0.2 db\n" {
		t.Errorf("output %q", out)
	}
}

// TestIntegrationMountDescriptor: what is mounted is what was opened, whatever
// has its name by now; and the descriptor is closed (checkHost would
// see it).
func TestIntegrationMountDescriptor(t *testing.T) {
	need(t)
	checkHost(t)
	base := t.TempDir()
	good, name := filepath.Join(base, "good"), filepath.Join(base, "name")
	must(t, os.Mkdir(name, 0o755))
	must(t, os.WriteFile(filepath.Join(name, "which"), []byte("good\n"), 0o644))
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	must(t, os.Rename(name, good))
	must(t, os.Symlink("/etc", name))
	s := openTenant(t, Config{ID: "test", Network: "none", Root: Root{Kind: Bind, Dir: makeRoot(t)},
		Mounts: []Mount{{FD: fd, Source: name, Destination: "/data"}}})
	if out := sh(t, s, "cat /data/which"); out != "good\n" {
		t.Errorf("output %q", out)
	}
}

func TestIntegrationOpenErrors(t *testing.T) {
	need(t)
	root := makeRoot(t)
	ok := Root{Kind: Bind, Dir: root}
	for name, tt := range map[string]struct {
		c    Config
		want error
		says string
	}{
		"no root":        {Config{Network: "none"}, nil, "kind of root"},
		"no network":     {Config{Root: ok}, nil, "network"},
		"jail":           {Config{Root: ok, Network: "none", Jail: 3}, nil, "FreeBSD"},
		"missing dir":    {Config{Root: Root{Kind: Bind, Dir: "/no/such"}, Network: "none"}, unix.ENOENT, "/no/such"},
		"missing layer":  {Config{Root: overlay(t, "/no/such"), Network: "none"}, unix.ENOENT, "/no/such"},
		"no layer":       {Config{Root: overlay(t), Network: "none"}, nil, "lower"},
		"missing source": {Config{Root: ok, Network: "none", Mounts: []Mount{{Source: "/no/such", Destination: "/a"}}}, unix.ENOENT, "mount on /a"},
		"no source":      {Config{Root: ok, Network: "none", Mounts: []Mount{{Destination: "/a"}}}, nil, "/a"},
		"relative":       {Config{Root: ok, Network: "none", Mounts: []Mount{{Source: "/etc", Destination: "a"}}}, nil, "absolute"},
		"over the root":  {Config{Root: ok, Network: "none", Mounts: []Mount{{Source: "/etc", Destination: "//"}}}, nil, "absolute"},
		"dir on file":    {Config{Root: ok, Network: "none", Mounts: []Mount{{Source: "/etc", Destination: "/etc/passwd"}}}, unix.ENOTDIR, "/etc/passwd"},
		"missing group":  {Config{Root: ok, Network: "none", Cgroup: "/sys/fs/cgroup/no/such"}, unix.ENOENT, "cgroup"},
		"no group":       {Config{Root: ok, Network: "none", Cgroup: root}, errors.ErrUnsupported, "cgroup2"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			checkHost(t)
			tt.c.ID = "c1"
			s, err := open(&tt.c)
			if err == nil {
				t.Error("no error", s.Close())
			} else if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %v that says %q", err, tt.want, tt.says)
			}
		})
	}
}

// TestIntegrationConcurrent: several tenants in one process.
func TestIntegrationConcurrent(t *testing.T) {
	need(t)
	checkHost(t)
	root := makeRoot(t)
	group := makeGroup(t)
	t.Run("all", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for range 5 {
					c := Config{ID: "test", Network: "none", Root: overlay(t, root)}
					if group != "" {
						c.Cgroup = filepath.Join(group, fmt.Sprint(i))
						must(t, os.MkdirAll(c.Cgroup, 0o755))
					}
					s := openTenant(t, c)
					if out := sh(t, s, "echo $((6*7))"); out != "42\n" {
						t.Errorf("output %q", out)
					}
					must(t, s.Close())
				}
				if group != "" {
					must(t, os.Remove(filepath.Join(group, fmt.Sprint(i))))
				}
			})
		}
	})
}
