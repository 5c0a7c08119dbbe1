package host

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/proxy"
	"github.com/joyboyid/xc/site/runloop"
	"github.com/joyboyid/xc/site/sitetest"
)

// loopArg marks this executable as a run loop.
const loopArg = "@xc-runloop"

func TestMain(m *testing.M) {
	sitetest.Main()
	if tenant.Main() || proxy.Main() {
		return
	}
	if len(os.Args) > 1 && os.Args[1] == loopArg {
		os.Exit(runloop.Main(tenant.Prepare))
	}
	os.Exit(m.Run())
}

// chain is the digest of the layers that sitetest furnishes.
var chain = digest.FromString("sitetest")

// underTest is this host as sitetest sees it.
type underTest struct {
	*Host
	t *testing.T
}

// conformance opens a host for one promise.
func conformance(t *testing.T, c Config) sitetest.Host {
	t.Helper()
	h := openHost(t, c)
	ctx := t.Context()
	d, err := h.Roots().Begin(ctx, chain, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sitetest.Furnish(d.Dir()), d.Commit(ctx)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Roots().Delete(context.Background(), chain); err != nil {
			t.Error(err)
		}
	})
	return underTest{h, t}
}

func (u underTest) spec(c sitetest.Container) Spec {
	s := Spec{
		ID: c.ID, Chain: chain.String(), Hostname: c.Hostname, Network: c.Network, ReadOnly: c.ReadOnly,
		Linux: u.NativeOS() == "linux", Log: filepath.Join(u.cfg.StateDir, c.ID+".log"),
	}
	for _, m := range c.Mounts {
		s.Mounts = append(s.Mounts, Mount{Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly, File: m.File})
	}
	return s
}

func (u underTest) NewID() string { return u.Host.NewID(chain.String(), false) }

func (u underTest) Hold(c sitetest.Container) []site.Step { return u.Host.Hold(u.spec(c)) }

func (u underTest) Run(c sitetest.Container) ([]site.Step, sitetest.Loop, error) {
	l := &loopUnderTest{}
	steps, err := u.Host.Run(u.spec(c), func(tenant json.RawMessage) runloop.Config {
		return runloop.Config{ID: c.ID, Dir: filepath.Join(u.cfg.SitesDir, c.ID), Tenant: tenant}
	}, &l.Loop)
	return steps, l, err
}

func (u underTest) Dial(ctx context.Context, id string) (sitetest.Loop, error) {
	l, err := Dial(ctx, u.socketPath(id))
	if err != nil {
		return nil, err
	}
	return &loopUnderTest{*l}, nil
}

func (u underTest) Exit(id string) (control.Exit, error) {
	return runloop.ReadExit(filepath.Join(u.cfg.SitesDir, id))
}

func (u underTest) Left(known ...string) ([]string, error) {
	ids := map[string]bool{}
	for _, id := range known {
		ids[id] = true
	}
	return u.Leftovers(ids)
}

// Foreign makes a directory and a socket's name that are not ours, beside what
// each system has.
func (u underTest) Foreign(t *testing.T) ([]site.Undo, func() error) {
	dir := t.TempDir()
	file := filepath.Join(dir, "cabcdefghijk.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	undos, intact := u.foreign(t)
	for kind, th := range map[string]thing{
		kindDir: {Path: dir}, kindLog: {Path: filepath.Join(dir, "cabcdefghijk")}, kindSocket: {Path: file}, kindRunLoop: {Path: file},
	} {
		undos = append(undos, step(kind, th, nil).Undo)
	}
	return undos, func() error {
		_, err := os.Stat(file)
		return errors.Join(err, intact())
	}
}

// loopUnderTest is a connection as sitetest sees it.
type loopUnderTest struct{ Loop }

func (l *loopUnderTest) Control() control.Control { return l.Loop.Control }

// testConfig is that of a host in directories of its own.
func testConfig(t testing.TB) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "xc") // short: names of sockets
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is left in the state directory: %v", err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Tag: "t" + strings.ToLower(filepath.Base(dir)[2:]), StateDir: filepath.Join(dir, "s"), RunDir: filepath.Join(dir, "r"), SitesDir: filepath.Join(dir, "s", "sites"),
		DevfsOffset: 1000, RunLoop: []string{self, "xc-runloop", loopArg},
	}
	for _, d := range []string{c.SitesDir, c.RunDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func openHost(t testing.TB, c Config) *Host {
	t.Helper()
	h, err := openTest(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func testHost(t *testing.T) *Host { return openHost(t, testConfig(t)) }

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("containers need root: run go test with sudo, or -exec sudo -run %s", t.Name())
	}
}
