package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// crashMounts are those of a container that is killed: "db" is there before.
var crashMounts = []api.Mount{
	volumeMount("db", "/db"), volumeMount("made", "/made"), volumeMount("", "/tmp"),
	{Type: api.MountTmpfs, Destination: "/mem", Size: 1 << 20},
}

// Killed at each point of the life of a container with volumes, what is its own
// goes with it, what is not stays, and a dataset is nobody's afterwards.
func TestIntegrationCrashWithVolumes(t *testing.T) {
	dir := crashDir(t)
	job := crashJob{Dir: dir, Vols: true}
	if parent := os.Getenv(datasetEnv); parent != "" {
		job.Dataset = parent + "/" + filepath.Base(dir) + "-lent"
		command(t, "zfs", "create", "-o", "mountpoint=none", job.Dataset)
		t.Cleanup(func() { command(t, "zfs", "destroy", "-r", job.Dataset) })
		command(t, "zfs", "create", job.Dataset+"/kept")
	}
	e := openEngine(t, dir, nil)
	if out, exit := sh(t, e, api.ContainerSpec{Mounts: crashMounts[:1], AutoRemove: true}, "echo precious >/db/f"); exit.Code != 0 {
		t.Fatal(out, exit)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	points := crashPoints(t, job)
	e = openEngine(t, dir, nil)
	if err := errors.Join(e.RemoveVolume(t.Context(), "made", api.RemoveVolumeOptions{}), e.Close()); err != nil {
		t.Fatal(err)
	}
	before := hostState(t)
	for i, point := range points {
		if !crashPart(t, i) {
			continue
		}
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			next := job
			next.Kill = i + 1
			if _, killed := runCrashJob(t, next); !killed {
				t.Fatal("the process was not killed: the points are not the same each time")
			}
			e := openEngine(t, dir, nil)
			if err := e.RemoveContainer(t.Context(), "c", api.RemoveOptions{Force: true, Volumes: true}); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if err := e.RemoveVolume(t.Context(), "made", api.RemoveVolumeOptions{Force: true}); err != nil {
				t.Error(err)
			}
			if got := volumeNames(t, e); got != "db" {
				t.Errorf("volumes: %q", got)
			}
			if left, err := e.Leftovers(t.Context()); err != nil || len(left) > 0 {
				t.Errorf("left on the host: %q, %v", left, err)
			}
			if job.Dataset != "" {
				if got := strings.TrimSpace(command(t, "zfs", "get", "-H", "-o", "value", "xc:jail", job.Dataset)); got != "-" {
					t.Errorf("the dataset is lent to %q", got)
				}
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			checkHost(t, before)
		})
	}
	e = openEngine(t, dir, nil)
	defer closeClean(t, e)
	spec := api.ContainerSpec{Mounts: crashMounts[:1]}
	if out, exit := sh(t, e, spec, "cat /db/f"); out != "precious\n" {
		t.Errorf("what was in the volume: %q, %+v", out, exit)
	}
	if job.Dataset != "" {
		command(t, "zfs", "list", job.Dataset+"/kept")
	}
}
