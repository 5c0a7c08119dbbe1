package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// zfsCommand runs zfs(8).
func zfsCommand(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("zfs", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("zfs %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestIntegrationVolumeOnZFS(t *testing.T) {
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
	}
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	defer func() { closeClean(t, e) }()
	importRoot(t, e, "root")
	ctx := t.Context()
	v, err := e.CreateVolume(ctx, api.VolumeSpec{Name: "db", Options: map[string]string{"quota": "5M", "compression": "off"}})
	if err != nil || v.Driver != api.DriverZFS {
		t.Fatalf("%+v, %v", v, err)
	}
	info, err := e.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dataset := func(name string) string { return volumeDataset(parent, dir) + "/" + info.Tag + "-" + name }
	if got := zfsCommand(t, "get", "-Hp", "-o", "value", "quota,compression,canmount,mountpoint", dataset("db")); got != "5242880\noff\nnoauto\n"+v.Mountpoint {
		t.Errorf("properties: %q", got)
	}
	if err := e.SnapshotVolume(ctx, "db", "empty"); err != nil {
		t.Fatal(err)
	}
	if err := e.SnapshotVolume(ctx, "db", "empty"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("taken twice: %v", err)
	}
	if _, err := e.CreateVolume(ctx, api.VolumeSpec{Name: "copy", From: "db@empty", Options: map[string]string{"readonly": "off"}}); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveVolume(ctx, "db", api.RemoveVolumeOptions{}); !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), "db@empty") {
		t.Errorf("with a snapshot: %v", err)
	}
	if err := e.RemoveVolume(ctx, "db@empty", api.RemoveVolumeOptions{}); !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), "copy") {
		t.Errorf("a snapshot with a clone: %v", err)
	}
	if got, err := e.InspectVolume(ctx, "db"); err != nil || len(got.Snapshots) != 1 || got.Snapshots[0].Name != "empty" || got.Snapshots[0].Created.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"copy", "db@empty"} {
		if err := e.RemoveVolume(ctx, name, api.RemoveVolumeOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := zfsCommand(t, "list", "-H", "-o", "name", "-t", "all", "-r", volumeDataset(parent, dir)); got != volumeDataset(parent, dir)+"\n"+dataset("db") {
		t.Errorf("datasets: %q", got)
	}
	if _, err := e.CreateVolume(ctx, api.VolumeSpec{Name: "bad", Options: map[string]string{"quota": "much"}}); err == nil {
		t.Error("a bad quota is taken")
	}
	// Somebody else's dataset is in the way, and stays.
	zfsCommand(t, "create", "-u", dataset("theirs"))
	if _, err := e.CreateVolume(ctx, api.VolumeSpec{Name: "theirs"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dataset that is there: %v", err)
	}
	zfsCommand(t, "destroy", dataset("theirs"))
	if _, err := os.Stat(filepath.Join(dir, "state/volumes/theirs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
