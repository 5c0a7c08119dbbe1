package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// An image of as many layers as Docker allows starts, and all of them are in it:
// also where one overlayfs(5) has to take them all.
func TestIntegrationManyLayers(t *testing.T) {
	e := testEngine(t)
	root := rootOf(t)
	r := startRegistry(t)
	const many = 127
	var layers [][]byte
	for i := range many - 1 {
		layers = append(layers, layerTar(t, fmt.Sprintf("layer%d", i), []byte("x")))
	}
	r.push(t, "many", "1", append(layers, root)...)
	name := r.host + "/many:1"
	img, err := e.PullImage(t.Context(), name, api.PullOptions{}, nil)
	if err != nil || len(img.Layers) != many {
		t.Fatalf("%d layers, %v", len(img.Layers), err)
	}
	const script = "set -- /layer*; echo $#; echo y >/layer0; cat /layer0 /layer1"
	if out, exit := sh(t, e, api.ContainerSpec{Image: name}, script); out != fmt.Sprintf("%d\ny\nx", many-1) {
		t.Errorf("%q, %+v", out, exit)
	}
	c := begin(t, e, name, "rm /layer7; echo ready")
	if _, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(diff(t, e, c.ID), "\n"); !strings.Contains(got, "R /layer7") || strings.Contains(got, "/layer8") {
		t.Errorf("diff: %q", got)
	}
	// They go as they have come, one upon the other.
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RemoveImage(t.Context(), name, api.RemoveImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if u := usage(t, e, api.UsageLayers); u.Total != 0 {
		t.Errorf("left: %+v", u)
	}
}
