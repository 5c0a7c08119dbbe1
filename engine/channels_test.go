package engine_test

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// channelEnv makes the test binary a client of the channel at its value.
const channelEnv = "XC_TEST_CHANNEL"

// channelHelper asks for the version, and for a container.
func channelHelper() bool {
	socket := os.Getenv(channelEnv)
	if socket == "" {
		return false
	}
	v, err := ask(context.Background(), socket, func(e api.Engine) error {
		_, err := e.CreateContainer(context.Background(), api.ContainerSpec{Rootfs: "/"})
		if !errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("a container: %w", err)
		} else {
			err = nil
		}
		return err
	})
	fmt.Println(v.Platform, err)
	return true
}

// ask connects to an engine, asks for its version and for more.
func ask(ctx context.Context, socket string, more func(api.Engine) error) (api.Version, error) {
	c, err := ipc.Open(ctx, socket)
	if err != nil {
		return api.Version{}, err
	}
	e := api.EngineClient{C: c}
	v, err := e.Version(ctx)
	if err == nil && more != nil {
		err = more(e)
	}
	return v, errors.Join(err, c.Close())
}

func TestIntegrationChannel(t *testing.T) {
	e := testEngine(t)
	path := filepath.Join(shortTempDir(t), "web")
	c, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: path, Allow: []string{"System.Version", "Images.*"}, Mode: "0660"})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(c.Socket); err != nil || info.Mode() != fs.ModeSocket|0o660 || filepath.Dir(c.Socket) != path {
		t.Errorf("%v, %v", info, err)
	}
	_, err = ask(t.Context(), c.Socket, func(e api.Engine) error {
		_, err := e.ListImages(t.Context(), api.ListImagesOptions{})
		_, denied := e.ListContainers(t.Context(), api.ListOptions{})
		if !errors.Is(denied, fs.ErrPermission) || !strings.Contains(denied.Error(), "Containers.ListContainers") {
			t.Errorf("what is not allowed: %v", denied)
		}
		if _, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: path + "2"}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a channel through a channel: %v", err)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	list, err := e.ListChannels(t.Context())
	if err != nil || len(list) != 1 || list[0].Path != path || list[0].Error != "" || !slices.Contains(list[0].Allow, "Images.ListImages") {
		t.Errorf("%+v, %v", list, err)
	}
	// Its clients are hung up on, and nothing is left.
	conn, err := ipc.Open(t.Context(), c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (api.EngineClient{C: conn}).Version(t.Context()); err != nil {
		t.Error(err)
	}
	if removed, err := e.RemoveChannel(t.Context(), path+"/"); err != nil || removed != path {
		t.Errorf("%q, %v", removed, err)
	}
	<-conn.Done()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := e.RemoveChannel(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("once more: %v", err)
	}
}

// What exists stays as it is.
func TestIntegrationChannelRefusals(t *testing.T) {
	e := testEngine(t)
	dir := shortTempDir(t)
	channel, open := filepath.Join(dir, "channel"), filepath.Join(dir, "open")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("nowhere", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "dir"), 0o700),
		os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: channel}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		spec api.ChannelSpec
		want error
	}{
		{api.ChannelSpec{Path: filepath.Join(dir, "file")}, fs.ErrExist},
		{api.ChannelSpec{Path: filepath.Join(dir, "link")}, fs.ErrExist},
		{api.ChannelSpec{Path: filepath.Join(dir, "dir")}, fs.ErrExist},
		{api.ChannelSpec{Path: channel}, fs.ErrExist},
		{api.ChannelSpec{Path: filepath.Join(channel, "inside")}, fs.ErrExist},
		{api.ChannelSpec{Path: filepath.Join(open, "a")}, fs.ErrPermission},
		{api.ChannelSpec{Path: filepath.Join(dir, "none", "a")}, fs.ErrNotExist},
		{api.ChannelSpec{Path: "a"}, fs.ErrInvalid},
		{api.ChannelSpec{Path: "/"}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Mode: "9"}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Mode: "7777"}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Allow: []string{"Images.Nothing"}}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Allow: []string{"Image*"}}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Allow: []string{"*"}}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Allow: []string{"Channels.*"}}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, "a"), Allow: []string{"Channels.CreateChannel"}}, fs.ErrInvalid},
		{api.ChannelSpec{Path: filepath.Join(dir, strings.Repeat("a", 120))}, errors.ErrUnsupported}, // see below
	} {
		_, err := e.CreateChannel(t.Context(), tc.spec)
		if long := len(tc.spec.Path) > 100; err == nil || !long && !errors.Is(err, tc.want) || long && !strings.Contains(err.Error(), "too long") {
			t.Errorf("%+v: %v", tc.spec, err)
		}
	}
	var names []string
	list, err := os.ReadDir(dir)
	for _, d := range list {
		names = append(names, d.Name())
	}
	if err != nil || !slices.Equal(names, []string{"channel", "dir", "file", "link", "open"}) {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := e.RemoveChannel(t.Context(), channel); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"dir", "file", "link", "open"} { // for shortTempDir
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// The next engine serves it again: after an end, a crash, and a reboot that has
// emptied the directory above it. What took its place stays and is told.
func TestIntegrationChannelStays(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	path := filepath.Join(dir, "web")
	var reported []error
	open := func() *engine.Engine {
		c := config(dir)
		c.Report = func(err error) { reported = append(reported, err) }
		e, err := engine.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	c, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Allow, api.ChannelDefaults()) {
		t.Errorf("allowed: %q", c.Allow)
	}
	for _, between := range []func() error{
		func() error { return nil },
		func() error { return os.Remove(path) },
		func() error { // what others put there is theirs
			return os.WriteFile(filepath.Join(path, "more"), nil, 0o600)
		},
	} {
		if err := errors.Join(e.Close(), between()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(c.Socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("nobody answers, and the socket is there: %v", err)
		}
		e = open()
		if _, err := ask(t.Context(), c.Socket, nil); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(e.Close(), os.RemoveAll(path), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if e = open(); len(reported) != 1 {
		t.Errorf("reported: %v", reported)
	}
	if list, err := e.ListChannels(t.Context()); err != nil || len(list) != 1 || list[0].Error == "" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := e.RemoveChannel(t.Context(), path); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	closeClean(t, e)
}

// crashChannel is the life of a channel.
func crashChannel(ctx context.Context, e *engine.Engine, path string) error {
	c, err := e.CreateChannel(ctx, api.ChannelSpec{Path: path})
	if err != nil {
		return err
	}
	if _, err := ask(ctx, c.Socket, nil); err != nil {
		return err
	}
	if _, err := e.RemoveChannel(ctx, path); err != nil {
		return err
	}
	return e.Close()
}

// After a crash at any point it is there, and answers, or it is not there.
func TestIntegrationCrashOfChannel(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	above := filepath.Join(dir, "above")
	if err := os.Mkdir(above, 0o700); err != nil {
		t.Fatal(err)
	}
	job := crashJob{Dir: dir, Channel: filepath.Join(above, "web")}
	out, _ := runCrashJob(t, job)
	points := strings.Split(strings.TrimSpace(out), "\n")
	if i := slices.Index(points, "channel recorded"); i < 0 || len(points) < i+4 {
		t.Fatalf("points: %q", points)
	}
	for i, point := range points {
		if !strings.Contains(point, "channel") {
			continue
		}
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			job.Kill = i + 1
			if _, killed := runCrashJob(t, job); !killed {
				t.Fatal("the process was not killed")
			}
			e := openEngine(t, dir, nil)
			list, err := e.ListChannels(t.Context())
			if err != nil || len(list) > 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			for _, c := range list {
				if _, err := ask(t.Context(), c.Socket, nil); err != nil {
					t.Error(err)
				}
				if _, err := e.RemoveChannel(t.Context(), c.Path); err != nil {
					t.Error(err)
				}
			}
			if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			closeClean(t, e)
		})
	}
}

// A container that has the directory calls through it, and only what it may. On
// the engine's main socket it would be refused for being where it is.
func TestIntegrationChannelInContainer(t *testing.T) {
	e := testEngine(t)
	if f, err := elf.Open(os.Args[0]); err != nil || f.Section(".interp") != nil {
		t.Skip("the test binary is not static, as under the race detector: it cannot run in a container")
	}
	importRoot(t, e, "root")
	path := filepath.Join(shortTempDir(t), "web")
	c, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{true, false} {
		out, exit := sh(t, e, api.ContainerSpec{Image: "root", Env: []string{channelEnv + "=/run/xc/" + api.ChannelSocket}, Mounts: []api.Mount{
			{Source: path, Destination: "/run/xc", ReadOnly: readOnly}, {Source: self, Destination: "/client", ReadOnly: true},
		}}, "/client")
		v, err := e.Version(t.Context())
		if want := v.Platform + " <nil>\n"; err != nil || exit.Code != 0 || out != want {
			t.Errorf("%+v, %q, want %q, %v", exit, out, want, err)
		}
	}
	if _, err := e.RemoveChannel(t.Context(), c.Path); err != nil {
		t.Error(err)
	}
}
