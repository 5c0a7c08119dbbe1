package image_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/joyboyid/xc/image"
)

func TestReferences(t *testing.T) {
	search := []string{"reg.lan:5000/base", "docker.io", "ghcr.io"}
	for _, c := range []struct {
		name   string
		search []string
		want   []string
	}{
		{"alpine", nil, []string{"docker.io/library/alpine:latest"}},
		{"alpine:3", search, []string{"reg.lan:5000/base/alpine:3", "docker.io/library/alpine:3", "ghcr.io/alpine:3"}},
		{"a/b", search, []string{"reg.lan:5000/base/a/b:latest", "docker.io/a/b:latest", "ghcr.io/a/b:latest"}},
		{"docker.io/alpine", search, []string{"docker.io/library/alpine:latest"}},
		{"index.docker.io/alpine", search, []string{"docker.io/library/alpine:latest"}},
		{"localhost/a", search, []string{"localhost/a:latest"}},
		{"quay.io/a/b:1", search, []string{"quay.io/a/b:1"}},
	} {
		got, err := image.References(c.name, c.search)
		var names []string
		for _, r := range got {
			names = append(names, r.String())
		}
		if err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, names, err, c.want)
		}
	}
	for _, bad := range []string{"", "A b", "a:b:c"} {
		if _, err := image.References(bad, search); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func ExampleReferences() {
	refs, err := image.References("nginx", []string{"registry.lan:5000", "docker.io"})
	fmt.Println(refs[0], refs[1], err)
	// Output: registry.lan:5000/nginx:latest docker.io/library/nginx:latest <nil>
}
