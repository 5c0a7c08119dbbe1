package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// BenchmarkCycle is the whole life of a container that runs /bin/true: clone,
// mounts, jail, run, reap, unmount, destroy; by the engine, and by the commands
// of base. Of the engine it also tells the time from the start to main's end,
// which is to be held against jail(8) with a command.
func BenchmarkCycle(b *testing.B) {
	if os.Geteuid() != 0 || os.Getenv(datasetEnv) == "" {
		b.Skipf("needs root and ZFS: name a dataset for tests in %s", datasetEnv)
	}
	dir, err := os.MkdirTemp("", "xc")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	makeDatasets(b, dir)
	e, err := engine.Open(b.Context(), config(dir))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := e.RemoveImage(b.Context(), "root", api.RemoveImageOptions{}); err != nil {
			b.Log(err)
		}
		e.Close()
	})
	importRoot(b, e, "root")
	for _, network := range []string{api.NetworkHost, api.NetworkNone} {
		b.Run("engine/"+network, func(b *testing.B) { engineCycle(b, e, network) })
	}
	images, containers := datasets(os.Getenv(datasetEnv), dir)
	out, err := exec.Command("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", images).Output()
	if err != nil {
		b.Fatal(err)
	}
	base := &baseCommands{snapshot: string(out[:len(out)-1]), dataset: containers + "/base", dir: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(base.dir, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, network := range []string{"ip4=inherit", "vnet"} {
		b.Run("base/"+network, func(b *testing.B) { base.cycle(b, network) })
	}
}

func engineCycle(b *testing.B, e *engine.Engine, network string) {
	var run time.Duration
	for b.Loop() {
		c, err := e.CreateContainer(b.Context(), api.ContainerSpec{Image: "root", Networks: []api.Attachment{{Network: network}}, Command: []string{"/bin/true"}, AutoRemove: true})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := e.StartContainer(b.Context(), c.ID, api.StartOptions{}); err != nil {
			b.Fatal(err)
		}
		if exit, err := e.WaitContainer(b.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 0 {
			b.Fatalf("%+v, %v", exit, err)
		}
		run += time.Since(start)
		// It removes itself: this waits until it is gone.
		if err := e.RemoveContainer(b.Context(), c.ID, api.RemoveOptions{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(run.Milliseconds())/float64(b.N), "start-to-exit-ms/op")
}

// baseCommands does the same by what FreeBSD has.
type baseCommands struct{ snapshot, dataset, dir string }

func (c *baseCommands) cycle(b *testing.B, network string) {
	var run time.Duration
	for b.Loop() {
		c.do(b, "zfs", "clone", "-o", "canmount=noauto", c.snapshot, c.dataset)
		c.do(b, "mount", "-t", "zfs", c.dataset, c.dir)
		c.do(b, "mount", "-t", "devfs", "-o", "ruleset=4", "devfs", c.dir+"/dev")
		c.do(b, "mount", "-t", "fdescfs", "fdescfs", c.dir+"/dev/fd")
		start := time.Now()
		c.do(b, "jail", "-c", "path="+c.dir, network, "command=/bin/true")
		run += time.Since(start)
		c.do(b, "umount", c.dir+"/dev/fd")
		c.do(b, "umount", c.dir+"/dev")
		c.do(b, "umount", "-f", c.dir)
		c.do(b, "zfs", "destroy", c.dataset)
	}
	b.ReportMetric(float64(run.Milliseconds())/float64(b.N), "start-to-exit-ms/op")
}

func (c *baseCommands) do(b *testing.B, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatal(fmt.Errorf("%s %q: %w: %s", name, args, err, out))
	}
}
