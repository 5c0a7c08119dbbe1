// Command puller is package image alone, without an engine: an image is pulled,
// verified, into an OCI image layout. Interrupt it and run it again: it goes on.
//
//	go run ./examples/puller /tmp/images docker.io/library/alpine freebsd/amd64 linux/amd64
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

func main() {
	if len(os.Args) < 4 {
		log.Fatal("usage: puller LAYOUT REFERENCE PLATFORM...")
	}
	ref, err := image.ParseReference(os.Args[2])
	check(err)
	var o registry.Options
	for _, s := range os.Args[3:] {
		p, err := image.ParsePlatform(s)
		check(err)
		o.Platforms = append(o.Platforms, p)
	}
	o.Progress = func(e registry.Event) { fmt.Printf("%s %s %d/%d\n", e.Layer, e.Phase, e.Current, e.Total) }
	blobs, err := store.Open(os.Args[1])
	check(err)
	p := registry.Puller{Images: &store.Images{Blobs: blobs, Refs: blobs.Refs()}, Client: new(registry.Client)}
	got, err := p.Pull(context.Background(), ref, o)
	check(err)
	fmt.Println(got.Name.Familiar(), got.Manifest.Digest, image.FormatPlatform(got.Config.Platform), got.Size, "bytes")
	check(blobs.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
