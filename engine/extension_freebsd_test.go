package engine_test

import (
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/freebsd/devfs"
)

// Devices that an image asks for are granted by a ruleset that shows them, and
// the container then has them.
func TestIntegrationImageDevices(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	labelled(t, e, "x", `{"version":1,"devices":["mem","null"]}`)
	const with, without = 4242, 4243
	setRules(t, with, devfs.Needs{Paths: []string{"mem"}})
	setRules(t, without, devfs.Needs{})
	spec := api.ContainerSpec{Image: "x", Command: []string{"true"}, Params: []string{"devfs_ruleset=4243"}}
	if _, err := e.CreateContainer(t.Context(), spec); err == nil {
		t.Error("it was made with a ruleset that does not show the device")
	}
	spec.Params = []string{"devfs_ruleset=4242"}
	if out, exit := sh(t, e, spec, "test -c /dev/mem && echo there"); out != "there\n" {
		t.Errorf("%q, %+v", out, exit)
	}
}
