package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site/runloop"
)

func openJail(t testing.TB) runloop.Tenant {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make a jail: run the test binary as root, -test.run Integration")
	}
	id, err := jail.Create(jail.String("name", fmt.Sprintf("xctest%d", os.Getpid())), jail.String("path", "/"), jail.Flag("persist"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := id.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b, err := json.Marshal(Config{ID: "test", Jail: int(id), Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	ten, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ten.Close(); err != nil {
			t.Error(err)
		}
	})
	return ten
}

// start starts sh with the ends of pipes for 0 and 1.
func start(t *testing.T, ten runloop.Tenant, script, user string) (tr runloop.Tree, in, out *os.File) {
	t.Helper()
	r, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	tr, err = ten.Start(&runloop.Process{Args: []string{"sh", "-c", script}, User: user, Files: [3]*os.File{r, w, w}})
	if err = errors.Join(err, r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); out.Close() })
	return tr, in, out
}

func TestIntegrationJail(t *testing.T) {
	ten := openJail(t)
	tr, in, out := start(t, ten, "id -u; id -G; sysctl -n security.jail.jailed; echo $HOME; pwd; (daemon cat &) ; exit 3", "operator")
	if ws, err := tr.Main(t.Context()); err != nil || ws.ExitStatus() != 3 {
		t.Errorf("main: %#x, %v", int(ws), err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	b, err := io.ReadAll(out)
	if err != nil || !strings.HasPrefix(string(b), "2\n5\n1\n/\n/\n") {
		t.Errorf("output %q, %v", b, err)
	}
	if err := tr.Empty(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tr.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v", err)
	}
}

func TestIntegrationJailDescendants(t *testing.T) {
	ten := openJail(t)
	tr, in, out := start(t, ten, "exec 3<&0; (sh -c 'cat <&3' >/dev/null &) ; echo up; exit 0", "")
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if ws, err := tr.Main(t.Context()); err != nil || ws != 0 {
		t.Errorf("main: %#x, %v", int(ws), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.Empty(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Empty while a process lives: %v", err)
	}
	if pids, err := tr.PIDs(); err != nil || len(pids) == 0 {
		t.Errorf("PIDs: %v, %v", pids, err)
	}
	in.Close()
	if err := tr.Empty(t.Context()); err != nil {
		t.Error(err)
	}

	tr, _, _ = start(t, ten, "trap '' TERM; (cat &); exec cat", "")
	if err := ten.Kill(); err != nil {
		t.Error(err)
	}
	if ws, err := tr.Main(t.Context()); err != nil || ws.Signal() != syscall.SIGKILL {
		t.Errorf("killed main: %#x, %v", int(ws), err)
	}
	if err := tr.Empty(t.Context()); err != nil {
		t.Error(err)
	}
	for args, want := range map[string]error{"/no/such": fs.ErrNotExist, "/etc/passwd": fs.ErrPermission, "/etc": fs.ErrPermission} {
		f := os.Stdin
		_, err := ten.Start(&runloop.Process{Args: []string{args}, Files: [3]*os.File{f, f, f}})
		if !errors.Is(err, want) {
			t.Errorf("start %s: %v, want %v", args, err, want)
		}
	}
}

func TestIntegrationUnbranded(t *testing.T) {
	ten := openJail(t)
	path := t.TempDir() + "/static"
	head := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 500)...)
	head[16], head[18] = 2, 62 // ET_EXEC, x86-64
	if err := os.WriteFile(path, head, 0o755); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, err = ten.Start(&runloop.Process{Args: []string{path}, Files: [3]*os.File{null, null, null}})
	if !errors.Is(err, fs.ErrPermission) || !errors.Is(err, syscall.ENOEXEC) || !strings.Contains(err.Error(), whyUnbranded(Linuxulator())) {
		t.Errorf("error: %v", err)
	}
}
