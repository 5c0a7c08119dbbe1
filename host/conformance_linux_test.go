package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/sitetest"
)

func TestIntegrationConformance(t *testing.T) {
	needRoot(t)
	for _, mode := range []dirstore.Mode{dirstore.Overlay, dirstore.Copy} {
		t.Run(string(mode), func(t *testing.T) {
			sitetest.Run(t, func(t *testing.T) sitetest.Host {
				c := testConfig(t)
				if _, err := dirstore.Open(filepath.Join(c.StateDir, "roots"), &dirstore.Options{Mode: mode}); err != nil {
					t.Fatal(err)
				}
				return conformance(t, c)
			})
		})
	}
}

// foreign makes a cgroup that is not ours.
func (u underTest) foreign(t *testing.T) ([]site.Undo, func() error) {
	if u.cgroups == "" {
		return nil, func() error { return nil }
	}
	dir := filepath.Join(u.cgroups, "xc-other-"+filepath.Base(filepath.Dir(u.cfg.StateDir)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	undos := []site.Undo{step(kindCgroup, thing{Path: dir}, nil).Undo, step(kindRoot, thing{Name: "../sites"}, nil).Undo}
	return undos, func() error {
		_, err := os.Stat(dir)
		return err
	}
}

func openTest(ctx context.Context, c Config) (*Host, error) { return Open(ctx, c) }
