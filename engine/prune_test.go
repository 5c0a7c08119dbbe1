package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// What runs stays, with all that it needs; what does not goes, also what has ended
// only now.
func TestIntegrationContainerPrune(t *testing.T) {
	e := testEngine(t)
	defer removeNetworks(t, e)
	ctx := t.Context()
	importVolumes(t, e, "root", "/var/lib/db")
	createNetwork(t, e, twoFamilies("lan", "5"))
	createNetwork(t, e, twoFamilies("wan", "6"))
	sleeper(t, e, "runs", api.Attachment{Network: "wan"})
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "made", Image: "root", Networks: []api.Attachment{{Network: "lan"}}}); err != nil {
		t.Fatal(err)
	}
	start(t, e, api.ContainerSpec{Name: "rm", Image: "root", AutoRemove: true, Command: []string{"true"}})
	start(t, e, api.ContainerSpec{Name: "done", Image: "root", Command: []string{"sh", "-c", "head -c 300000 /dev/urandom >/file"}})
	for _, name := range []string{"rm", "done"} {
		if _, err := e.WaitContainer(ctx, name, api.WaitOptions{Condition: api.WaitNotRunning}); err != nil && name != "rm" {
			t.Fatal(err)
		}
	}
	after := lastEvent(t, e)
	pruned, err := e.PruneContainers(ctx)
	if err != nil || !slices.Equal(pruned.Names, []string{"made", "done"}) || pruned.Bytes < 300_000 {
		t.Errorf("%+v, %v", pruned, err)
	}
	if got := chosen(t, e, true); got != "runs" {
		t.Errorf("left: %s", got)
	}
	if got := happened(t, e, api.EventOptions{After: after, Filters: []string{"action=remove", "container=made", "container=done"}}); got != "made.remove done.remove" {
		t.Errorf("told: %s", got)
	}
	if pruned, err := e.PruneContainers(ctx); err != nil || len(pruned.Names) != 0 || pruned.Bytes != 0 || pruned.Names == nil {
		t.Errorf("again: %+v, %v", pruned, err)
	}
	if removed, err := e.PruneNetworks(ctx); err != nil || !slices.Equal(removed.Names, []string{"lan"}) {
		t.Errorf("networks: %+v, %v", removed, err)
	}
	// Their volumes stay, until these are pruned.
	volumes, err := e.PruneVolumes(ctx, api.PruneVolumesOptions{})
	if err != nil || len(volumes.Names) != 2 {
		t.Errorf("volumes: %+v, %v", volumes, err)
	}
	images, err := e.PruneImages(ctx, api.PruneImagesOptions{All: true})
	if err != nil || len(images.Names) != 0 {
		t.Errorf("images: %+v, %v", images, err)
	}
}

// One that does not go keeps no other, and what has gone is told of: also over a
// socket.
func TestIntegrationContainerPruneGoesOn(t *testing.T) {
	needRoot(t)
	if os.Getenv(datasetEnv) != "" {
		t.Skip("it spoils a root that is a directory")
	}
	dir := shortTempDir(t)
	e := openEngine(t, dir, nil)
	t.Cleanup(func() { closeClean(t, e) })
	importRoot(t, e, "root")
	var ids []string
	for _, name := range []string{"a", "stuck", "z"} {
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: name, Image: "root"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.ID)
	}
	found, err := filepath.Glob(filepath.Join(dir, "state", "*", "roots", ids[1], "chain"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	// Without its mark it is not the engine's.
	if err := os.Rename(found[0], found[0]+"-"); err != nil {
		t.Fatal(err)
	}
	channel, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: filepath.Join(shortTempDir(t), "all"), Allow: []string{"Containers.*"}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ipc.Open(t.Context(), channel.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	over := api.EngineClient{C: conn}
	pruned, err := over.PruneContainers(t.Context())
	if err != nil || !slices.Equal(pruned.Names, []string{"a", "z"}) || pruned.Bytes == 0 ||
		len(pruned.Failed) != 1 || !strings.HasPrefix(pruned.Failed[0], "remove container stuck: ") {
		t.Errorf("%+v, %v", pruned, err)
	}
	if err := os.Rename(found[0]+"-", found[0]); err != nil {
		t.Fatal(err)
	}
	if pruned, err := over.PruneContainers(t.Context()); err != nil || !slices.Equal(pruned.Names, []string{"stuck"}) || pruned.Failed != nil {
		t.Errorf("again: %+v, %v", pruned, err)
	}
}
