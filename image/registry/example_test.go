package registry_test

import (
	"context"
	"fmt"
	"log"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

// Pulls an image into a store that keeps its own names. Where roots are kept and
// how layers are unpacked is the caller's: zfsstore or dirstore, and ocitar.
func ExamplePuller() {
	var roots store.Roots
	var unpack store.Unpack

	blobs, err := store.Open("/var/db/images")
	if err != nil {
		log.Fatal(err)
	}
	defer blobs.Close()
	p := &registry.Puller{
		Images: &store.Images{Blobs: blobs, Refs: blobs.Refs(), Roots: roots, Unpack: unpack},
		Client: &registry.Client{Hosts: map[string]registry.Host{"registry.lan:5000": {PlainHTTP: true}}},
	}
	ref, err := image.ParseReference("registry.lan:5000/base:14")
	if err != nil {
		log.Fatal(err)
	}
	got, err := p.Pull(context.Background(), ref, registry.Options{
		Platforms: []ispec.Platform{{OS: "freebsd", Architecture: "amd64"}, {OS: "linux", Architecture: "amd64"}},
		OSVersion: "14.3-RELEASE",
		Progress:  func(e registry.Event) { fmt.Println(e.Layer, e.Phase, e.Current, e.Total) },
	})
	if err != nil {
		log.Fatal(err)
	}
	if got.Warning != "" {
		fmt.Println(got.Warning)
	}
	fmt.Println(got.Chain, got.Config.Config.Cmd)
}
