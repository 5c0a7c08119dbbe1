package host

import (
	"os"
	"path/filepath"
	"testing"
)

// testHost opens a host in directories of its own.
func testHost(t *testing.T) *Host {
	t.Helper()
	dir, err := os.MkdirTemp("", "xc") // short: names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Tag: "test" + filepath.Base(dir)[2:], StateDir: filepath.Join(dir, "s"), RunDir: filepath.Join(dir, "r"), SitesDir: filepath.Join(dir, "s", "sites"),
		DevfsOffset: 1000, RunLoop: []string{self, "xc-runloop", "@xc-runloop"},
	}
	for _, d := range []string{c.SitesDir, c.RunDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h, err := Open(t.Context(), c)
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
