package ns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
	"golang.org/x/sys/unix"
)

// insideEnv makes the test binary the process inside new namespaces, which
// furnishes them and then looks around.
const insideEnv = "XC_NS_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(insideEnv); dir != "" {
		if err := inside(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	testns.Enter()
	os.Exit(m.Run())
}

// inside furnishes a root of three layers in dir and prints what is there.
func inside(dir string) error {
	unix.Umask(0)
	if err := Private(); err != nil {
		return err
	}
	l := Layers{Lower: []string{dir + "/top", dir + "/bottom"}, Upper: dir + "/upper", Work: dir + "/work"}
	old, err := classic(l, NoDev|NoSUID)
	if err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return err
	}
	root, err := Overlay(l, NoDev|NoSUID)
	if err != nil {
		return err
	}
	volume, err := Clone(unix.AT_FDCWD, dir+"/volume")
	if err != nil {
		return err
	}
	proc, err1 := Proc()
	sys, err2 := Sys()
	dev, err3 := Dev(DevOptions{ShmSize: 1 << 20})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := errors.Join(volume.Set(MountReadOnly), root.Pivot(), root.Close(), proc.Place("/proc"), proc.Close(),
		sys.Place("/sys"), sys.Close(), dev.Place("/dev"), dev.Close(),
		volume.Attach("/volume"), volume.Close(), Mask(MaskedPaths()...), ReadOnly(ReadOnlyPaths()...), Hostname("inner"), Loopback()); err != nil {
		return err
	}
	return look()
}

func look() error {
	for _, name := range []string{"/file", "/volume/data", "/proc/sys/kernel/hostname", "/proc/interrupts", "/dev/null", "/proc/self/mountinfo"} {
		if name == "/proc/self/mountinfo" {
			mountPoints()
			continue
		}
		b, err := os.ReadFile(name)
		fmt.Printf("%s %q %v\n", name, b, err)
	}
	for _, name := range []string{"/volume/new", "/proc/sys/kernel/hostname", "/sys/firmware/x"} {
		fmt.Println(os.WriteFile(name, nil, 0o600))
	}
	es, err := os.ReadDir("/dev")
	for _, e := range es {
		fmt.Print(e.Name(), " ")
	}
	fmt.Println(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", l.Addr().String())
	fmt.Println("loopback", err)
	return errors.Join(c.Close(), l.Close())
}

// mountPoints prints what is mounted where, and how.
func mountPoints() {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // proc_pid_mountinfo(5)
		i := slices.Index(f, "-")
		if strings.HasPrefix(f[4], "/dev") || f[4] == "/proc" || f[4] == "/sys" {
			fmt.Println(f[4], f[5], f[i+1])
		}
	}
	if err != nil {
		fmt.Println(err)
	}
}

const insideSees = `/file "top\n" <nil>
/volume/data "data" <nil>
/proc/sys/kernel/hostname "inner\n" <nil>
/proc/interrupts "" <nil>
/dev/null "" <nil>
/proc rw,nosuid,nodev,noexec,relatime proc
/sys ro,nosuid,nodev,noexec,relatime sysfs
/dev rw,nosuid,noexec,relatime tmpfs
/dev/pts rw,nosuid,noexec,relatime devpts
/dev/shm rw,nosuid,nodev,noexec,relatime tmpfs
/dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue
open /volume/new: read-only file system
open /proc/sys/kernel/hostname: read-only file system
open /sys/firmware/x: read-only file system
console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero <nil>
loopback <nil>
`

func TestIntegrationRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make namespaces: sudo go test -run Integration ./linux/ns")
	}
	dir := t.TempDir()
	for _, d := range []string{"top/volume", "bottom", "upper", "work", "volume"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"top/file": "top\n", "bottom/file": "bottom\n", "volume/data": "data"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := mounts(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{insideEnv + "=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := string(out)
	if !exists("/sys/firmware") {
		got = strings.Replace(got, "open /sys/firmware/x: no such file or directory", "open /sys/firmware/x: read-only file system", 1)
	}
	if got != insideSees {
		t.Errorf("inside:\n%s\nwant\n%s", got, insideSees)
	}
	if after := mounts(t); after != before {
		t.Errorf("mounts of the host: %d before, %d after", before, after)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func mounts(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func TestCaps(t *testing.T) {
	for c, want := range map[int]bool{
		unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FOWNER: true, unix.CAP_FSETID: true, unix.CAP_KILL: true,
		unix.CAP_SETGID: true, unix.CAP_SETUID: true, unix.CAP_SETPCAP: true, unix.CAP_NET_BIND_SERVICE: true, unix.CAP_NET_RAW: true,
		unix.CAP_SYS_CHROOT: true, unix.CAP_AUDIT_WRITE: true, unix.CAP_SETFCAP: true,
		unix.CAP_MKNOD: false, unix.CAP_SYS_ADMIN: false, unix.CAP_SYS_PTRACE: false, unix.CAP_NET_ADMIN: false, unix.CAP_DAC_READ_SEARCH: false,
	} {
		if DefaultCaps.Has(c) != want {
			t.Errorf("DefaultCaps.Has(%d) = %v", c, !want)
		}
	}
	b, err := Bounding()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Permitted()
	if err != nil || p&^b != 0 && os.Getuid() != 0 {
		t.Errorf("permitted %x of %x, %v", p, b, err)
	}
	if MountReadOnly != unix.MOUNT_ATTR_RDONLY || NoSUID != unix.MOUNT_ATTR_NOSUID || NoDev != unix.MOUNT_ATTR_NODEV || NoExec != unix.MOUNT_ATTR_NOEXEC {
		t.Error("attributes differ from the kernel's")
	}
}

func TestClassicOptions(t *testing.T) {
	name := func(dir string) (string, error) { return "<" + dir + ">", nil }
	for _, tt := range []struct {
		l    Layers
		want string
	}{
		{Layers{Lower: []string{"a"}}, "lowerdir=<a>"},
		{Layers{Lower: []string{"b", "a"}, Upper: "u", Work: "w"}, "lowerdir=<b>:<a>,upperdir=<u>,workdir=<w>"},
		{Layers{Lower: []string{"a"}, Upper: "u", Work: "w", Volatile: true}, "lowerdir=<a>,upperdir=<u>,workdir=<w>,volatile"},
	} {
		if got, err := classicOptions(tt.l, name); got != tt.want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
	}
}
