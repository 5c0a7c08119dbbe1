package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/jail"
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

// A dataset belongs to one container at a time, and outlives it.
func TestIntegrationDatasetExclusive(t *testing.T) {
	parent := os.Getenv(datasetEnv)
	if parent == "" {
		t.Skipf("needs ZFS: name a dataset for tests in %s", datasetEnv)
	}
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx, d := t.Context(), parent+"/exclusive"
	zfsCommand(t, "create", "-o", "mountpoint=none", d)
	t.Cleanup(func() { zfsCommand(t, "destroy", "-r", d) })
	zfsCommand(t, "create", "-u", "-o", "mountpoint=/data", d+"/a")
	spec := func(datasets ...string) api.ContainerSpec {
		return api.ContainerSpec{Image: "root", Command: []string{"true"}, Datasets: datasets}
	}
	first, err := e.CreateContainer(ctx, spec(d+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	mounted := api.ContainerSpec{Image: "root", Command: []string{"true"}, Mounts: []api.Mount{{Type: api.MountZFS, Source: d + "/a", Destination: "/z"}}}
	for _, s := range []api.ContainerSpec{spec(d + "/a"), spec(d), mounted} {
		if _, err := e.CreateContainer(ctx, s); !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), first.Name) {
			t.Errorf("%q %+v: %v", s.Datasets, s.Mounts, err)
		}
	}
	if err := e.RemoveContainer(ctx, first.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if out, exit := sh(t, e, mounted, "echo kept >/z/f; cat /z/f"); out != "kept\n" || exit.Code != 0 {
		t.Errorf("mounted: %q, %+v", out, exit)
	}
	readonly := mounted
	readonly.Mounts = []api.Mount{{Type: api.MountZFS, Source: d + "/a", Destination: "/z", ReadOnly: true}}
	if out, exit := sh(t, e, readonly, "cat /z/f; (echo x >/z/f) 2>/dev/null || echo refused"); out != "kept\nrefused\n" || exit.Code != 0 {
		t.Errorf("read-only: %q, %+v", out, exit)
	}
	// Another engine's jail has it.
	id, err := jail.Create(jail.String("name", "xc-other-test"), jail.String("path", "/"), jail.Flag("persist"))
	if err != nil {
		t.Fatal(err)
	}
	zfsCommand(t, "set", "xc:jail=xc-other-test", d)
	c, err := e.CreateContainer(ctx, spec(d+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{}); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "xc-other-test") {
		t.Errorf("lent to another jail: %v", err)
	}
	if err := id.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{}); err != nil {
		t.Errorf("that jail is gone: %v", err)
	}
	if _, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{}); err != nil {
		t.Error(err)
	}
	if err := e.RemoveContainer(ctx, c.ID, api.RemoveOptions{Force: true, Volumes: true}); err != nil {
		t.Error(err)
	}
	if got := zfsCommand(t, "get", "-Hp", "-o", "value", "jailed,xc:jail", d+"/a"); got != "on\n-" {
		t.Errorf("given back: %q", got)
	}
	if out, exit := sh(t, e, spec(d+"/a"), "zfs mount "+d+"/a && cat /data/f"); out != "kept\n" || exit.Code != 0 {
		t.Errorf("what was in it: %q, %+v", out, exit)
	}
}
