package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/sitetest"
	"github.com/joyboyid/xc/zfs"
)

// datasetEnv names a dataset below which tests may make theirs.
const datasetEnv = "XC_TEST_DATASET"

// zfsEnv is "exec" where tests are to do without the ioctls of ZFS.
const zfsEnv = "XC_TEST_ZFS"

func openTest(ctx context.Context, c Config) (*Host, error) {
	z := &zfs.ZFS{}
	if os.Getenv(zfsEnv) == "exec" {
		z.Run = zfs.Exec
	}
	return open(ctx, c, z)
}

func TestIntegrationConformance(t *testing.T) {
	needRoot(t)
	t.Run("dirstore", func(t *testing.T) {
		sitetest.Run(t, func(t *testing.T) sitetest.Host { return conformance(t, testConfig(t)) })
	})
	t.Run("zfs", func(t *testing.T) {
		if os.Getenv(datasetEnv) == "" {
			t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
		}
		images, containers := makeDatasets(t)
		sitetest.Run(t, func(t *testing.T) sitetest.Host {
			c := testConfig(t)
			c.ImageDataset, c.ContainerDataset = images, containers
			return conformance(t, c)
		})
	})
}

// makeDatasets makes datasets for hosts, which tell each other apart by their
// tags.
func makeDatasets(t *testing.T) (images, containers string) {
	t.Helper()
	base := fmt.Sprintf("%s/host-%d", os.Getenv(datasetEnv), os.Getpid())
	images, containers = base+"/images", base+"/containers"
	for _, d := range []string{base, images, containers} {
		if out, err := exec.Command("zfs", "create", "-o", "mountpoint=none", d).CombinedOutput(); err != nil {
			t.Fatalf("zfs create %s: %v: %s", d, err, out)
		}
		t.Cleanup(func() {
			for _, volatile := range children(t, d) { // of each host
				if out, err := exec.Command("zfs", "destroy", volatile).CombinedOutput(); err != nil {
					t.Errorf("zfs destroy %s: %v: %s", volatile, err, out)
				}
			}
			if out, err := exec.Command("zfs", "destroy", d).CombinedOutput(); err != nil {
				t.Errorf("zfs destroy %s: %v: %s", d, err, out)
			}
		})
	}
	return images, containers
}

// children lists the parents of volatile roots in a dataset.
func children(t *testing.T, dataset string) []string {
	t.Helper()
	out, err := exec.Command("zfs", "list", "-H", "-o", "name", "-r", "-d", "1", dataset).Output()
	if err != nil {
		t.Error(err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool { return !strings.HasSuffix(name, ".volatile") })
}

// foreign makes a jail that is not ours.
func (u underTest) foreign(t *testing.T) ([]site.Undo, func() error) {
	name := fmt.Sprintf("xc-other-%d", os.Getpid())
	id, err := jail.Create(jail.String("name", name), jail.String("path", "/"), jail.Flag("persist"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := id.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	undos := []site.Undo{
		step(kindJail, thing{Name: name}, nil).Undo, step(kindMounts, thing{Path: "/dev"}, nil).Undo,
		step(kindRoot, thing{Name: "../sites"}, nil).Undo,
	}
	return undos, func() error {
		_, err := jail.Lookup(name)
		return err
	}
}
