package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// datasetEnv names a dataset below which tests may make theirs. Without one roots
// are directories.
const datasetEnv = "XC_TEST_DATASET"

// dataset is the one below which this daemon has its own; "" without ZFS.
func (d *daemon) dataset() string {
	if parent := os.Getenv(datasetEnv); parent != "" {
		return parent + "/" + filepath.Base(d.dir)
	}
	return ""
}

func (d *daemon) config() string { return filepath.Join(d.dir, "xc.config") }

// configure writes the configuration, and makes the datasets that it names.
func (d *daemon) configure() {
	d.t.Helper()
	var text string
	if base := d.dataset(); base != "" {
		text = fmt.Sprintf("image_dataset: %[1]s/images\ncontainer_dataset: %[1]s/containers\ndefault_volume_dataset: %[1]s/volumes\n", base)
		for _, sub := range []string{"", "/images", "/containers", "/volumes"} {
			d.zfs("create", "-o", "mountpoint=none", base+sub)
		}
	}
	if err := os.WriteFile(d.config(), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) destroyDatasets() {
	d.t.Helper()
	if base := d.dataset(); base != "" {
		d.zfs("destroy", "-r", base)
	}
}

// leftDatasets lists the roots of containers and the volumes. A store that has had
// volatile roots keeps the parent of them.
func (d *daemon) leftDatasets() (left []string) {
	d.t.Helper()
	base := d.dataset()
	if base == "" {
		return nil
	}
	for _, sub := range []string{"/containers", "/volumes"} {
		names := strings.Fields(d.zfs("list", "-H", "-o", "name", "-r", base+sub))
		left = append(left, slices.DeleteFunc(names, func(name string) bool {
			return name == base+sub || strings.HasSuffix(name, ".volatile")
		})...)
	}
	return left
}

func (d *daemon) zfs(args ...string) string {
	d.t.Helper()
	out, err := exec.Command("zfs", args...).CombinedOutput()
	if err != nil {
		d.t.Errorf("zfs %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
