package engine

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// An image with the layers of another one is built on it if it says so.
func TestBuiltOn(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	elsewhere := at.In(time.FixedZone("x", 3600))
	made := func(id string, layers int, history ...ispec.History) store.Image {
		img := store.Image{ConfigID: digest.FromString(id), Config: ispec.Image{History: history}}
		var ids []digest.Digest
		for i := range layers {
			ids = append(ids, digest.FromString(string(rune('a'+i))))
		}
		for _, chain := range image.Chains(ids) {
			img.Layers, img.Chain = append(img.Layers, store.Layer{Chain: chain}), chain
		}
		return img
	}
	step := ispec.History{CreatedBy: "COPY", Created: &at}
	base := made("base", 2, step)
	for name, tc := range map[string]struct {
		img, base store.Image
		want      bool
	}{
		"itself":             {base, base, true},
		"more layers":        {made("x", 3), base, true},
		"fewer layers":       {made("x", 1), base, false},
		"the same layers":    {made("x", 2, step), base, false},
		"a further step":     {made("x", 2, ispec.History{CreatedBy: "COPY", Created: &elsewhere}, ispec.History{CreatedBy: "CMD", EmptyLayer: true}), base, true},
		"other steps":        {made("x", 2, ispec.History{CreatedBy: "ADD", Created: &at}, step), base, false},
		"a step without day": {made("x", 2, ispec.History{CreatedBy: "COPY"}, step), base, false},
		"base without steps": {made("x", 2, step), made("y", 2), true},
		"no layers":          {made("x", 2), made("y", 0), false},
		"other layers":       {store.Image{ConfigID: "x", Layers: []store.Layer{{}, {}, {}}}, base, false},
	} {
		if got := builtOn(tc.img, tc.base); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
