package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// standardDriver is the driver of volumes where none is asked for.
func standardDriver() string {
	if os.Getenv(datasetEnv) != "" {
		return api.DriverZFS
	}
	return api.DriverDirectory
}

func volumeNames(t *testing.T, e api.Engine) string {
	t.Helper()
	list, err := e.ListVolumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	return strings.Join(names, " ")
}

func TestIntegrationVolumes(t *testing.T) {
	needRoot(t)
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	v, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "db", Labels: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Driver != standardDriver() || v.Labels["a"] != "1" || v.Anonymous || v.Mountpoint != filepath.Join(dir, "state/volumes/db/data") {
		t.Errorf("%+v", v)
	}
	for _, tc := range []struct {
		spec api.VolumeSpec
		want error
	}{
		{api.VolumeSpec{Name: "db"}, fs.ErrExist},
		{api.VolumeSpec{Name: "../db"}, fs.ErrInvalid},
		{api.VolumeSpec{Name: "x", Driver: "nfs"}, errors.ErrUnsupported},
		{api.VolumeSpec{Name: "x", Driver: api.DriverDirectory, Options: map[string]string{"quota": "1G"}}, fs.ErrInvalid},
		{api.VolumeSpec{Name: "x", Driver: api.DriverDirectory, From: "db@s"}, errors.ErrUnsupported},
	} {
		if _, err := e.CreateVolume(t.Context(), tc.spec); !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.spec, err, tc.want)
		}
	}
	anonymous, err := e.CreateVolume(t.Context(), api.VolumeSpec{Driver: api.DriverDirectory})
	if err != nil || !anonymous.Anonymous || anonymous.Name == "" {
		t.Fatalf("%+v, %v", anonymous, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = openEngine(t, dir, nil) // volumes outlive the engine
	defer closeClean(t, e)
	want := []string{anonymous.Name, "db"}
	slices.Sort(want)
	if got := volumeNames(t, e); got != strings.Join(want, " ") {
		t.Errorf("%q, want %q", got, want)
	}
	again, err := e.InspectVolume(t.Context(), "db")
	if err != nil || !again.Created.Equal(v.Created) || again.Labels["a"] != "1" {
		t.Errorf("%+v, %v", again, err)
	}
	pruned, err := e.PruneVolumes(t.Context(), api.PruneVolumesOptions{})
	if err != nil || !slices.Equal(pruned.Names, []string{anonymous.Name}) {
		t.Errorf("pruned: %+v, %v", pruned, err)
	}
	usage, err := e.DiskUsage(t.Context())
	if u := usage[len(usage)-1]; err != nil || u.Kind != api.UsageVolumes || u.Total != 1 || u.Active != 0 || u.Size == 0 || u.Reclaimable != u.Size {
		t.Errorf("usage: %+v, %v", usage, err)
	}
	if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{}); err != nil {
		t.Error(err)
	}
	if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{Force: true}); err != nil {
		t.Errorf("gone, by force: %v", err)
	}
}

// Data that are in no record are shown, and nobody's to remove.
func TestIntegrationVolumeWithoutRecord(t *testing.T) {
	e := testEngine(t)
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(info.StateDir, "volumes/lost")
	if err := os.MkdirAll(filepath.Join(dir, "data/precious"), 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "lost", Driver: api.DriverDirectory}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create: %v", err)
	}
	if _, err := e.PruneVolumes(t.Context(), api.PruneVolumesOptions{All: true}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data/precious")); err != nil {
		t.Error(err)
	}
	checks, err := e.CheckSystem(t.Context())
	if err != nil || !slices.ContainsFunc(checks, func(c api.Check) bool { return c.Area == "volume" && c.Name == "lost" && c.State == api.CheckUnknown }) {
		t.Errorf("%+v, %v", checks, err)
	}
}

// A volume in which something is mounted is in use: nothing of it is removed.
func TestIntegrationVolumeWithMountInside(t *testing.T) {
	e := testEngine(t)
	v, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "v", Driver: api.DriverDirectory})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "z"} {
		if err := os.WriteFile(filepath.Join(v.Mountpoint, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inside := filepath.Join(v.Mountpoint, "m")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", "-t", "tmpfs", "tmpfs", inside)
	err = e.RemoveVolume(t.Context(), "v", api.RemoveVolumeOptions{})
	command(t, "umount", inside)
	if !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), inside) {
		t.Errorf("with a mount inside: %v", err)
	}
	left, err := filepath.Glob(v.Mountpoint + "/*")
	if err != nil || len(left) != 3 {
		t.Errorf("left: %q, %v", left, err)
	}
	if err := e.RemoveVolume(t.Context(), "v", api.RemoveVolumeOptions{}); err != nil {
		t.Error(err)
	}
}

// A removal that failed can be tried again, once what was in its way is gone.
func TestIntegrationVolumeRemovalFails(t *testing.T) {
	e := testEngine(t)
	v, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "v", Driver: api.DriverDirectory})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(v.Mountpoint)
	id, err := os.ReadFile(filepath.Join(dir, "id"))
	if err != nil {
		t.Fatal(err)
	}
	obstacle := filepath.Join(filepath.Dir(dir), ".gone-"+string(id))
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveVolume(t.Context(), "v", api.RemoveVolumeOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("with something in the way: %v", err)
	}
	if _, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "v"}); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "being removed") {
		t.Errorf("create: %v", err)
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveVolume(t.Context(), "v", api.RemoveVolumeOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "v"}); err != nil {
		t.Error(err)
	}
}
