package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

// These tests try to get out of a tenant, or to do what is not theirs.

// TestIntegrationRefused: each of the scripts, run by the tenant's root, must
// fail, and say why.
func TestIntegrationRefused(t *testing.T) {
	s := plain(t)
	for name, tt := range map[string]struct{ script, says string }{
		"mknod":           {"mknod /tmp/sda b 8 0", "Operation not permitted"},
		"mount":           {"mount -t tmpfs none /tmp", "denied"},
		"unmount":         {"umount /proc/sys", "Operation not permitted"},
		"remount":         {"mount -o remount,rw /proc/sys", "denied"},
		"sysctl":          {"echo x >/proc/sys/kernel/core_pattern", "Read-only file system"},
		"sysrq":           {"echo h >/proc/sysrq-trigger", "Read-only file system"},
		"sysfs":           {"echo 1 >/sys/kernel/uevent_helper || echo 1 >/sys/kernel/profiling", "Read-only file system"},
		"program of pid1": {"cat /proc/1/exe", "Permission denied"},
		"link of pid1":    {"ls -l /proc/1/exe; ls /proc/1/cwd", "Permission denied"},
		"memory of pid1":  {"cat /proc/1/mem", "Permission denied"},
		"files of pid1":   {"cat /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2", "Permission denied"},
		"environ of pid1": {"cat /proc/1/environ", "Permission denied"},
		"root of pid1":    {"ls /proc/1/root/", "Permission denied"},
		"chroot":          {"chroot / mount -t proc proc /proc", "denied"},
		"hostname":        {"hostname evil", "Operation not permitted"},
		"network":         {"ip link set lo down", "Operation not permitted"},
		"upwards":         {"cat /../../etc/hostname /tmp/../../../etc/hostname", "No such file"},
	} {
		if name == "sysrq" && !exists("/proc/sysrq-trigger") {
			continue
		}
		out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", tt.script}})
		must(t, err)
		if ws == 0 || !strings.Contains(strings.ToLower(out), strings.ToLower(tt.says)) {
			t.Errorf("%s: status %#x, says %q, want %q", name, int(ws), out, tt.says)
		}
	}
}

func TestIntegrationMasked(t *testing.T) {
	s := plain(t)
	if out := sh(t, s, "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c; ls /sys/firmware | wc -l"); out != "0\n0\n" {
		t.Errorf("masked files and directories show something: %q", out)
	}
	if out := sh(t, s, "echo x >/sys/firmware/x || echo no"); !strings.Contains(out, "no\n") {
		t.Errorf("write to a masked directory: %q", out)
	}
}

// TestIntegrationDescriptors: a process has 0, 1 and 2 and nothing else.
func TestIntegrationDescriptors(t *testing.T) {
	f, err := os.Open("/etc")
	must(t, err)
	t.Cleanup(func() { f.Close() })
	high, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 100) // not close-on-exec
	must(t, err)
	t.Cleanup(func() { unix.Close(high) })
	s := plain(t)
	// The shell's glob opens the directory itself.
	if out := sh(t, s, "cd /proc/self/fd; echo *"); out != "0 1 2 3\n" && out != "0 1 2\n" {
		t.Errorf("descriptors %q", out)
	}
	if out := sh(t, s, "ls -l /proc/self/fd"); strings.Contains(out, "/etc") || strings.Contains(out, "socket:") {
		t.Errorf("descriptors of others: %s", out)
	}
}

// dockers is the CapEff of a process in a container of Docker.
const dockers = 0xa80425fb

func TestIntegrationStatus(t *testing.T) {
	s := plain(t)
	for _, tt := range []struct{ user, want string }{
		{"", "CapInh:\t0000000000000000 CapPrm:\t%[1]s CapEff:\t%[1]s CapBnd:\t%[1]s CapAmb:\t0000000000000000 NoNewPrivs:\t1"},
		{"ann", "CapInh:\t0000000000000000 CapPrm:\t%[2]s CapEff:\t%[2]s CapBnd:\t%[1]s CapAmb:\t0000000000000000 NoNewPrivs:\t1"},
	} {
		out, _, err := run(t, s, runloop.Process{Args: []string{"grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status"}, User: tt.user})
		must(t, err)
		want := fmt.Sprintf(tt.want, fmt.Sprintf("%016x", dockers&^(1<<unix.CAP_MKNOD)), "0000000000000000")
		if got := strings.Join(strings.Split(strings.TrimSpace(out), "\n"), " "); got != want {
			t.Errorf("user %q:\n%s\nwant\n%s", tt.user, got, want)
		}
	}
	if out := sh(t, s, "grep -E '^Sig(Blk|Ign)' /proc/self/status; umask; ulimit -n; cat /proc/self/cgroup | grep ^0:"); !strings.HasPrefix(out,
		"SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0022\n1024\n") || s.base != "" && !strings.Contains(out, "\n0::/t") {
		t.Errorf("process attributes %q", out)
	}
}

// TestIntegrationAlone: nothing of the host's processes, mounts and network.
func TestIntegrationAlone(t *testing.T) {
	l, err := net.Listen("unix", "@xc-tenant-test")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	s := plain(t)
	if out := sh(t, s, "ls -d /proc/[0-9]* | wc -l"); strings.TrimSpace(out) > "5" || len(strings.TrimSpace(out)) > 1 {
		t.Errorf("%s processes are visible", out)
	}
	if out := sh(t, s, "ip -o link | grep -c ."); out != "1\n" && !strings.Contains(out, "1\n") {
		t.Errorf("network interfaces: %q", out)
	}
	if out := sh(t, s, "cat /proc/net/unix"); strings.Contains(out, "xc-tenant-test") {
		t.Errorf("the host's abstract sockets are visible: %s", out)
	}
	out := sh(t, s, "cat /proc/self/mountinfo")
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if strings.HasPrefix(f[6], "shared") || strings.HasPrefix(f[6], "master") {
			t.Errorf("a mount that propagates: %s", line)
		}
		switch at := f[4]; {
		case at == "/", strings.HasPrefix(at, "/proc"), strings.HasPrefix(at, "/sys"), strings.HasPrefix(at, "/dev"):
		default:
			t.Errorf("a mount that is not ours: %s", line)
		}
		if f[4] == "/" && !strings.Contains(f[5], "nodev") {
			t.Errorf("the root has devices: %s", line)
		}
	}
}

// TestIntegrationFilter: the filter holds, and not where it was not wanted.
func TestIntegrationFilter(t *testing.T) {
	s := plain(t)
	if out := sh(t, s, "grep ^Seccomp: /proc/self/status; unshare -U true 2>&1 || echo refused"); !strings.HasPrefix(out, "Seccomp:\t2\n") || !strings.HasSuffix(out, "refused\n") {
		t.Errorf("output %q", out)
	}
	s = openTenant(t, Config{ID: "test", Network: "none", Root: Root{Kind: Bind, Dir: makeRoot(t)}, Unconfined: true})
	if out := sh(t, s, "grep ^Seccomp: /proc/self/status"); out != "Seccomp:\t0\n" {
		t.Errorf("output %q", out)
	}
}

// TestIntegrationSignalsToPid1: the stub cannot be killed or stopped from inside,
// also not by who has just been started and is faster than the stub.
func TestIntegrationSignalsToPid1(t *testing.T) {
	s := plain(t)
	for range 20 {
		sh(t, s, "for i in TERM KILL STOP INT HUP QUIT ABRT SEGV USR1 URG PIPE CHLD; do kill -$i 1; done; true")
	}
	if out := sh(t, s, "echo alive"); out != "alive\n" {
		t.Errorf("after signals to pid 1: %q", out)
	}
}

// TestStubName: a process that poses as the stub but is not pid 1 ends at once.
func TestStubName(t *testing.T) {
	cmd := exec.Cmd{Path: "/proc/self/exe", Args: []string{stubName}}
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit status 1", err)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestIntegrationHostileRoot: a root that chooses where things are mounted.
func TestIntegrationHostileRoot(t *testing.T) {
	need(t)
	for name, tt := range map[string]struct {
		spoil  func(root string) error
		mounts []Mount
		want   error
	}{
		"proc is a link": {func(r string) error {
			return errors.Join(os.Remove(r+"/proc"), os.Symlink("etc", r+"/proc"))
		}, nil, unix.ENOTDIR},
		"dev is a file": {func(r string) error {
			return errors.Join(os.Remove(r+"/dev"), os.WriteFile(r+"/dev", nil, 0o600))
		}, nil, unix.ENOTDIR},
		"volume into proc": {func(r string) error { return os.Symlink("/proc/sys", r+"/data") },
			[]Mount{{Source: "/etc", Destination: "/data"}}, unix.EPERM},
		"volume by a magic link": {func(r string) error { return os.Symlink("/proc/1/root", r+"/data") },
			[]Mount{{Source: "/etc", Destination: "/data/x"}}, unix.ELOOP},
		"passwd is a fifo": {func(r string) error {
			return errors.Join(os.Remove(r+"/etc/passwd"), unix.Mkfifo(r+"/etc/passwd", 0o644))
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			checkHost(t)
			root := makeRoot(t)
			must(t, tt.spoil(root))
			c := &Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: root}, Mounts: tt.mounts}
			s, err := open(c)
			if tt.want != nil {
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if err == nil {
					s.Close()
				}
				return
			}
			must(t, err)
			_, _, err = run(t, s, runloop.Process{Args: []string{"true"}})
			if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				t.Errorf("start: %v", err)
			}
			must(t, s.Close())
		})
	}
}

// TestIntegrationNodes: a node of a device that a root or a volume brings is of no
// use, whatever its mode, and a file that is set-user-ID of none to gain by.
func TestIntegrationNodes(t *testing.T) {
	need(t)
	checkHost(t)
	root, volume := makeRoot(t), t.TempDir()
	null := int(unix.Mkdev(1, 3)) // one that it may open in /dev: it is the place that forbids it
	for _, name := range []string{root + "/null", root + "/tmp/null", volume + "/null"} {
		must(t, unix.Mknod(name, unix.S_IFCHR|0o666, null))
		must(t, os.Chmod(name, 0o666))
	}
	b, err := os.ReadFile(busybox)
	must(t, err)
	for _, name := range []string{root + "/bin/busybox-raised", volume + "/busybox-raised"} {
		must(t, os.WriteFile(name, b, 0o755))
		must(t, os.Chmod(name, 0o755|os.ModeSetuid))
	}
	must(t, os.Chmod(volume, 0o755))
	s := openTenant(t, Config{ID: "test", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: root},
		Mounts: []Mount{{Source: volume, Destination: "/volume"}}})
	for _, name := range []string{"/null", "/tmp/null", "/volume/null"} {
		out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "exec 3<" + name}})
		must(t, err)
		if ws == 0 || !strings.Contains(out, "ermission denied") {
			t.Errorf("%s: status %#x, says %q", name, int(ws), out)
		}
	}
	sh(t, s, "exec 3</dev/null")
	for _, name := range []string{"/bin/busybox-raised", "/volume/busybox-raised"} {
		out, _, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", name + " id -u"}, User: "ann"})
		must(t, err)
		if out != "1000\n" {
			t.Errorf("%s, of root and set-user-ID, runs as %q", name, out)
		}
	}
}
