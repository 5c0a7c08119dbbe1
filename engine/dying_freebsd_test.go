package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/jail"
)

// socketEnv has this program make a socket, in a container.
const socketEnv = "XC_TEST_SOCKET"

// A container is removed with all it has although its jail goes on dying, as
// somebody outside holds a socket that was made inside.
func TestIntegrationRemoveWhileDying(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	now := 0
	for _, tc := range []struct {
		name string
		spec api.ContainerSpec
		end  func(id string) error
	}{
		{"stopped", api.ContainerSpec{}, func(id string) error {
			return errors.Join(e.StopContainer(t.Context(), id, api.StopOptions{Timeout: &now}), e.RemoveContainer(t.Context(), id, api.RemoveOptions{}))
		}},
		{"by force", api.ContainerSpec{}, func(id string) error {
			return e.RemoveContainer(t.Context(), id, api.RemoveOptions{Force: true})
		}},
		{"by itself", api.ContainerSpec{AutoRemove: true}, func(id string) error {
			err := e.KillContainer(t.Context(), id, "KILL")
			_, werr := e.WaitContainer(t.Context(), id, api.WaitOptions{})
			rerr := e.RemoveContainer(t.Context(), id, api.RemoveOptions{}) // waits until it is gone
			if errors.Is(rerr, fs.ErrNotExist) {
				rerr = nil
			}
			return errors.Join(err, werr, rerr)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Name, tc.spec.Image, tc.spec.Command = "dies", "root", []string{"sleep", "1000"}
			tc.spec.Mounts = []api.Mount{{Source: executable(t), Destination: "/made-by-test", ReadOnly: true}}
			c := start(t, e, tc.spec)
			id := jailOf(t, e, c)
			socket := socketOf(t, e, c)
			if err := tc.end(c.ID); err != nil {
				t.Errorf("removal: %v", err)
			}
			if info, err := id.Info(); err != nil || !info.Dying {
				t.Errorf("the jail is not dying, so that nothing was tried: %+v, %v", info, err)
			}
			nothingOf(t, e, c.ID)
			// Its name is free.
			if out, exit := sh(t, e, api.ContainerSpec{Name: "dies"}, "echo another"); out != "another\n" || exit.Code != 0 {
				t.Errorf("another one of its name: %q, %+v", out, exit)
			}
			if err := socket.Close(); err != nil {
				t.Error(err)
			}
			awaitNoJail(t, id)
		})
	}
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// socketOf is a socket that a process in the container has made, and has ended since.
func socketOf(t *testing.T, e api.Engine, c api.Container) *os.File {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer ours.Close()
	defer theirs.Close()
	exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{
		Args: []string{"/made-by-test", "-test.run=^TestSocketHelper$"}, Env: []string{socketEnv + "=1"},
		Stdio: api.Stdio{Stdin: theirs, Stdout: os.Stderr, Stderr: os.Stderr},
	})
	if err != nil || exit.Code != 0 {
		t.Fatalf("the socket's maker: %+v, %v", exit, err)
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(ours.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%+v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	socket := os.NewFile(uintptr(fds[0]), "socket")
	t.Cleanup(func() { socket.Close() })
	return socket
}

// TestSocketHelper is what runs in the container: it sends a socket through the one
// it has as standard input.
func TestSocketHelper(t *testing.T) {
	if os.Getenv(socketEnv) == "" {
		t.Skip("TestIntegrationRemoveWhileDying runs this in a container")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(0, []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		t.Fatal(err)
	}
}

// nothingOf fails if there is something of a container: its record, mounts, datasets,
// files of the engine's, or whatever the engine itself finds.
func nothingOf(t *testing.T, e *engine.Engine, id string) {
	t.Helper()
	if _, err := e.InspectContainer(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the container is there: %v", err)
	}
	if left, err := e.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left on the host: %q, %v", left, err)
	}
	mounts, err := mount.List()
	if err != nil {
		t.Error(err)
	}
	for _, m := range mounts {
		if strings.Contains(m.Path, id) || strings.Contains(m.From, id) {
			t.Errorf("mounted: %+v", m)
		}
	}
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{info.StateDir, info.RunDir} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if strings.Contains(path, id) {
				t.Errorf("there is %s", path)
			}
			if errors.Is(err, fs.ErrNotExist) { // of what is made ready meanwhile
				return nil
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, d := range testDatasets(t) {
		if strings.Contains(d, id) {
			t.Errorf("dataset %s", d)
		}
	}
}

// testDatasets are the datasets and snapshots below that of the tests, if there is
// one.
func testDatasets(t *testing.T) []string {
	t.Helper()
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		return nil
	}
	return strings.Fields(command(t, "zfs", "list", "-H", "-o", "name", "-t", "all", "-r", parent))
}

// awaitNoJail waits until a jail that nothing holds any more is gone.
func awaitNoJail(t *testing.T, id jail.ID) {
	t.Helper()
	for range 200 {
		if _, err := id.Info(); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	info, err := id.Info()
	t.Errorf("nobody holds the jail, and it is there: %+v, %v", info, err)
}
