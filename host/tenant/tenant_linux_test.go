package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
	"github.com/joyboyid/xc/kqueue/kqueuetest"
	"github.com/joyboyid/xc/linux/cgroup"
	"github.com/joyboyid/xc/site/runloop"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	kqueuetest.Main()
	if Main() {
		return
	}
	testns.Enter()
	os.Exit(m.Run())
}

const busybox = "/bin/busybox"

// need skips a test where a tenant cannot be opened.
func need(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make namespaces: sudo go test -run Integration ./host/tenant")
	}
	if _, err := os.Stat(busybox); err != nil {
		t.Skipf("needs a static busybox to put into roots (Debian: apt install busybox-static): %v", err)
	}
}

// makeRoot makes a root directory with busybox.
func makeRoot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "root"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	b, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "bin/busybox"), b, 0o755))
	for _, n := range strings.Fields("sh true cat ls id sleep mknod mount umount hostname kill setsid grep stat ps ln chroot tty dd env pwd ip wc head test unshare") {
		must(t, os.Symlink("busybox", filepath.Join(dir, "bin", n)))
	}
	must(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "etc/group"), []byte("root:x:0:\nann:x:1001:\nwheel:x:10:root,ann\nops:x:20:ann\n"), 0o644))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeGroup makes a group for a tenant, or returns "" where there is no cgroup2.
func makeGroup(t testing.TB) string {
	t.Helper()
	base, err := cgroup.Find()
	if errors.Is(err, errors.ErrUnsupported) {
		return ""
	}
	must(t, err)
	g, err := cgroup.Make(filepath.Join(base, fmt.Sprintf("xctest-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))))
	must(t, err)
	t.Cleanup(func() {
		if p, err := g.Populated(); p || err != nil {
			t.Errorf("the group is populated after the test: %v, %v", p, err)
		}
		if err := unix.Rmdir(groupPath(g)); err != nil {
			t.Errorf("something is left in the group: %v", err)
		}
		must(t, g.Close())
	})
	return groupPath(g)
}

func groupPath(g *cgroup.Group) string {
	p, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", g.FD()))
	if err != nil {
		panic(err)
	}
	return p
}

// checkHost fails the test if it left mounts, descriptors or children behind.
func checkHost(t testing.TB) {
	t.Helper()
	mounts, fds := countMounts(t), openFiles(t)
	t.Cleanup(func() {
		if now := countMounts(t); now != mounts {
			t.Errorf("mounts: %d before, %d after", mounts, now)
		}
		if now := openFiles(t); !slices.Equal(now, fds) {
			t.Errorf("descriptors:\n%v before\n%v after", fds, now)
		}
		if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
			t.Errorf("a child is left: %v", err)
		}
	})
}

func countMounts(t testing.TB) int {
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return bytes.Count(b, []byte("\n"))
}

func openFiles(t testing.TB) []string {
	es, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var out []string
	for _, e := range es {
		l, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(l, "anon_inode:[event") { // the runtime's poller comes when needed
			out = append(out, e.Name()+" "+l)
		}
	}
	return out
}

// openTenant opens a tenant for the test.
func openTenant(t testing.TB, c Config) *space {
	t.Helper()
	b, err := json.Marshal(c)
	must(t, err)
	ten, err := Open(b)
	must(t, err)
	t.Cleanup(func() {
		if err := ten.Close(); err != nil {
			t.Error(err)
		}
	})
	return ten.(*space)
}

// plain is the usual tenant of these tests.
func plain(t testing.TB) *space {
	t.Helper()
	need(t)
	checkHost(t)
	return openTenant(t, Config{
		ID: "test", Hostname: "box", Network: "none", Cgroup: makeGroup(t), Root: Root{Kind: Bind, Dir: makeRoot(t)},
	})
}

// run runs a process to its end and returns its output, also of descendants.
func run(t testing.TB, s *space, p runloop.Process) (string, syscall.WaitStatus, error) {
	t.Helper()
	tr, out, err := start(t, s, p)
	if err != nil {
		return "", 0, err
	}
	b, err := io.ReadAll(out)
	must(t, err)
	must(t, out.Close())
	ws, err := tr.Main(t.Context())
	must(t, err)
	must(t, tr.Empty(t.Context()))
	must(t, tr.Close())
	return string(b), ws, nil
}

func start(t testing.TB, s *space, p runloop.Process) (runloop.Tree, *os.File, error) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	defer w.Close()
	p.Files = [3]*os.File{null, w, w}
	tr, err := s.Start(&p)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return tr, r, nil
}

// sh runs a script, which must succeed, and returns its output.
func sh(t testing.TB, s *space, script string) string {
	t.Helper()
	out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", script}})
	must(t, err)
	if ws != 0 {
		t.Errorf("%s: status %#x, output %q", script, int(ws), out)
	}
	return out
}

func TestIntegrationTrue(t *testing.T) {
	s := plain(t)
	if out := sh(t, s, "hostname; pwd; echo $HOME; ls /"); out != "box\n/\n/root\nbin\ndev\netc\nproc\nroot\nsys\ntmp\n" {
		t.Errorf("output %q", out)
	}
	out, ws, err := run(t, s, runloop.Process{Args: []string{"sh", "-c", "echo x; exit 7"}})
	if out != "x\n" || ws.ExitStatus() != 7 || err != nil {
		t.Errorf("%q, %#x, %v", out, int(ws), err)
	}
}
